"""A model that makes a cache of its own cannot be steered, and says so; the plain model and an idle edit run."""

import pytest
import torch
import transformers as hf
from transformers.models.minimax.modeling_minimax import MiniMaxCache

import lime_xai
from lime_xai import Edit

SHORT = {"max_new_tokens": 3, "do_sample": False}


@pytest.fixture(scope="module")
def asked():
    torch.manual_seed(0)
    config = hf.MiniMaxConfig(
        vocab_size=99,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=2,
        num_experts_per_tok=1,
        block_size=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    ids = torch.randint(3, 99, (1, 12))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    perceptual = torch.zeros_like(ids, dtype=torch.bool)
    perceptual[:, 4:8] = True
    return hf.MiniMaxForCausalLM(config).eval().requires_grad_(False), inputs, perceptual


@pytest.mark.parametrize("policy", ["observe", "contrast", "edit"])
@pytest.mark.parametrize("settings", [{}, {"use_cache": True}], ids=["plain", "use_cache"])
def test_generate_without_a_cache_is_not_blamed_on_a_setting(asked, policy, settings):
    model, inputs, perceptual = asked
    with pytest.raises(ValueError, match=r"generate gives MiniMaxForCausalLM no cache: the model makes one of its own"):
        lime_xai.steer(model, inputs, policy, perceptual=perceptual, **SHORT, **settings)


def test_a_cache_with_states_outside_its_layers_is_refused(asked):
    model, inputs, perceptual = asked
    with pytest.raises(ValueError, match=r"cannot fork a MiniMaxCache: .* outside its layers \(linear_cache\)"):
        lime_xai.steer(model, inputs, "contrast", perceptual=perceptual, cache=MiniMaxCache(), **SHORT)


def test_an_idle_edit_leaves_such_a_model_as_it_is(asked):
    model, inputs, perceptual = asked
    found = lime_xai.steer(model, inputs, Edit(steps=0), perceptual=perceptual, **SHORT)
    assert torch.equal(found.sequences, model.generate(**inputs, **SHORT))
