"""Contributions of perceptual tokens by differentiating a backward pass: the same as by the relevance stream."""

import warnings

import pytest
import torch
from support.families import FAMILIES, batch
from support.streams import REFUSED, STREAMED, backward_into_slots, perceptual_of

import lime_xai
from lime_xai import Needs, Policy, Reweight
from lime_xai.decoding.policy import ContributionNeed
from lime_xai.evaluation.conformance.state import model_state

ASKED = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}


class Contributions(Policy):
    """Keeps the contributions of perceptual tokens."""

    def __init__(self, direction, form="direct"):
        self.direction, self.form, self.seen = direction, form, []

    @property
    def needs(self):
        return Needs(contributions=ContributionNeed(self.form, self.direction))

    def step(self, step):
        self.seen.append(step.contributions)
        return step.logits


def contributions(model, inputs, direction, **asked):
    policy = Contributions(direction)
    lime_xai.steer(model, inputs, policy, **ASKED | asked)
    return torch.stack(policy.seen)


@pytest.mark.parametrize("name", STREAMED)
def test_both_directions_find_the_same(name, double):
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    before = model_state(model)
    backward = contributions(model, inputs, "backward")
    assert backward.dtype == torch.float64
    assert model_state(model) == before
    torch.testing.assert_close(backward, contributions(model, inputs, "forward"), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "qwen3_omni_thinker"])
def test_in_batches_and_beams_of_float32(name):
    model, joined, _ = batch(name, 2)
    for asked in ({}, {"num_beams": 3}):
        found = [contributions(model, joined, direction, **asked) for direction in ("backward", "forward")]
        torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_a_model_without_a_stream_is_reweighted_by_backward_passes_if_asked():
    model, inputs, _ = FAMILIES["gemma4"].build()
    plain = model.generate(**inputs, **ASKED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = contributions(model, inputs, "backward")
    expected = backward_into_slots(model, inputs, perceptual_of(model, inputs["input_ids"]), (3, 47))
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(found[0, 0, [3, 47]], expected, rtol=1e-4, atol=1e-6)
    with pytest.warns(UserWarning, match=f"Reweighting uses double backward passes.*{REFUSED['gemma4']}"):
        auto = lime_xai.steer(model, inputs, Reweight(40.0, plausibility=0.0, direction="auto"), **ASKED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backward = lime_xai.steer(model, inputs, Reweight(40.0, plausibility=0.0, direction="backward"), **ASKED)
    assert torch.equal(auto.sequences, backward.sequences)
    assert not torch.equal(auto.sequences, plain)
    with pytest.raises(NotImplementedError, match=r"direction='backward'"):
        lime_xai.steer(model, inputs, Reweight(), **ASKED)


def test_a_model_with_a_stream_takes_it_without_a_word():
    model, inputs, _ = FAMILIES["llava"].build()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [contributions(model, inputs, direction) for direction in ("auto", "forward")]
    assert torch.equal(*found)


def test_the_newest_position_may_be_perceptual(double):
    model, inputs, _ = FAMILIES["llava"].build()
    model, inputs = double(model, inputs)
    mask = perceptual_of(model, inputs["input_ids"])
    mask[:, -1] = True
    found = [contributions(model, inputs, direction, perceptual=mask) for direction in ("backward", "forward")]
    without = contributions(model, inputs, "backward")
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    assert (found[0][0] - without[0]).abs().max() > 1e-4


def test_a_model_without_a_stream_is_calibrated_by_backward_passes_if_asked():
    model, inputs, _ = FAMILIES["gemma4"].build()
    asked = {"max_new_tokens": 3, "gains": False, "progress": False}
    expected = contributions(model, inputs, "backward")[:, 0].mean(0)
    found = lime_xai.calibrate(model, [inputs], direction="backward", **asked)
    assert found.steps == 3
    torch.testing.assert_close(found.mean_contribution, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(NotImplementedError, match=r"\. Contributions can be computed .* direction='backward'"):
        lime_xai.calibrate(model, [inputs], **asked)


def test_a_calibration_does_not_depend_on_the_direction():
    model, inputs, _ = FAMILIES["llava"].build()
    found = [
        lime_xai.calibrate(model, [inputs], max_new_tokens=3, gains=False, direction=direction, progress=False)
        for direction in ("backward", "forward")
    ]
    torch.testing.assert_close(found[0].mean_contribution, found[1].mean_contribution, rtol=1e-4, atol=1e-6)
    assert found[0].settings == found[1].settings


def test_under_inference_mode():
    model, inputs, _ = FAMILIES["llava"].build()
    expected = contributions(model, inputs, "backward")
    with torch.inference_mode():
        assert torch.equal(contributions(model, inputs, "backward"), expected)


@pytest.mark.parametrize("direction", ["backward", "auto"])
def test_recurrent_layers_are_refused_before_any_compute(direction):
    model, inputs, _ = FAMILIES["qwen3_5_moe"].build()
    before, calls = model_state(model), []
    handle = model.get_decoder().layers[0].register_forward_hook(lambda module, args, output: calls.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NotImplementedError, match=r"recurrent state.*in neither direction"):
            lime_xai.steer(model, inputs, Reweight(direction=direction), **ASKED)
    handle.remove()
    assert not calls
    assert model_state(model) == before
    with pytest.raises(NotImplementedError, match=r"linear_attn.*in backward direction either\.$"):
        lime_xai.steer(model, inputs, Reweight(), **ASKED)


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"Unknown direction 'backwards'. Did you mean 'backward'"):
        Reweight(direction="backwards")
    with pytest.raises(ValueError, match="the full form exists in forward direction only"):
        Reweight(relevance="full", direction="auto")
    model, inputs, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match="the full form exists in forward direction only"):
        lime_xai.calibrate(model, [inputs], relevance="full", direction="backward")
    with pytest.raises(ValueError, match="different directions of contributions: backward, forward"):
        lime_xai.steer(model, inputs, [Reweight(), Reweight(direction="backward")], **ASKED)
    for form, direction, message in (
        ("full", "backward", "the full form exists"),
        ("direct", "bakward", "Unknown direction 'bakward'"),
        ("slots", "forward", "Unknown form 'slots'"),
    ):
        policy = Contributions(direction, form)
        with pytest.raises(ValueError, match=message):
            lime_xai.steer(model, inputs, policy, **ASKED)
    mixed = [Reweight(), Reweight(direction="auto")]
    assert lime_xai.steer(model, inputs, mixed, **ASKED).sequences.shape[0] == 1
