"""Derivatives of functions of the relevance: exact against finite differences, or with ratios held constant."""

import pytest
import torch
from support.rule_oracles import ACTIVATION_MODULES, NORM_MODULES, oracle_for
from torch import nn
from transformers import PreTrainedConfig
from zennit.rules import Epsilon, Gamma

from lime_rules import LRP_METHODS, AttnLRP
from lime_rules.attention import attention_with_rules
from lime_rules.ratios import ACTIVATION_RATIOS, NORM_RATIOS

STEP = 1e-6


def loss_of_relevance(composite, root, function, x, differentiate):
    """Loss on the relevance of every entry of ``x`` for a sum of outputs, and its derivative if asked for."""
    x = x.detach().requires_grad_()
    with composite.context(root):
        output = function(x)
        seed = torch.linspace(-1, 2, output.numel(), dtype=x.dtype).reshape(output.shape)
        relevance = x * torch.autograd.grad((output * seed).sum(), x, create_graph=differentiate)[0]
        loss = (relevance.tanh() * torch.linspace(1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)).sum()
        if not differentiate:
            return loss.item()
        with composite.second_pass():
            return torch.autograd.grad(loss, x)[0]


def finite_differences(composite, root, function, x):
    out = torch.zeros_like(x)
    for index in range(x.numel()):
        move = torch.zeros_like(x)
        move.view(-1)[index] = STEP
        up = loss_of_relevance(composite, root, function, x + move, differentiate=False)
        down = loss_of_relevance(composite, root, function, x - move, differentiate=False)
        out.view(-1)[index] = (up - down) / (2 * STEP)
    return out


def assert_exact(make_composite, root, function, x):
    analytic = loss_of_relevance(make_composite(), root, function, x, differentiate=True)
    numeric = finite_differences(make_composite(), root, function, x)
    assert numeric.abs().max() > 1e-3
    torch.testing.assert_close(analytic, numeric, rtol=1e-6, atol=1e-8)


def is_not_exact(make_composite, root, function, x):
    analytic = loss_of_relevance(make_composite(), root, function, x, differentiate=True)
    return (analytic - finite_differences(make_composite(), root, function, x)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", NORM_RATIOS)
def test_norm_rule_is_exact(kind):
    norm = oracle_for(NORM_MODULES, kind, "NORM_RATIOS")(5)
    assert_exact(AttnLRP, norm, norm, torch.randn(2, 5, dtype=torch.float64))


@pytest.mark.parametrize("kind", ACTIVATION_RATIOS)
def test_activation_rule_is_exact(kind):
    act = oracle_for(ACTIVATION_MODULES, kind, "ACTIVATION_RATIOS")()
    x = torch.tensor([-2.1, -0.4, 0.3, 1.7, 2.6], dtype=torch.float64)
    assert_exact(AttnLRP, act, act, x)


@pytest.mark.parametrize("method", LRP_METHODS)
def test_gated_mlp_is_exact(method, gated_mlp):
    mlp = gated_mlp()
    assert_exact(LRP_METHODS[method], mlp, mlp, torch.randn(2, 6, dtype=torch.float64))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = PreTrainedConfig()

    def forward(self, x):
        query, key, value = x.chunk(3, 1)
        return attention_with_rules(self, query, key, value, None)[0]


@pytest.mark.parametrize("method", LRP_METHODS)
def test_attention_is_exact(method):
    module = SelfAttention()
    x = torch.randn(1, 6, 3, 2, dtype=torch.float64)
    assert_exact(LRP_METHODS[method], module, module, x)


@pytest.mark.parametrize("rule", [Epsilon(1e-3), Gamma(0.3)])
def test_zennits_rules_are_exact_too(rule):
    module = nn.Sequential(nn.Linear(4, 3), nn.SiLU(), nn.Linear(3, 3)).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    assert_exact(lambda: AttnLRP(layer_map=[(nn.Linear, rule)]), module, module, x)


@pytest.mark.parametrize("method", LRP_METHODS)
def test_a_whole_decoder_is_exact(method, llama64):
    def logits(embeddings):
        return llama64(inputs_embeds=embeddings, use_cache=False).logits[0, -1, :2]

    x = torch.randn(1, 2, 16, dtype=torch.float64)
    assert_exact(LRP_METHODS[method], llama64.get_decoder(), logits, x)


def test_frozen_is_not_exact_in_a_whole_decoder(llama64):
    def logits(embeddings):
        return llama64(inputs_embeds=embeddings, use_cache=False).logits[0, -1, :2]

    x = torch.randn(1, 2, 16, dtype=torch.float64)
    assert is_not_exact(lambda: AttnLRP(second_order="frozen"), llama64.get_decoder(), logits, x)


@pytest.mark.parametrize(
    ("module", "ratio"),
    [
        (nn.SiLU(), lambda x: x.sigmoid()),
        (NORM_MODULES["rms_norm_weightless"](5), lambda x: (x.pow(2).mean(-1, keepdim=True) + 1e-3).rsqrt()),
    ],
)
def test_frozen_holds_the_ratio_constant(module, ratio):
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    composite = AttnLRP(second_order="frozen")
    with composite.context(module):
        first = torch.autograd.grad(module(x).sum(), x, create_graph=True)[0]
        with composite.second_pass():
            second = torch.autograd.grad((first * x).pow(2).sum(), x)[0]
    held = ratio(x.detach())
    torch.testing.assert_close(second, 2 * held.pow(2) * x.detach(), rtol=1e-12, atol=1e-12)


def test_frozen_keeps_the_rules_in_the_second_pass_and_exact_does_not():
    x = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    act = nn.SiLU()
    found = {}
    for order in ("exact", "frozen"):
        composite = AttnLRP(second_order=order)
        with composite.context(act):
            output = act(x)
            with composite.second_pass():
                found[order] = torch.autograd.grad(output, x)[0].item()
    ratio = torch.sigmoid(x).item()
    assert found["frozen"] == pytest.approx(ratio, rel=1e-12)
    assert found["exact"] == pytest.approx(ratio * (1 + 0.8 * (1 - ratio)), rel=1e-12)
