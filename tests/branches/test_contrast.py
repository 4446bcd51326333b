"""The second branch of a contrast: batched with the model's own rows, alone, and by hand."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from support.calls import counted
from support.families import FAMILIES, batch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    DynamicCache,
    LogitsProcessor,
)

import lime_xai
from lime_rules.attention_math import attend
from lime_xai import Contrast, Edit, LogitShift, Reweight
from lime_xai.branches.branch import BRANCHES, BranchKind
from lime_xai.branches.runner import BranchRunner
from lime_xai.model.cache import CACHE_NAME
from lime_xai.model.perception import signals
from lime_xai.model.replay import Replayer
from lime_xai.policies.contrast import VCD_NOISE

FULL = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]
BATCHED = [name for name in ATTRIBUTABLE if name != "qwen3_5_moe"]


def other(inputs):
    """Other pictures or sounds of the same size: each row's own, turned round and negated."""
    return {**inputs, **{name: -value.flip(-1) for name, value in signals(inputs).items()}}


def given(inputs, policy):
    """What ``steer`` needs beside the policy."""
    used = any(isinstance(one, Contrast) and one.branch == "counterfactual" for one in _all(policy))
    return {"counterfactual": other(inputs)} if used else {}


def _all(policy):
    return policy if isinstance(policy, list) else [policy]


def steered(model, inputs, policy, count=4, **settings):
    asked = {"max_new_tokens": count, "min_new_tokens": count, **FULL, **given(inputs, policy), **settings}
    return lime_xai.steer(model, inputs, policy, **asked).generation


def logits(found):
    return torch.stack(found.logits, 1)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("family", ATTRIBUTABLE)
def test_a_branch_says_in_the_models_own_batch_what_it_says_alone(family, branch):
    model, inputs, _ = batch(family, 2)
    apart = steered(model, inputs, Contrast(branch, plausibility=0.0, batched=False))
    together = steered(model, inputs, Contrast(branch, plausibility=0.0))
    assert torch.equal(apart.sequences, together.sequences)
    assert torch.allclose(logits(apart), logits(together), atol=2e-4)
    plain = model.generate(**inputs, **FULL, max_new_tokens=1).logits[0]
    assert float((apart.logits[0] - plain).abs().max()) > 1e-3


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("family", BATCHED)
def test_the_model_is_called_once_per_token(family, branch):
    model, inputs, _ = FAMILIES[family].build()
    steered(model, inputs, Contrast(branch), 1)  # probes the model, once
    calls = []
    handle = model.get_decoder().register_forward_hook(lambda module, args, output: calls.append(1))
    steered(model, inputs, Contrast(branch), 5)
    handle.remove()
    assert len(calls) <= 5 + 2  # beside the tokens: the branch's prompt, or the last position and what is before it


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "qwen3_vl", "gemma3", "qwen2_audio"])
def test_rows_of_a_padded_batch_are_what_they_are_alone(family, branch):
    model, joined, singles = batch(family, 3)
    together = steered(model, joined, Contrast(branch, plausibility=0.0), 3)
    for row, single in enumerate(singles):
        alone = steered(model, single, Contrast(branch, plausibility=0.0), 3)
        assert torch.allclose(logits(together)[row], logits(alone)[0], atol=2e-4)


@pytest.mark.parametrize("family", ["llava", "llava_mistral_sliding", "qwen2_audio", "internvl"])
def test_the_slot_branch_hides_perceptual_slots_from_the_newest_token(family):
    """By hand: cache everything before the last token, run it with a mask that hides what is perceived."""
    model, inputs, placeholders = FAMILIES[family].build()
    token = placeholders[FAMILIES[family].modality]
    strength = 1.5
    found = steered(model, inputs, Contrast("slot", strength=strength, plausibility=0.0), 3)
    length = inputs["input_ids"].shape[1]
    for index in range(3):
        ids = found.sequences[:, : length + index]
        said = []
        for mask in (torch.ones_like(ids), (ids != token).long()):
            cache = DynamicCache(config=model.get_decoder().config)
            before = inputs | {"input_ids": ids[:, :-1], "attention_mask": torch.ones_like(ids[:, :-1])}
            with torch.no_grad():
                model(**before, use_cache=True, **{CACHE_NAME: cache})
                last = {"input_ids": ids[:, -1:], "position_ids": torch.tensor([[ids.shape[1] - 1]])}
                said.append(model(**last, attention_mask=mask, **{CACHE_NAME: cache}).logits[:, -1])
        plain, hidden = said
        # a sliding window loses sight of the image by itself
        assert index or float((plain - hidden).abs().max()) > 1e-3
        assert torch.allclose(found.logits[index], plain + strength * (plain - hidden), atol=1e-4)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_noise_branch_reads_noised_features(noise):
    """By hand: merge, mix channel by channel, run the decoder without a cache."""
    model, inputs, _ = FAMILIES["llava"].build()
    found = steered(model, inputs, Contrast("noise", noise=noise, seed=4, plausibility=0.0), 3)
    seen = {}

    def keep(module, args, kwargs):
        seen.setdefault("embeddings", kwargs["inputs_embeds"].clone())

    handle = model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
    ids = found.sequences[:, :-1]
    with torch.no_grad():
        plain = model(**inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0, -3:]
    handle.remove()
    merged = seen["embeddings"]
    positions = (ids[0] == 99).nonzero()[:, 0].tolist()
    drawn = torch.randn(len(positions), merged.shape[-1], generator=torch.Generator().manual_seed(4))
    for channel in range(merged.shape[-1]):
        values = merged[0, positions, channel].tolist()
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for row, (position, value) in enumerate(zip(positions, values, strict=True)):
            mixed = mean + math.sqrt(1 - noise) * (value - mean)
            merged[0, position, channel] = mixed + math.sqrt(noise) * spread * float(drawn[row, channel])
    with torch.no_grad():
        states = model.get_decoder()(inputs_embeds=merged, use_cache=False).last_hidden_state
        noised = model.lm_head(states)[0, -3:]
    assert torch.allclose(logits(found)[0], 2 * plain - noised, atol=1e-4)


def test_seeds_of_the_noise_are_the_users():
    model, inputs, _ = FAMILIES["llava"].build()
    one, same, other = (steered(model, inputs, Contrast("noise", seed=seed), 2).logits[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    # 1000 steps of the sigmoid schedule between 1e-5 and 5e-3
    steps = torch.sigmoid(torch.linspace(-6, 6, 1000, dtype=torch.float64)) * (0.5e-2 - 1e-5) + 1e-5
    assert float(1 - (1 - steps).prod()) == pytest.approx(VCD_NOISE, abs=0.005)


@pytest.mark.parametrize("branch", ["blind", "noise"])
@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "llava_mistral_sliding"])
def test_beams_take_their_branches_along(family, branch, monkeypatch):
    """Beams score as one sequence does that is forced to say what they say."""
    model, inputs, _ = FAMILIES[family].build()
    policy = Contrast(branch, strength=3.0, plausibility=0.0)
    settings = {"num_beams": 4, "num_return_sequences": 4, "output_scores": True}
    found = steered(model, inputs, policy, 5, **settings)
    length = inputs["input_ids"].shape[1]
    for sequence, score in zip(found.sequences, found.sequences_scores, strict=True):
        forced = _Forced(sequence[length:].tolist(), length)
        alone = steered(model, inputs, policy, 5, logits_processor=[forced])
        chances = logits(alone).log_softmax(-1)[0].gather(-1, sequence[length:, None])
        assert float(chances.sum()) / 5 == pytest.approx(float(score), abs=2e-3)


class _Forced:
    def __init__(self, tokens, length):
        self.tokens, self.length = tokens, length

    def __call__(self, input_ids, scores):
        token = torch.tensor([self.tokens[input_ids.shape[1] - self.length]])
        return torch.full_like(scores, -math.inf).index_fill(1, token, 0.0)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("form", ["direct", "full"])
def test_a_contrast_decodes_apart_beside_the_relevance_stream(branch, form):
    model, inputs, _ = FAMILIES["llava"].build()
    shift = LogitShift({5: 1e4})  # all say the same, so that steps can be compared
    plain = logits(steered(model, inputs, shift, 3))
    one, two = Reweight(relevance=form, plausibility=0.0), Contrast(branch, plausibility=0.0)
    both = logits(steered(model, inputs, [one, two, shift], 3))
    parts = [logits(steered(model, inputs, [policy, shift], 3)) - plain for policy in (one, two)]
    assert torch.allclose(both - plain, sum(parts), atol=2e-3)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_contrast_composes_with_editing(branch):
    model, inputs, _ = FAMILIES["llava"].build()
    shift = LogitShift({5: 1e4})  # all say the same, so that steps can be compared
    one, two = Edit(steps=1, plausibility=0.0), Contrast(branch, plausibility=0.0)
    plain = logits(steered(model, inputs, shift, 3))
    both = logits(steered(model, inputs, [one, two, shift], 3))
    parts = [logits(steered(model, inputs, [policy, shift], 3)) - plain for policy in (one, two)]
    assert torch.allclose(both - plain, sum(parts), atol=2e-3)


@pytest.mark.parametrize("branch", BRANCHES)
def test_states_and_attentions_are_the_models_own(branch):
    model, inputs, _ = batch("llava", 2)
    asked = {"output_hidden_states": True, "output_attentions": True}
    model.set_attn_implementation("eager")
    shift = LogitShift({5: 1e4})
    plain = model.generate(**inputs, **FULL, **asked, max_new_tokens=3, min_new_tokens=3, logits_processor=[_Five()])
    found = steered(model, inputs, [Contrast(branch, plausibility=0.0), shift], 3, **asked)
    for kind in ("hidden_states", "attentions"):
        for ours, theirs in zip(getattr(found, kind), getattr(plain, kind), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.shape == b.shape
                assert torch.allclose(a, b, atol=1e-5)


class _Five:
    def __call__(self, input_ids, scores):
        return torch.full_like(scores, -math.inf).index_fill(1, torch.tensor([5]), 0.0)


@pytest.mark.parametrize("branch", ["slot", "noise"])
def test_embeddings_are_enough_for_a_branch_that_needs_no_ids(branch):
    model, inputs, _ = FAMILIES["llava"].build()
    steered(model, inputs, Contrast(branch), 1)  # probes the model, once
    seen = {}

    def keep(module, args, kwargs):
        seen.setdefault("embeddings", kwargs["inputs_embeds"].clone())

    handle = model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
    wanted = steered(model, inputs, Contrast(branch), 3)
    handle.remove()
    mask = inputs["input_ids"] == 99
    given = {"inputs_embeds": seen["embeddings"], "attention_mask": inputs["attention_mask"]}
    found = lime_xai.steer(model, given, Contrast(branch), perceptual=mask, max_new_tokens=3, min_new_tokens=3, **FULL)
    assert torch.allclose(logits(found.generation), logits(wanted), atol=1e-4)
    with pytest.raises(ValueError, match=r"given as inputs_embeds; use Contrast\('slot'\)"):
        lime_xai.steer(model, given, Contrast(), perceptual=mask, max_new_tokens=2)


def test_bad_settings_are_named():
    for noise in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="expected more than 0 and at most 1"):
            Contrast("noise", noise=noise)
    model, inputs, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match=r"need different branches: .*blind.*slot"):
        lime_xai.steer(model, inputs, [Contrast("slot"), Contrast("blind")], max_new_tokens=1)


def text_model(kind):
    """A tiny text model whose attention changes what it took from its cache, and a prompt."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    if kind == "diffllama":
        model = DiffLlamaForCausalLM(DiffLlamaConfig(**sizes))
    else:
        latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
        experts = {"n_routed_experts": 2, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1}
        settings = sizes | latent | experts | {"num_key_value_heads": 4, "first_k_dense_replace": 2}
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.2)
    ids = torch.arange(5, 15)[None]
    return model.eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, (ids > 7) & (ids < 12)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("kind", ["diffllama", "deepseek_v3"])
def test_a_model_that_changes_what_it_took_from_its_cache_decodes_apart(kind, branch):
    model, inputs, mask = text_model(kind)
    asked = {"perceptual": mask, "max_new_tokens": 4, **FULL}
    if branch == "counterfactual":
        ids = inputs["input_ids"]
        asked["counterfactual"] = {**inputs, "input_ids": torch.where(mask, ids + 9, ids)}
    apart = lime_xai.steer(model, inputs, Contrast(branch, plausibility=0.0, batched=False), **asked)
    with pytest.warns(UserWarning, match="decodes in separate calls"):
        together = lime_xai.steer(model, inputs, Contrast(branch, plausibility=0.0), **asked)
    assert torch.allclose(logits(apart.generation), logits(together.generation), atol=1e-4)
    assert all(name != "lime_branch" for name in _implementations(model))


def test_edits_of_such_a_model_go_backward():
    model, inputs, mask = text_model("diffllama")
    backward = lime_xai.steer(
        model, inputs, Edit(direction="backward", plausibility=0.0), perceptual=mask, max_new_tokens=3, **FULL
    )
    with pytest.warns(UserWarning, match="Editing uses double backward passes"):
        auto = lime_xai.steer(model, inputs, Edit(plausibility=0.0), perceptual=mask, max_new_tokens=3, **FULL)
    assert torch.allclose(logits(auto.generation), logits(backward.generation), atol=1e-4)


def test_a_mask_of_some_placeholders_takes_all_of_them_out_of_a_blind_prompt_and_noises_its_own():
    model, inputs, _ = FAMILIES["qwen3_vl"].build()
    whole = inputs["input_ids"] == 99
    part = whole.clone()
    part[0, whole[0].nonzero()[:2, 0]] = False

    def steered_with(mask, branch):
        policy = Contrast(branch, plausibility=0.0)
        return lime_xai.steer(model, inputs, policy, perceptual=mask, max_new_tokens=2, **FULL).generation

    assert torch.equal(logits(steered_with(part, "blind")), logits(steered_with(whole, "blind")))
    replayer, calls = Replayer(model), []
    with replayer.recording(calls):
        model.generate(**inputs, max_new_tokens=1)
    noised = BranchRunner(replayer, BranchKind("noise", 0.5))._noised(calls[0], [part])
    moved = (noised.embeddings != calls[0].embeddings).any(-1)
    assert torch.equal(moved, part)
    for before, after in zip(*(call.kwargs["deepstack_visual_embeds"] for call in (calls[0], noised)), strict=True):
        assert torch.equal(before[:2], after[:2])
        assert bool((before[2:] != after[2:]).any(-1).all())


@pytest.mark.parametrize("branch", ["blind", "slot"])
def test_nothing_left_of_a_prompt_is_refused(branch):
    model, inputs, _ = FAMILIES["llava"].build()
    everything = torch.ones_like(inputs["input_ids"]).bool()
    with pytest.raises(ValueError, match=r"In rows \[0\] .* is left"):
        lime_xai.steer(model, inputs, Contrast(branch), perceptual=everything, max_new_tokens=2)
    one = torch.zeros_like(everything)
    one[0, 4] = True
    with pytest.raises(ValueError, match="a single position, which has no variance"):
        lime_xai.steer(model, inputs, Contrast("noise"), perceptual=one, max_new_tokens=2)


def _implementations(model):
    return [getattr(vars(m).get("config"), "_attn_implementation", None) for m in model.modules()]


def test_recurrent_layers_and_sinks_decode_apart():
    for family, batched in (("llava", True), ("qwen3_5_moe", False)):
        model, _, _ = FAMILIES[family].build()
        assert BranchRunner(Replayer(model), BranchKind("slot")).batched is batched
    model, _, _ = FAMILIES["llava"].build()
    next(m for m in model.get_decoder().modules() if hasattr(m, "q_proj")).sinks = None
    assert not BranchRunner(Replayer(model), BranchKind("slot")).batched


@drawn(
    groups=st.sampled_from([1, 2, 4]),
    held=st.integers(1, 6),
    fresh=st.integers(0, 2),
    softcap=st.sampled_from([None, 3.0]),
    seed=st.integers(0, 100),
)
def test_attention_by_groups_is_attention_head_by_head(groups, held, fresh, softcap, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    total = held + fresh
    query, key, value = draw(2, 2 * groups, 2, 4), draw(2, 2, total, 4), draw(2, 2, total, 4)
    newest = (draw(2, 2, fresh, 4), draw(2, 2, fresh, 4)) if fresh else None
    mask = torch.zeros(2, 1, 2, total, dtype=torch.float64)
    mask[0, :, :, 0] = -1e9 if total > 1 else 0.0
    output, weights = attend(query, key, value, mask, 0.5, softcap, newest)
    for row in range(2):
        for head in range(2 * groups):
            keys, values = key[row, head // groups].clone(), value[row, head // groups].clone()
            if newest is not None:
                keys[held:], values[held:] = newest[0][row, head // groups], newest[1][row, head // groups]
            for place in range(2):
                scores = torch.stack([query[row, head, place] @ k * 0.5 for k in keys])
                scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
                wanted = (scores + mask[row, 0, place]).softmax(0)
                assert torch.allclose(weights[row, head, place], wanted, atol=1e-12)
                assert torch.allclose(output[row, place, head], wanted @ values, atol=1e-12)


# Prefixes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paligemma", "gemma3", "llava", "qwen2_vl"])
@pytest.mark.parametrize("branch", ["blind", "slot", "noise"])
def test_a_padded_row_is_contrasted_like_the_row_alone(name, branch):
    model, joined, singles = batch(name, 2)
    if name == "paligemma":  # as its processor makes them: a prefix that attends both ways
        for inputs in (joined, *singles):
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    policy = Contrast(branch, plausibility=0.0)
    together = steered(model, joined, policy).logits[0]
    for row, inputs in enumerate(singles):
        torch.testing.assert_close(together[row], steered(model, inputs, policy).logits[0][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("alone", [True, False])
def test_the_blind_prefix_of_paligemma_attends_both_ways(alone):
    model, joined, singles = batch("paligemma", 2)
    inputs = singles[0] if alone else joined
    inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    found = steered(model, inputs, Contrast("blind", plausibility=0.0)).logits[0][0]
    plain = steered(model, inputs, [], 1).logits[0][0]
    text = singles[0]["input_ids"]
    text = text[text != model.config.image_token_id][None]
    with torch.no_grad():
        blind = model(
            input_ids=text, attention_mask=torch.ones_like(text), token_type_ids=torch.zeros_like(text)
        ).logits[0, -1]
    torch.testing.assert_close(found, 2 * plain - blind, rtol=1e-4, atol=1e-4)


# Markers -------------------------------------------------------------------------------------------------------------


def blind_ids(model, inputs, **how):
    """The ids that the blind branch runs on: those of the call of the model that has no image."""
    seen = []

    def keep(module, args, kwargs):
        ids = kwargs.get("input_ids")
        if ids is not None and ids.shape[1] > 1 and not bool((ids == model.config.image_token_id).any()):
            seen.append(ids[0].tolist())

    with model.register_forward_pre_hook(keep, with_kwargs=True):
        steered(model, inputs, Contrast("blind", plausibility=0.0), 1, **how)
    return seen[0]


class Marks:
    """A processor that names a marker, as Pixtral's does."""

    image_end_token = "[IMG_END]"
    tokenizer = None

    def __init__(self):
        self.tokenizer = self
        self.image_end_token = type(self).image_end_token

    def convert_tokens_to_ids(self, text):
        return {"[IMG_END]": 91}[text]

    def convert_ids_to_tokens(self, token):
        return str(token)


@pytest.mark.parametrize("how", ["steer", "steering", "beams", "processor"])
def test_break_tokens_belong_to_the_image(how):
    model, _, _ = FAMILIES["llava_pixtral"].build()
    row = [99] * 4  # 4 x 4 tokens: a break (90) after each row, an end (91) after the last
    ids = torch.tensor([[1, 5, *row, 90, *row, 90, *row, 90, *row, 91, 7, 8]])
    pixels = torch.randn(1, 3, 56, 56)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    inputs["image_sizes"] = torch.tensor([[56, 56]])
    if how == "processor":
        prompt = lime_xai.read_prompt(model, inputs, processor=Marks())
        assert blind_ids(model, prompt) == [1, 5, 7, 8]
    elif how == "steering":
        seen = []

        def keep(module, args, kwargs):
            seen.append(kwargs["input_ids"][0].tolist() if kwargs.get("input_ids") is not None else [])

        with (
            model.register_forward_pre_hook(keep, with_kwargs=True),
            lime_xai.steering(model, Contrast("blind", plausibility=0.0)),
        ):
            model.generate(**inputs, max_new_tokens=1, do_sample=False)
        assert [1, 5, 91, 7, 8] in seen
    else:
        assert blind_ids(model, inputs, **({"num_beams": 2} if how == "beams" else {})) == [1, 5, 91, 7, 8]


@pytest.mark.parametrize("family", ATTRIBUTABLE)
def test_the_counterfactual_branch_is_the_model_on_other_pictures_or_sounds(family):
    """By hand: run the model itself on the other inputs, token by token, without a cache of ours."""
    model, inputs, _ = batch(family, 2)
    found = steered(model, inputs, Contrast("counterfactual", 0.7, plausibility=0.0), 3)

    def forced(perceived):
        asked = {**FULL, "max_new_tokens": 3, "min_new_tokens": 3}
        return logits(model.generate(**perceived, **asked, logits_processor=[_Follow(found.sequences)]))

    assert torch.allclose(logits(found), 1.7 * forced(inputs) - 0.7 * forced(other(inputs)), atol=2e-3)


class _Follow(LogitsProcessor):
    """Make generate choose the tokens of given sequences."""

    def __init__(self, sequences):
        self.sequences = sequences

    def __call__(self, input_ids, scores):
        wanted = self.sequences[:, input_ids.shape[1], None]
        return torch.full_like(scores, -math.inf).scatter(1, wanted, 0.0)


@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "qwen2_audio"])
def test_beams_and_several_answers_share_the_counterfactual_of_their_prompt(family):
    model, inputs, _ = batch(family, 2)
    policy = Contrast("counterfactual", plausibility=0.0)
    asked = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "num_beams": 2}
    together = lime_xai.steer(model, inputs, policy, counterfactual=other(inputs), **asked).sequences
    apart = lime_xai.steer(
        model, inputs, replace(policy, batched=False), counterfactual=other(inputs), **asked
    ).sequences
    assert torch.equal(together, apart)


def test_every_way_to_steer_takes_a_counterfactual():
    model, inputs, _ = batch("qwen2_audio", 2)
    policy, changed = Contrast("counterfactual"), other(inputs)
    asked = {"max_new_tokens": 3, "do_sample": False}
    wanted = lime_xai.steer(model, inputs, policy, counterfactual=changed, **asked).sequences
    with lime_xai.steering(model, policy, counterfactual=changed):
        assert torch.equal(model.generate(**inputs, **asked), wanted)
    loop = {"custom_generate": lime_xai.steered_generate, "policy": policy, "counterfactual": changed}
    assert torch.equal(model.generate(**inputs, **asked, **loop), wanted)
    read = lime_xai.read_prompt(model, changed)
    assert torch.equal(lime_xai.steer(model, inputs, policy, counterfactual=read, **asked).sequences, wanted)
    same = lime_xai.steer(model, inputs, policy, counterfactual=inputs, **asked).sequences
    assert torch.equal(same, model.generate(**inputs, **asked))


def test_counterfactuals_that_do_not_fit_are_refused():
    model, inputs, _ = batch("qwen2_audio", 2)
    policy = Contrast("counterfactual")
    with pytest.raises(ValueError, match="give counterfactual="):
        lime_xai.steer(model, inputs, policy, max_new_tokens=1)
    with pytest.raises(ValueError, match="no policy uses it"):
        lime_xai.steer(model, inputs, "edit", counterfactual=inputs, max_new_tokens=1)
    single = {name: value[:1] for name, value in inputs.items()}
    three = {name: torch.cat([value, value[:1]]) for name, value in inputs.items()}
    with counted(model) as calls, pytest.raises(ValueError, match="3 rows"):
        lime_xai.steer(model, inputs, policy, counterfactual=three, max_new_tokens=1)
    assert (calls.decoder, calls.tower) == (0, 0)
    said = {**single, "input_ids": single["input_ids"].clone()}
    said["input_ids"][0, -1] += 1
    with counted(model) as calls, pytest.raises(ValueError, match="text of the counterfactual differs"):
        lime_xai.steer(model, single, policy, counterfactual=said, max_new_tokens=1)
    assert (calls.decoder, calls.tower) == (0, 0)  # nothing was encoded
    assert lime_xai.steer(model, inputs, Contrast("counterfactual", 0.0), max_new_tokens=1).sequences is not None
