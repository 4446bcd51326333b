"""Words of finished answers have the numbers that ``explain`` gives them, without a backward pass."""

import pytest
import torch
from support.calls import counted
from support.every_family import EVERY_FAMILY
from support.families import FAMILIES
from support.words import numbered_tokenizer

import lime_xai
from lime_xai.report.scored import score_answer

TOKENIZER = numbered_tokenizer()


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "qwen2_audio"])
def test_numbers_are_those_of_explain(family):
    model, inputs, _ = EVERY_FAMILY[family].build()
    answer = [5, 9, 7]
    found = score_answer(model, inputs, answer, processor=TOKENIZER)
    explained = lime_xai.explain(model, inputs, processor=TOKENIZER, answer=answer)
    assert found.no_grounding is None
    assert len(found.words) == len(explained.words)
    for one, other in zip(found.words, explained.words, strict=True):
        for name in ("text", "lead", "start", "stop", "special"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("probability", "entropy", "grounding"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-4)
    assert found.worst.grounding == min(word.grounding for word in found.words if not word.special)
    assert found.to_dict()["words"][0]["text"] == found.words[0].text


def test_a_text_only_prompt_has_no_grounding_and_says_why():
    model, _, _ = FAMILIES["llava"].build()
    text = {"input_ids": torch.tensor([[1, 5, 6, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    found = score_answer(model, text, [5, 9], processor=TOKENIZER)
    explained = lime_xai.explain(model, text, processor=TOKENIZER, answer=[5, 9])
    assert [word.grounding for word in found.words] == [None] * len(found.words)
    assert "nothing that is perceived" in found.no_grounding
    assert found.worst is None
    assert [word.probability for word in found.words] == pytest.approx([word.probability for word in explained.words])


def test_the_tower_runs_once():
    model, inputs, _ = FAMILIES["llava"].build()
    with counted(model) as calls:
        score_answer(model, inputs, [5, 9, 7], processor=TOKENIZER)
    assert calls.tower == 1


def test_bad_input_is_refused():
    model, inputs, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match="score_answer needs processor="):
        score_answer(model, inputs, [5])
    with pytest.raises(ValueError, match=r"answer=.*"):
        score_answer(model, inputs, [], processor=TOKENIZER)
    two = {name: torch.cat([value, value]) for name, value in inputs.items()}
    with pytest.raises(ValueError, match="inputs hold 2 prompts; score_answer takes one"):
        score_answer(model, two, [5], processor=TOKENIZER)
