"""Numbers that are not finite end a generation or an attribution by an error, whatever made them so."""

import math

import pytest
import torch
from support.families import FAMILIES

import lime_xai
from lime_xai import METHODS, Edit, Observe, Policy, Reweight, UniformGain
from lime_xai.evaluation.conformance.state import model_state

SETTINGS = {"max_new_tokens": 3, "do_sample": False}


class Makes(Policy):
    """Puts a number into the logits, from a token on."""

    def __init__(self, value, first=0, tokens=slice(5, 6)):
        self.value, self.first, self.tokens = value, first, tokens

    def step(self, step):
        logits = step.logits.clone()
        if step.index >= self.first:
            logits[:, self.tokens] = self.value
        return logits


@pytest.fixture
def llava():
    model, inputs, _ = FAMILIES["llava"].build()
    model.generation_config.eos_token_id = None
    return model, inputs


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize(
    ("value", "tokens", "message"),
    [
        (math.nan, slice(5, 6), "policies' logits are NaN or infinite"),
        (math.inf, slice(5, 6), "policies' logits are NaN or infinite"),
        (-math.inf, slice(None), "excluded every token"),
    ],
)
@pytest.mark.parametrize("sample", [False, True])
def test_a_policy_that_makes_them_is_refused(value, tokens, message, first, sample, llava):
    model, inputs = llava
    before = model_state(model)
    with pytest.raises(FloatingPointError, match=message):
        lime_xai.steer(model, inputs, Makes(value, first, tokens), max_new_tokens=3, do_sample=sample)
    assert model_state(model) == before


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize(
    "policy", [UniformGain(1e25), Edit(learning_rate=1e30), Edit(deltas="free", learning_rate=1e30)], ids=repr
)
def test_settings_at_which_values_inside_the_decoder_overflow_are_refused(policy, family):
    """Its norm makes zeros of them, so that all logits are finite and the first token is said at every step."""
    model, inputs, _ = FAMILIES[family].build()
    before = model_state(model)
    with pytest.raises(FloatingPointError, match="the same number: values inside the decoder have overflowed"):
        lime_xai.steer(model, inputs, policy, **SETTINGS)
    assert model_state(model) == before


def test_a_policy_may_exclude_tokens(llava):
    model, inputs = llava
    lime_xai.steer(model, inputs, Makes(-math.inf), **SETTINGS)


@pytest.mark.parametrize(
    "policy",
    [
        Edit(direction="backward"),
        Edit.paper("cache"),
        Edit.paper(),
        Reweight(direction="backward"),
        Observe(),
        Observe(scope="sequence"),
    ],
    ids=repr,
)
def test_an_overflow_in_a_backward_pass_is_an_error(policy, llava):
    model, inputs = llava

    def spoil(module, args, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * math.nan)

    lime_xai.attribute(model, inputs)  # gradients have been checked; the overflow comes later
    with (
        model.get_decoder().layers[1].mlp.register_forward_hook(spoil),
        pytest.raises(FloatingPointError, match="NaN or infinite"),
    ):
        lime_xai.steer(model, inputs, policy, **SETTINGS)
    lime_xai.steer(model, inputs, policy, **SETTINGS)


GRADIENTS = ("attnlrp", "cplrp", "gradient_input", "saliency", "input_x_gradient", "integrated_gradients")


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("target", [7, [5, 9]], ids=["token", "answer"])
def test_relevance_that_is_not_finite_is_an_error(name, target, llava):
    model, inputs = llava

    def spoil(module, args, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * math.nan)

    lime_xai.attribute(model, inputs)  # gradients have been checked; the overflow comes later
    with model.get_decoder().layers[1].mlp.register_forward_hook(spoil):
        before = model_state(model)
        with pytest.raises(FloatingPointError, match=rf"relevance.*{name}.*bfloat16"):
            lime_xai.attribute(model, inputs, target, name)
        assert model_state(model) == before


def test_the_methods_above_are_registered():
    assert set(GRADIENTS) <= set(METHODS)


def test_routes_that_are_not_finite_are_an_error(llava):
    model, inputs = llava
    with torch.no_grad():
        model.lm_head.weight[7] = math.nan
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        lime_xai.routes(model, inputs)
