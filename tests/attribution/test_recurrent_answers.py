"""Answers of several tokens over decoders with recurrent layers: all is as in one plain forward pass."""

import pytest
import torch
from support.families import FAMILIES
from support.family_recurrent import jamba, olmo_hybrid, qwen3_next, recurrent_gemma

import lime_xai
from lime_xai import METHODS
from lime_xai.attribution.methods.integrated import IntegratedGradients

ANSWER = [5, 9, 12, 30]
FEW_POINTS = IntegratedGradients(steps=4, tolerance=None)


MAKERS = {one.__name__: one for one in (jamba, recurrent_gemma, qwen3_next, olmo_hybrid)}


def text_model(name):
    torch.manual_seed(0)
    model = MAKERS[name]()[0].eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    ids = torch.tensor([[1, 5, 6, 7, 8, 9, 10, 11]])
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def plain_forward(model, inputs):
    """Logits of the answer's tokens, and input times gradient of each, by one forward pass without a cache."""
    ids = torch.cat([inputs["input_ids"], torch.tensor([ANSWER[:-1]])], 1)
    leaf = model.get_input_embeddings()(ids).detach().requires_grad_()
    logits = model(inputs_embeds=leaf, use_cache=False).logits[0, -len(ANSWER) :]
    values = [logits[index, token] for index, token in enumerate(ANSWER)]
    relevance = [(leaf * torch.autograd.grad(v, leaf, retain_graph=True)[0]).sum(-1)[0].detach() for v in values]
    return torch.stack(values).detach(), torch.stack(relevance)


@pytest.mark.parametrize("name", MAKERS)
def test_logits_and_gradients_are_those_of_one_forward_pass(name):
    model, inputs = text_model(name)
    values, relevance = plain_forward(model, inputs)
    found = lime_xai.attribute(model, inputs, ANSWER, "gradient_input")
    torch.testing.assert_close(found.logits[0], values, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.relevance[0], relevance, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["attnlrp", "cplrp", "saliency", "input_x_gradient", "feature_ablation", "eagle"])
@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_of_method_explains_the_same_logits(name, method):
    assert method in METHODS
    model, inputs = text_model(name)
    values, _ = plain_forward(model, inputs)
    found = lime_xai.attribute(model, inputs, ANSWER, method)
    torch.testing.assert_close(found.logits[0], values, rtol=1e-3, atol=1e-4)
    single = lime_xai.attribute(model, inputs, ANSWER[0], method)
    torch.testing.assert_close(found.relevance[0, 0, :8], single.relevance[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", [[5], [5, 9], torch.tensor([[5, 9, 2]])], ids=str)
@pytest.mark.parametrize("method", ["attnlrp", "gradient_input", FEW_POINTS, "feature_ablation"], ids=str)
def test_images_before_the_answer(target, method):
    model, inputs, _ = FAMILIES["qwen3_5_moe"].build()
    found = lime_xai.attribute(model, inputs, target, method)
    assert found.relevance.shape[-1] == inputs["input_ids"].shape[1] + found.target_ids.shape[1] - 1
    first = lime_xai.attribute(model, inputs, 5, method)
    torch.testing.assert_close(found.logits[0, 0], first.logits[0], rtol=1e-3, atol=1e-4)
    length = inputs["input_ids"].shape[1]
    torch.testing.assert_close(found.relevance[0, 0, :length], first.relevance[0], rtol=1e-3, atol=1e-4)
