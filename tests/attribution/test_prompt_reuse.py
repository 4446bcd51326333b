"""A prompt that is read once: towers run once, results are the same, changes of the model are noticed."""

import pytest
import torch
from support.calls import counted
from support.families import FAMILIES, batch

import lime_xai
from lime_xai import Contrast, Edit, Example, LogitShift, Reweight
from lime_xai.attribution.methods.registry import METHODS

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]
ANSWER = [5, 6, 7]
SMALL = {"shapley_value_sampling": {"samples": 2}, "kernel_shap": {"samples": 20}}


@pytest.mark.filterwarnings("ignore:.*have no relevance rule")
@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_the_tower_runs_once_for_several_calls_which_give_the_same(name):
    model, inputs, _ = FAMILIES[name].build()
    # An answer over linear attention has no gradient: its recurrent state is updated in place.
    answer = 5 if name == "qwen3_5_moe" else ANSWER
    asked = ((answer, "attnlrp"), (answer, "cplrp"), (5, "attnlrp"), (5, "input_x_gradient"))
    expected = [lime_xai.attribute(model, inputs, *one).relevance for one in asked]
    prompt = lime_xai.read_prompt(model, inputs)
    with counted(model) as calls:
        found = [lime_xai.attribute(model, prompt, *one).relevance for one in asked]
    assert calls.tower == 1
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_prompt(name):
    model, inputs, _ = batch("llava", 2)
    method = METHODS[name](**SMALL.get(name, {}))
    prompt = lime_xai.read_prompt(model, inputs)
    for target in (5, ANSWER):
        wanted = lime_xai.attribute(model, inputs, target, method)
        found = lime_xai.attribute(model, prompt, target, method)
        torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-5, atol=1e-6)
        assert found.spans == wanted.spans


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize(
    "policy", [Edit(), Reweight(), Contrast(), LogitShift({5: 2.0})], ids=lambda p: type(p).__name__
)
def test_steering_takes_a_prompt(policy, beams):
    model, inputs, _ = batch("llava", 2)
    asked = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams}
    wanted = lime_xai.steer(model, inputs, policy, **asked).sequences
    assert torch.equal(lime_xai.steer(model, lime_xai.read_prompt(model, inputs), policy, **asked).sequences, wanted)


def test_routes_and_calibrate_take_a_prompt():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt = lime_xai.read_prompt(model, inputs)
    with counted(model) as calls:
        found = [lime_xai.routes(model, prompt, relevance=form) for form in ("full", "direct")]
    assert calls.tower == 1
    wanted = lime_xai.routes(model, inputs)
    torch.testing.assert_close(found[0].contributions["image"], wanted.contributions["image"])
    settings = {"max_new_tokens": 2, "gains": False, "progress": False}
    assert lime_xai.calibrate(model, [prompt], **settings) == lime_xai.calibrate(model, [inputs], **settings)


def test_a_comparison_encodes_each_picture_once():
    model, inputs, _ = FAMILIES["llava"].build()
    truth = inputs["input_ids"][0] == 99
    with counted(model) as calls:
        found = lime_xai.compare_attributions(
            model, [Example(inputs, 5, truth)], ["attnlrp", "gradient_input"], progress=False
        )
    assert calls.tower == 1
    assert calls.decoder == 174  # deletion runs rows of another length one by one; two probe the gradients
    assert set(found.summary) == {"attnlrp", "gradient_input"}


def test_a_prompt_follows_changes_of_the_model():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt = lime_xai.read_prompt(model, inputs)
    lime_xai.attribute(model, prompt, 5)
    for part in (model.model.vision_tower, model.model.multi_modal_projector, model.model.language_model):
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(1.1)
        for target in (None, 5):
            wanted = lime_xai.attribute(model, inputs, target, "input_x_gradient")
            found = lime_xai.attribute(model, prompt, target, "input_x_gradient")
            assert torch.equal(found.target_ids, wanted.target_ids)
            torch.testing.assert_close(found.relevance, wanted.relevance)
    model.double()
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    wanted = lime_xai.attribute(model, doubled, 5).relevance
    torch.testing.assert_close(lime_xai.attribute(model, prompt, 5).relevance, wanted, rtol=1e-4, atol=1e-5)


def test_a_prompt_of_another_model_or_mask_is_refused():
    model, inputs, _ = FAMILIES["llava"].build()
    other, _, _ = FAMILIES["llava"].build(seed=1)
    prompt = lime_xai.read_prompt(model, inputs)
    with pytest.raises(ValueError, match="was read for another Llava"):
        lime_xai.attribute(other, prompt, 5)
    with pytest.raises(ValueError, match="perceptual= is given for a prompt that was read before"):
        lime_xai.attribute(model, prompt, 5, perceptual=torch.ones_like(inputs["input_ids"]).bool())
    model.train()
    with pytest.raises(ValueError, match="training mode"):
        lime_xai.steer(model, prompt, max_new_tokens=1)


def test_a_prompt_says_what_its_positions_are():
    model, inputs, _ = batch("llava", 2)
    prompt = lime_xai.read_prompt(model, inputs)
    positions = prompt.positions
    assert torch.equal(positions.attended, inputs["attention_mask"].bool())
    assert torch.equal(positions.modalities["image"], inputs["input_ids"] == 99)
    assert torch.equal(positions.perceptual, positions.modalities["image"])
    assert torch.equal(positions.bos, (inputs["input_ids"] == 1) & positions.attended)
    for row, mask in zip(prompt.layouts, positions.modalities["image"], strict=True):
        (layout,) = row
        assert [tile.grid for tile in layout.tiles] == [(2, 2)]
        assert list(layout.tiles[0].positions) == mask.nonzero()[:, 0].tolist()
    assert prompt.labels is None
    assert prompt.vocabulary == 128
    assert [span.modality for span in positions.spans[0]] == ["text", "image", "text"]
    assert positions.repeated(4).input_ids.tolist() == positions.input_ids.repeat_interleave(2, 0).tolist()
    with pytest.raises(ValueError, match="3 rows for a prompt of 2"):
        positions.repeated(3)
