"""Deleted positions: the model is given the prompt that is left, with the position ids that this prompt has."""

import pytest
import torch
from support.families import FAMILIES, PER_TOKEN, batch, placeholder_ids
from support.recordings import posed, text_model

import lime_xai
from lime_xai.attribution.deletion import logits_without
from lime_xai.attribution.groups import Groups, group_tokens
from lime_xai.attribution.methods.ablation import FeatureAblation
from lime_xai.attribution.replacement import PERTURBATIONS, SILENCE, perturbed_logits, substitute_of

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]
READY_MADE = {"gemma3", "gemma4"}
"""Their decoders are given masks of every layer's kind; their sliding window is shorter than the prompt."""
PREFIX = {"paligemma"}
"""Without an image transformers gives its text another mask than the one behind an image."""
ANSWER = [5, 6, 7]


def built(name):
    model, inputs, _ = FAMILIES[name].build()
    return model, inputs


def plain_logits(model, inputs, kept, answer, without=()):
    """Logits of the model's own forward for the kept tokens of a prompt, and for an answer but its last token."""
    extra = torch.tensor([answer[:-1]], dtype=torch.long)
    given = {name: value for name, value in inputs.items() if name not in without}
    for name in set(PER_TOKEN) & set(given):
        cut = given[name][:, kept]
        filler = extra if name == "input_ids" else torch.full_like(extra, int(name == "attention_mask"))
        given[name] = torch.cat([cut, filler], 1)
    with torch.no_grad():
        return model(**given).logits[:, -len(answer) :]


def kept_without(problem, *deleted):
    kept = torch.ones(1, len(problem.input_ids), dtype=torch.bool)
    kept[0, list(deleted)] = False
    return kept


@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_without_text_tokens_a_family_says_what_it_says_to_the_shorter_prompt(name):
    model, inputs = built(name)
    answer = ANSWER[:1] if name in PREFIX else ANSWER  # a forward pass would take the answer as part of the prefix
    (problem,), _ = posed(model, inputs, answer)
    length = problem.calls[0].length
    kept = kept_without(problem, 1, length - 3)
    with torch.no_grad():
        found = logits_without(problem, kept)
    expected = plain_logits(model, inputs, kept[0, :length], answer)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
    with torch.no_grad():
        whole = logits_without(problem, kept_without(problem))
    assert float((whole - found).abs().max()) > 1e-3


@pytest.mark.parametrize("name", sorted(set(ATTRIBUTABLE) - READY_MADE - PREFIX))
def test_without_its_image_or_sound_a_family_says_what_it_says_to_the_text_alone(name):
    model, inputs = built(name)
    (problem,), _ = posed(model, inputs, ANSWER)
    seen = torch.isin(inputs["input_ids"][0], torch.tensor(list(placeholder_ids(model).values())))
    kept = kept_without(problem, *seen.nonzero()[:, 0].tolist())
    with torch.no_grad():
        found = logits_without(problem, kept)
    features = set(inputs) - set(PER_TOKEN)
    expected = plain_logits(model, inputs, ~seen, ANSWER, features)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "qwen3_vl", "gemma3", "paligemma", "qwen2_audio"])
def test_what_is_left_of_an_image_keeps_its_place(name):
    """The oracle runs the decoder on what is left: recorded ids, and masks without the deleted rows and columns."""
    model, inputs = built(name)
    (problem,), _ = posed(model, inputs, ANSWER[:1])
    perceptual = next(iter(problem.modalities.values())).nonzero()[:, 0]
    kept = kept_without(problem, int(perceptual[0]), int(perceptual[2]))
    call, rest = problem.calls[0], kept[0].nonzero()[:, 0]
    mask = call.kwargs.get("attention_mask", torch.ones(1, call.length))

    def cut(one):
        return one[:, rest] if one.dim() == 2 else one[..., rest, :][..., rest]

    def both(masks):
        full, sliding = cut(masks["full_attention"]), cut(masks["sliding_attention"])
        for i in range(len(rest)):
            for j in range(len(rest)):
                if i - j < 8:  # the window: what has come into it is seen
                    sliding[..., i, j] = full[..., i, j]
        return {"full_attention": full, "sliding_attention": sliding}

    arguments = {
        "inputs_embeds": call.embeddings[:, rest],
        "position_ids": call.kwargs["position_ids"][..., rest],
        "attention_mask": both(mask) if isinstance(mask, dict) else cut(mask),
        "use_cache": False,
    }
    if call.deep_features:
        visual = call.visual_mask[0].nonzero()[:, 0].tolist()
        left = [index for index, place in enumerate(visual) if kept[0, place]]
        arguments["visual_pos_masks"] = call.visual_mask[:, rest]
        arguments["deepstack_visual_embeds"] = [features[left] for features in call.deep_features]
    with torch.no_grad():
        found = logits_without(problem, kept)[0, -1]
        expected = model.lm_head(model.get_decoder()(**arguments).last_hidden_state)[0, -1]
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "gemma3", "qwen3_5_moe"])
def test_rows_of_any_length_are_those_that_run_alone(name):
    model, inputs = built(name)
    (problem,), _ = posed(model, inputs, ANSWER)
    kept = torch.ones(6, len(problem.input_ids), dtype=torch.bool)
    for row, deleted in enumerate([(1,), (), (2, 5), (4, 5, 6, 7), (1,), (2, 9)]):
        kept[row, list(deleted)] = False
    with torch.no_grad():
        together = logits_without(problem, kept)
        for row in range(len(kept)):
            torch.testing.assert_close(
                together[row], logits_without(problem, kept[row : row + 1])[0], atol=1e-4, rtol=0
            )


def test_padding_is_left_out():
    model, inputs, singles = batch("llava", 2)
    padded, _ = posed(model, inputs, ANSWER)
    (alone,), _ = posed(model, singles[0], ANSWER)
    count = int((~padded[0].attended).sum())
    assert count
    kept = kept_without(alone, 1, 5)
    with torch.no_grad():
        found = logits_without(padded[0], torch.nn.functional.pad(kept, (count, 0), value=True))
        torch.testing.assert_close(found, logits_without(alone, kept), atol=1e-4, rtol=0)


def test_words_that_a_user_calls_perceptual_are_deleted_as_text():
    model, inputs = text_model()
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 2:6] = True
    prompt = lime_xai.read_prompt(model, inputs, perceptual=mask)
    groups = Groups(torch.tensor([-1, -1, 0, -1, -1, -1, -1, -1, -1]), ("word",))
    found = lime_xai.attribute(model, prompt, 5, FeatureAblation(replacement="deletion"), groups=groups)
    with torch.no_grad():
        shorter = inputs["input_ids"][:, [0, 1, 3, 4, 5, 6, 7, 8]]
        expected = model(**inputs).logits[0, -1, 5] - model(input_ids=shorter).logits[0, -1, 5]
    assert float(found.relevance[0, 2]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("method", ["feature_ablation", "occlusion", "shapley_value_sampling", "kernel_shap", "eagle"])
def test_every_method_that_perturbs_groups_can_delete_them(method):
    from lime_xai.attribution.methods.registry import METHODS, method_from_dict, method_to_dict

    model, inputs = built("qwen3_vl")
    (problem,), _ = posed(model, inputs, 5)
    groups = group_tokens(problem, most=2)
    chosen = method_from_dict(method_to_dict(METHODS[method](replacement="deletion")))
    found = lime_xai.attribute(model, inputs, 5, chosen, groups=groups).relevance
    other = lime_xai.attribute(model, inputs, 5, METHODS[method](), groups=groups).relevance
    assert bool(found.isfinite().all())
    assert not torch.equal(found, other)


def test_what_cannot_be_deleted_is_refused_by_name():
    model, inputs = built("gemma3")
    (problem,), _ = posed(model, inputs, 5)
    given = problem.calls[0].kwargs
    for masks in ({**given["attention_mask"], "chunked_attention": None}, given["attention_mask"]["full_attention"]):
        vars(problem.calls[0])["kwargs"] = {**given, "attention_mask": masks}
        for kind in set(PERTURBATIONS) - {SILENCE}:  # has no sound
            if kind == "deletion":
                with pytest.raises(ValueError, match=r"ready-made masks .* \(sliding window 8, 12 positions\)"):
                    substitute_of(problem, kind)
            else:
                substitute_of(problem, kind)
    model, inputs = built("llava")
    last = inputs["input_ids"].shape[1] - 1
    groups = Groups(torch.tensor([-1] * last + [0]), ("end",))
    with pytest.raises(ValueError, match="'end' holds the last position"):
        lime_xai.attribute(model, inputs, 5, FeatureAblation(replacement="deletion"), groups=groups)
    (problem,), _ = posed(model, inputs, 5)
    with pytest.raises(ValueError, match="cannot be deleted"):
        logits_without(problem, kept_without(problem, last))
    with pytest.raises(ValueError, match="Unknown replacement 'deletion'"):
        lime_xai.METHODS["integrated_gradients"](replacement="deletion")
    with pytest.raises(ValueError, match="Did you mean 'deletion'"):
        FeatureAblation(replacement="deletions")


def test_deleting_nothing_is_the_prompt_itself():
    model, inputs = built("llava")
    (problem,), recording = posed(model, inputs, ANSWER)
    with torch.no_grad():
        found = perturbed_logits(problem, kept_without(problem), substitute_of(problem, "deletion"))
    torch.testing.assert_close(found, recording.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_the_first_attended_position_is_never_perturbed(name):
    """Whatever its token is, also in a padded batch; the token that a config calls BOS may be, elsewhere."""
    model, inputs, _ = batch(name, 2)
    bos = getattr(model.config.get_text_config(), "bos_token_id", None)
    inputs = {**inputs, "input_ids": inputs["input_ids"].clone()}
    starts = inputs["attention_mask"].argmax(-1).tolist()
    for row, start in enumerate(starts):
        inputs["input_ids"][row, start] = 11
        if isinstance(bos, int):
            inputs["input_ids"][row, start + 1] = bos
    rows, _ = posed(model, inputs, 5)
    for problem, start in zip(rows, starts, strict=True):
        assert not problem.perturbable[: start + 1].any()
        assert problem.perturbable[start + 1]
