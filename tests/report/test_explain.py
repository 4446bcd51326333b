"""An explained answer: its numbers against plain forward passes, over families and policies."""

import warnings
from dataclasses import replace

import pytest
import torch
from support.calls import counted
from support.every_family import EVERY_FAMILY
from support.families import FAMILIES, batch
from support.words import numbered_tokenizer

import lime_xai
from lime_xai import POLICIES, Contrast
from lime_xai.model.perception import signals
from lime_xai.report.explain import explain

TOKENIZER = numbered_tokenizer()
SHORT = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


def explained(family="llava", policy=None, **settings):
    model, inputs, _ = FAMILIES[family].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model, inputs, explain(model, inputs, policy, processor=TOKENIZER, **{**SHORT, **settings})


def plain_logits(model, inputs, answer):
    """Logits [G, V] of one plain forward pass over prompt and answer."""
    joined = torch.cat([inputs["input_ids"], answer[None, :-1]], 1)
    given = {**inputs, "input_ids": joined, "attention_mask": torch.ones_like(joined)}
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in given:
            given[name] = torch.nn.functional.pad(given[name], (0, len(answer) - 1))
    with torch.no_grad():
        return model(**given).logits[0, -len(answer) :]


@pytest.mark.parametrize(
    "family", ["llava", "qwen2_5_vl", "gemma3", "internvl", "qwen2_audio", "qwen3_vl_moe", "jamba"]
)
def test_numbers_are_those_of_a_plain_forward_pass(family):
    model, inputs, _ = EVERY_FAMILY[family].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explain(model, inputs, processor=TOKENIZER, **SHORT)
    ids = found.attribution.target_ids[0]
    logits = plain_logits(model, inputs, ids)
    logs = logits.log_softmax(-1)
    assert [word.text for word in found.words] == [f"w{token}" for token in ids.tolist()]
    for index, word in enumerate(found.words):
        token = ids[index]
        assert word.probability == pytest.approx(float(logs[index, token].exp()), abs=1e-4)
        assert word.entropy == pytest.approx(float(-(logs[index].exp() * logs[index]).sum()), abs=1e-3)
        assert word.logit == pytest.approx(float(logits[index, token]), abs=1e-3)
        others = logits[index].index_fill(0, token, float("-inf"))
        assert word.alternative == f"w{int(others.argmax())}"
        assert word.margin == pytest.approx(float(logits[index, token] - others.max()), abs=1e-3)
        assert sum(word.shares.values()) == pytest.approx(1, abs=1e-5)
        assert sum(word.relevance.values()) == pytest.approx(word.logit + word.residual, abs=1e-4)
        assert torch.equal(found.relevance(index), found.attribution.relevance[0, index])


def test_grounding_is_what_the_word_loses_without_the_image():
    model, inputs, found = explained()
    ids = found.attribution.target_ids[0]
    text = inputs["input_ids"][:, inputs["input_ids"][0] != model.config.image_token_index]
    with_image = plain_logits(model, inputs, ids).log_softmax(-1)
    blind = plain_logits(model, {"input_ids": text}, ids).log_softmax(-1)
    for index, word in enumerate(found.words):
        lost = float(with_image[index, ids[index]] - blind[index, ids[index]])
        assert word.grounding == pytest.approx(lost, abs=1e-4)
    assert found.no_grounding is None


def test_a_text_only_prompt_has_no_grounding_and_says_why():
    model, _, _ = FAMILIES["llava"].build()
    text = {"input_ids": torch.tensor([[1, 5, 6, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    found = explain(model, text, processor=TOKENIZER, **SHORT)
    assert all(word.grounding is None for word in found.words)
    assert "nothing that is perceived" in found.no_grounding
    assert set(found.words[0].shares) == {"prompt", "answer"}


@pytest.mark.parametrize("name", POLICIES)
def test_an_answer_under_a_policy_comes_with_the_one_without_it(name):
    settings = {"max_new_tokens": 2, "min_new_tokens": 2}
    model, inputs, found = explained("llava", name, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = lime_xai.steer(model, inputs, name, do_sample=False, **settings).sequences[0, -2:]
        plain = explain(model, inputs, processor=TOKENIZER, do_sample=False, **settings)
    assert torch.equal(found.attribution.target_ids[0], wanted)
    assert found.before.text == plain.text
    assert [word.probability for word in found.before.words] == [word.probability for word in plain.words]
    assert found.policies == (repr(POLICIES[name]()),)
    assert plain.before is None


@pytest.mark.parametrize("policy", ["contrast", "edit"])
def test_under_sampling_each_answer_depends_on_the_seed_alone(policy):
    model, inputs, _ = FAMILIES["llava"].build()
    asked = {"processor": TOKENIZER, "max_new_tokens": 4, "min_new_tokens": 4, "do_sample": True, "temperature": 3.0}

    def drawn(*args, **settings):
        torch.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return explain(model, inputs, *args, **asked, **settings), torch.rand(1)

    found, after = drawn(policy)
    plain, _ = drawn()
    alone, after_alone = drawn(policy, compare=False)
    assert found.before == plain
    assert replace(found, before=None) == alone
    assert torch.equal(after, after_alone)
    torch.manual_seed(5)
    wanted = model.generate(**inputs, **{name: asked[name] for name in asked if name != "processor"})
    assert torch.equal(found.before.attribution.target_ids[0], wanted[0, -4:])
    torch.manual_seed(6)
    other = model.generate(**inputs, **{name: asked[name] for name in asked if name != "processor"})
    assert not torch.equal(other, wanted)


def changed(inputs):
    """The prompt with another picture or sound of the same size."""
    return {**inputs, **{name: -value.flip(-1) for name, value in signals(inputs).items()}}


@pytest.mark.parametrize("how", ["generated", "given", "beams"])
@pytest.mark.parametrize("family", ["llava", "qwen2_audio"])
def test_an_answer_under_a_contrast_with_another_picture_or_sound(family, how):
    policy = Contrast("counterfactual", strength=0.7, plausibility=0.0)
    model, inputs, _ = FAMILIES[family].build()
    other = changed(inputs)
    settings = {"generated": {}, "given": {"answer": [5, 9, 7]}, "beams": {"num_beams": 2}}[how]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explain(
            model, inputs, policy, processor=TOKENIZER, counterfactual=other, compare=False, **SHORT, **settings
        )
    ids = found.attribution.target_ids[0]
    if how != "given":
        asked = {key: value for key, value in settings.items() if key != "answer"}
        wanted = lime_xai.steer(model, inputs, policy, counterfactual=other, **SHORT, **asked).sequences[0, -4:]
        assert torch.equal(ids, wanted)
    mixed = 1.7 * plain_logits(model, inputs, ids) - 0.7 * plain_logits(model, other, ids)
    for index, word in enumerate(found.words):
        assert word.probability == pytest.approx(float(mixed[index].softmax(-1)[ids[index]]), abs=1e-4)
    assert found.words[0].grounding is not None


def test_probability_is_that_of_the_distribution_the_answer_was_taken_from():
    model, inputs, found = explained("llava", Contrast(strength=3.0, plausibility=0.0))
    output = lime_xai.steer(
        model,
        inputs,
        Contrast(strength=3.0, plausibility=0.0),
        return_dict_in_generate=True,
        output_logits=True,
        **SHORT,
    )
    for index, word in enumerate(found.words):
        chances = output.generation.logits[index][0].softmax(-1)
        assert word.probability == pytest.approx(float(chances[found.attribution.target_ids[0, index]]), abs=1e-5)
    assert [word.probability for word in found.words] != [word.probability for word in found.before.words]


@pytest.mark.parametrize("policy", [None, "contrast"])
def test_a_beam_search_is_explained_like_the_same_answer_given(policy):
    model, inputs, found = explained("llava", policy, num_beams=2)
    ids = found.attribution.target_ids[0].tolist()
    given = explain(model, inputs, policy, processor=TOKENIZER, answer=ids)
    for one, other in zip(found.words, given.words, strict=True):
        assert one.text == other.text
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_a_margin_compares_two_tokens():
    model, inputs, found = explained(answer="w7", against="w9")
    wanted = lime_xai.attribute(model, inputs, (7, 9))
    assert torch.allclose(found.relevance(0), wanted.relevance[0], atol=1e-6)
    assert found.words[0].logit == pytest.approx(float(wanted.logits[0]), abs=1e-5)


def test_the_tower_runs_a_fixed_number_of_times():
    model, inputs, _ = FAMILIES["llava"].build()
    counts = []
    for length in (2, 6):
        with counted(model) as calls:
            explain(model, inputs, processor=TOKENIZER, max_new_tokens=length, min_new_tokens=length)
        counts.append(calls.tower)
    assert counts == [3, 3]  # the answer, its recording, and the branch


def never(model):
    def fail(module, args):
        raise AssertionError("the model ran")

    return model.register_forward_pre_hook(fail)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processor": None}, "needs processor="),
        ({"against": "w5"}, "give answer= of one token"),
        ({"answer": [4, 5], "against": "w5"}, "give answer= of one token"),
        ({"num_return_sequences": 2, "do_sample": True}, "takes one answer"),
        ({"policy": "edti"}, "edit"),
        ({"compare": "yes"}, "compare"),
        ({"policy": Contrast("counterfactual")}, "give counterfactual="),
        ({"policy": "edit", "counterfactual": FAMILIES["llava"].build()[1]}, "no policy uses it"),
        (
            {"policy": Contrast("counterfactual"), "counterfactual": {"input_ids": torch.tensor([[1, 5, 6]])}},
            "The counterfactual has 1 rows of 3 positions",
        ),
    ],
)
def test_bad_calls_are_refused_before_the_model_runs(change, message):
    model, inputs, _ = FAMILIES["llava"].build()
    handle = never(model)
    with pytest.raises((ValueError, TypeError), match=message):
        explain(model, inputs, **{"processor": TOKENIZER, **SHORT, **change})
    handle.remove()


def test_several_prompts_are_refused():
    model, inputs, _ = batch("llava", 2)
    with pytest.raises(ValueError, match="2 prompts; explain takes one"):
        explain(model, inputs, processor=TOKENIZER)


def test_a_table_and_a_report_hold_every_word(tmp_path):
    _, _, found = explained()
    frame = found.to_frame()
    assert list(frame["text"]) == [word.text for word in found.words]
    assert {"grounding", "share of image", "relevance of prompt"} <= set(frame.columns)
    found.to_csv(tmp_path / "words.csv")
    found.to_json(tmp_path / "words.json")
    import json

    import pandas

    assert len(pandas.read_csv(tmp_path / "words.csv")) == len(found.words)
    read = json.loads((tmp_path / "words.json").read_text())
    assert read == found.to_dict()
    assert found.find("W" + found.words[0].text[1:]) == 0
    with pytest.raises(ValueError, match="no word 'nothing'"):
        found.find("nothing")
    with pytest.raises(IndexError, match="words 0 to"):
        found.relevance(99)
