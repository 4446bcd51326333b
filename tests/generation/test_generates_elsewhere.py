"""Models whose ``generate`` runs a part of them are refused by name, and nothing stays behind."""

import pytest
import torch
import transformers as hf
from support.entries import call_entry

import lime_xai
from lime_xai import LogitShift
from lime_xai.evaluation.conformance.state import model_state

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = SMALL | {"image_size": 28, "patch_size": 14}
QFORMER = SMALL | {"vocab_size": 50, "encoder_hidden_size": 32, "cross_attention_frequency": 1}
TEXT = SMALL | {"model_type": "llama", "vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PARTS = {
    "vision_config": VISION,
    "qformer_config": QFORMER,
    "text_config": TEXT,
    "num_query_tokens": 4,
    "image_token_index": 99,
}


def inputs_of(frames=None):
    ids = torch.tensor([[99] * 4 * (frames or 1) + [1, 5, 6, 7]])
    pixels = torch.randn(1, *([] if frames is None else [frames]), 3, 28, 28)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def instructblip():
    question = torch.tensor([[3, 4, 5]])
    more = {"qformer_input_ids": question, "qformer_attention_mask": torch.ones_like(question)}
    return hf.InstructBlipForConditionalGeneration(hf.InstructBlipConfig(**PARTS)), inputs_of() | more


def blip_2():
    return hf.Blip2ForConditionalGeneration(hf.Blip2Config(**PARTS)), inputs_of()


def instructblipvideo():
    parts = {name: value for name, value in PARTS.items() if name != "image_token_index"} | {"video_token_index": 99}
    question = torch.tensor([[3, 4, 5]])
    more = {"qformer_input_ids": question, "qformer_attention_mask": torch.ones_like(question)}
    model = hf.InstructBlipVideoForConditionalGeneration(hf.InstructBlipVideoConfig(**parts))
    return model, inputs_of(frames=4) | more


MAKERS = [instructblip, blip_2, instructblipvideo]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("call", ["steer", "steering", "attribute", "routes", "calibrate"])
def test_they_are_refused(make, call):
    torch.manual_seed(0)
    model, inputs = make()
    model.eval()
    before = model_state(model)
    policy = LogitShift({17: 1000.0})
    with pytest.raises((ValueError, NotImplementedError), match=rf"{type(model).__name__}"):
        call_entry(call, model, inputs, policy, perceptual=inputs["input_ids"] == 99)
    assert model_state(model) == before


def test_a_generation_without_a_step_is_an_error():
    """A generate of one's own that never calls the model, for whatever reason."""
    from support.families import FAMILIES

    model, inputs, _ = FAMILIES["llava"].build()
    model.generate = lambda **kwargs: kwargs["input_ids"]
    with pytest.raises(ValueError, match="does not call the model's own forward pass"):
        lime_xai.steer(model, inputs, LogitShift({17: 1.0}))
    assert model.generate(input_ids=5) == 5
