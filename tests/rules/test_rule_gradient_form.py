"""Zennit's own rules inside a gradient x input composite."""

import pytest
import torch
from support.rule_oracles import gamma_relevance
from torch import nn
from zennit.rules import Epsilon, Gamma

from lime_rules import AttnLRP, GradientForm, GradientInput


def test_epsilon_without_epsilon_is_the_plain_gradient_of_a_linear_layer():
    linear = nn.Linear(4, 3).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    with GradientInput(layer_map=[(nn.Linear, Epsilon(1e-14))]).context(linear):
        found = torch.autograd.grad(linear(x).pow(2).sum(), x)[0]
    torch.testing.assert_close(found, 2 * linear(x) @ linear.weight, rtol=1e-9, atol=1e-12)


def test_epsilon_without_epsilon_changes_nothing_in_a_whole_decoder(llama64, gradient):
    with AttnLRP().context(llama64.get_decoder()):
        own = gradient(llama64)
    with AttnLRP(layer_map=[(nn.Linear, Epsilon(1e-14))]).context(llama64.get_decoder()):
        found = gradient(llama64)
    torch.testing.assert_close(found, own, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("bias", [False, True])
def test_gamma_equals_the_oracle(bias):
    linear = nn.Linear(5, 4, bias=bias).double()
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    with AttnLRP(layer_map=[(nn.Linear, Gamma(0.4, stabilizer=1e-14))]).context(linear):
        output = linear(x)
        grad = torch.randn_like(output)
        found = x * torch.autograd.grad(output, x, grad)[0]
    offsets = linear.bias.tolist() if bias else [0.0] * 4
    rows = zip(x.tolist(), (output * grad).tolist(), strict=True)
    expected = [gamma_relevance(linear.weight.tolist(), offsets, *row, 0.4) for row in rows]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "share"), [("self_attn.o_proj", 1.0), ("mlp.down_proj", 0.5)])
def test_gamma_in_a_whole_decoder_keeps_the_rule_of_the_product(name, share, llama64):
    linear = llama64.model.layers[1].get_submodule(name)
    seen = {}
    first = linear.register_forward_pre_hook(lambda module, args: seen.update(input=args[0]))
    embeddings = torch.randn(1, 4, 16, dtype=torch.float64, requires_grad=True)
    with AttnLRP(layer_map=[(nn.Linear, Gamma(stabilizer=1e-14))]).context(llama64.get_decoder()):
        last = linear.register_forward_hook(lambda module, args, output: seen.update(output=output))
        logit = llama64(inputs_embeds=embeddings, use_cache=False).logits[0, -1, 9]
        below, above = torch.autograd.grad(logit, (seen["input"], seen["output"]))
    first.remove()
    last.remove()
    relevance = (seen["output"] * above)[0, -1].tolist()
    expected = gamma_relevance(
        linear.weight.tolist(), [0.0] * len(relevance), seen["input"][0, -1].tolist(), relevance, 0.25
    )
    found = (seen["input"] * below)[0, -1]
    torch.testing.assert_close(found, share * torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)


def test_an_input_of_zero_gets_no_gradient_and_no_nan():
    linear = nn.Linear(3, 2).double()
    x = torch.tensor([[0.0, 1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    with AttnLRP(layer_map=[(nn.Linear, Gamma())]).context(linear):
        found = torch.autograd.grad(linear(x).sum(), x)[0]
    assert found.isfinite().all()
    assert found[0, 0] == 0
    assert found[0, 1:].all()


def test_an_input_of_zero_gives_no_nan_in_second_derivatives():
    linear = nn.Linear(3, 2).double()
    x = torch.tensor([[0.0, 1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    composite = AttnLRP(layer_map=[(nn.Linear, Epsilon(0.1))])
    with composite.context(linear):
        first = torch.autograd.grad(linear(x).sum(), x, create_graph=True)[0]
        with composite.second_pass():
            second = torch.autograd.grad((first * x).pow(2).sum(), x)[0]
    assert second.isfinite().all()
    assert second.any()


def test_switched_off_it_is_the_plain_gradient():
    linear = nn.Linear(3, 2).double()
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    composite = AttnLRP(layer_map=[(nn.Linear, Gamma(2.0))])
    with composite.context(linear):
        active = torch.autograd.grad(linear(x).sum(), x)[0]
        output = linear(x).sum()
        with composite.inactive():
            inactive = torch.autograd.grad(output, x)[0]
    assert torch.equal(inactive, torch.autograd.grad(linear(x).sum(), x)[0])
    assert not torch.allclose(active, inactive)


def test_zennits_rules_are_wrapped_and_templates_are_copied():
    rule = Gamma()
    composite = AttnLRP(layer_map=[(nn.Linear, rule)])
    form = composite.layer_map[0][1]
    assert isinstance(form, GradientForm)
    twin = form.copy()
    assert twin is not form
    assert twin.rule is not rule
    assert isinstance(twin.rule, Gamma)
