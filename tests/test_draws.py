"""One seed gives one draw, whatever torch's default dtype is."""

import pytest
import torch
from support.dtypes import default_dtype
from support.families import FAMILIES

import lime_xai
from lime_xai import METHODS
from lime_xai.branches.runner import _mixed
from lime_xai.evaluation.attributions.robustness import cascade, draw_noise


@pytest.fixture(scope="module")
def llava():
    return FAMILIES["llava"].build()[:2]


def both(draw, dtype):
    """What is drawn under float32 and under another default."""
    expected = draw()
    with default_dtype(dtype):
        return expected, draw()


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)


@DTYPES
def test_noise_of_a_contrast(llava, dtype):
    features = torch.randn(9, 6)
    expected, found = both(lambda: _mixed(features, 0.5, torch.Generator().manual_seed(3)), dtype)
    assert torch.equal(expected, found)
    model, inputs = llava
    asked = {"max_new_tokens": 1, "return_dict_in_generate": True, "output_logits": True}
    policy = lime_xai.Contrast("noise", plausibility=0.0)
    expected, found = both(lambda: lime_xai.steer(model, inputs, policy, **asked).generation.logits[0], dtype)
    torch.testing.assert_close(expected, found, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=2e-2)


@DTYPES
def test_noise_and_weights_of_robustness(llava, dtype):
    inputs, attended = [torch.randn(1, 5, 8)], torch.ones(1, 5, dtype=torch.bool)
    expected, found = both(lambda: draw_noise(inputs, attended, 3)[0], dtype)
    assert torch.equal(expected, found)
    layers = llava[0].get_decoder().layers

    def redrawn():
        with cascade(layers, 3) as deepen:
            deepen(1)
            return layers[-1].self_attn.q_proj.weight.clone()

    assert torch.equal(*both(redrawn, dtype))


@pytest.mark.parametrize("name", [name for name, make in METHODS.items() if hasattr(make(), "seed")])
def test_methods_that_draw(llava, name):
    model, inputs = llava
    expected, found = both(lambda: lime_xai.attribute(model, inputs, 7, METHODS[name](samples=8)), torch.float64)
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-3, atol=1e-4)
