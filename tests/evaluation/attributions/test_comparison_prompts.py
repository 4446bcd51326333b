"""Comparisons of prompts that were read before: what makes two examples the same."""

import pytest
from support.families import FAMILIES

from lime_xai import Example, compare_attributions, read_prompt
from lime_xai.evaluation.attributions.identity import digest


class Words:
    """A processor that names every token."""

    def convert_ids_to_tokens(self, ids):
        return f"Ġ{ids}" if isinstance(ids, int) else [f"Ġ{number}" for number in ids]


def test_prompts_with_other_masks_are_other_examples():
    model, inputs, _ = FAMILIES["llava"].build()
    masks = [inputs["input_ids"] == 99, inputs["input_ids"] > 0]
    found = [digest(Example(read_prompt(model, inputs, perceptual=mask), 5)) for mask in (*masks, masks[0])]
    assert found[0] == found[2] != found[1]


def test_a_dataset_does_not_mix_prompts_with_and_without_a_processor():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt = read_prompt(model, inputs, processor=Words())
    with pytest.raises(ValueError, match=r"example 0 was read with a processor; pass processor="):
        compare_attributions(model, [Example(prompt, 5)], ["attnlrp"], metrics=["delta_a"], progress=False)
    settings = {"metrics": ["delta_a"], "progress": False}
    alone = compare_attributions(model, prompt, ["attnlrp"], target=5, **settings)
    given = compare_attributions(model, inputs, ["attnlrp"], target=5, processor=Words(), **settings)
    assert alone.header["labels"] is given.header["labels"] is True
    assert isinstance(read_prompt(model, prompt).labels, list)
