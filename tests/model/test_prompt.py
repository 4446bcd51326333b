"""A prompt's recordings: kept while they are right, made again when they are not."""

from functools import partial

import pytest
import torch
from support.families import FAMILIES

from lime_xai import attribute, read_prompt, routes
from lime_xai.evaluation.attributions.robustness import draw_noise, with_noise

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]


def changed(prompt):
    """The prompt with noise on its embeddings, and the embeddings that it must have."""
    call = prompt.recording().calls[0]
    noise = draw_noise([call.embeddings, *call.deep_features], prompt.positions.attended, seed=0)
    return prompt.with_inputs(partial(with_noise, noise=noise)), with_noise(call, noise).embeddings


def test_other_inputs_hold_for_every_continuation():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt = read_prompt(model, inputs)
    before = prompt.recording().calls[0].embeddings.clone()
    other, wanted = changed(prompt)
    for tokens in ([[5, 6]], [[7, 8, 9]]):
        recording = other.recording(torch.tensor(tokens), logits=True)
        assert torch.equal(recording.calls[0].embeddings, wanted)
        plain = prompt.recording(torch.tensor(tokens), logits=True)
        assert torch.equal(plain.calls[0].embeddings, before)
        assert not torch.allclose(recording.logits, plain.logits)


def test_other_inputs_hold_after_a_change_of_the_weights():
    model, inputs, _ = FAMILIES["llava"].build()
    other, _ = changed(read_prompt(model, inputs))
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    plain = read_prompt(model, inputs).recording().calls[0].embeddings
    assert not torch.allclose(other.recording().calls[0].embeddings, plain)


def test_a_continuation_that_the_caller_changes_is_recorded_again():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt, tokens = read_prompt(model, inputs), torch.tensor([[5, 6, 7]])
    before = routes(model, prompt, tokens).logits
    tokens[0, 0] = 20
    after = routes(model, prompt, tokens).logits
    torch.testing.assert_close(after, routes(model, inputs, tokens).logits)
    assert not torch.allclose(after, before)


@pytest.mark.filterwarnings("ignore:.*have no relevance rule")
@pytest.mark.parametrize("through", ["in place", "data"])
@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_every_weight_outside_the_layers_is_watched(name, through):
    model, inputs, _ = FAMILIES[name].build()
    prompt = read_prompt(model, inputs)
    attribute(model, prompt, 5)
    layers = set(model.get_decoder().layers.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter not in layers:
                (parameter.data if through == "data" else parameter).mul_(1.5).add_(0.01)
    found = attribute(model, prompt, 5).relevance
    torch.testing.assert_close(found, attribute(model, inputs, 5).relevance)
