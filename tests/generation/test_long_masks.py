"""An attention mask longer than the prompt: as the plain model takes it, or refused by name."""

import pytest
import torch
from support.families import FAMILIES

import lime_xai

SHORT = {"max_new_tokens": 2, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}


def lengthened(name):
    model, inputs, _ = FAMILIES[name].build()
    rows, length = inputs["input_ids"].shape
    return model, {**inputs, "attention_mask": torch.ones(rows, length + 3, dtype=torch.long)}


def by_context(model, inputs):
    with lime_xai.steering(model, "contrast"):
        model.generate(**inputs, **SHORT)


def by_keyword(model, inputs):
    inputs = dict(inputs)
    mask = inputs.pop("attention_mask")
    lime_xai.steer(model, inputs, "contrast", attention_mask=mask, **SHORT)


CALLS = {
    "attribute": lambda model, inputs: lime_xai.attribute(model, inputs, target=7),
    "steer": lambda model, inputs: lime_xai.steer(model, inputs, "contrast", **SHORT),
    "steer by keyword": by_keyword,
    "steering": by_context,
}


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl", "qwen2_5_omni_thinker_image"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_models_that_read_positions_off_the_mask_refuse_a_longer_one(name, call):
    model, inputs = lengthened(name)
    with pytest.raises(IndexError):
        model.generate(**inputs, **SHORT)
    with pytest.raises(ValueError, match=r"attention_mask has shape \(1, \d+\), input_ids \(1, \d+\); .* no more"):
        call(model, inputs)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_omni_thinker"])
def test_other_models_take_the_last_columns_as_alone(name):
    model, inputs = lengthened(name)
    plain = model.generate(**inputs, **SHORT)
    found = lime_xai.steer(model, inputs, "observe", **SHORT)
    assert torch.equal(found.sequences, plain.sequences)
    logits = lime_xai.attribute(model, inputs, target=7).logits
    torch.testing.assert_close(logits, plain.logits[0][:, 7], atol=1e-5, rtol=0)


def test_text_alone_takes_a_longer_mask():
    model, inputs, _ = FAMILIES["qwen2_vl"].build()
    text = {"input_ids": inputs["input_ids"][:, -3:], "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    perceptual = torch.tensor([[True, False, False]])
    found = lime_xai.attribute(model, text, target=7, perceptual=perceptual)
    alone = lime_xai.attribute(model, {"input_ids": text["input_ids"]}, target=7, perceptual=perceptual)
    torch.testing.assert_close(found.logits, alone.logits)
