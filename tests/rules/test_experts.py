"""Mixtures of experts: the rules against an oracle that goes token by token, and both directions."""

import pytest
import torch
from support.rule_oracles import GATED, oracle_for
from torch import nn
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from lime_rules import LRP_METHODS, audit_decoder, structure
from lime_rules.experts import is_experts
from lime_rules.stream.engine import Stream
from lime_rules.structure import roles

ROUTING = {"attnlrp": lambda w: w.detach(), "cplrp": lambda w: w.detach(), "gradient_input": lambda w: w}


@pytest.fixture
def mixture(float64_norms):
    """One sparse block of a real model, in float64, and the whole decoder."""
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=40,
        hidden_size=8,
        intermediate_size=12,
        moe_intermediate_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        num_experts=4,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        experts_implementation="eager",
    )
    model = Qwen3MoeForCausalLM(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.5) if parameter.dim() > 1 else parameter.uniform_(0.5, 1.5)
    return float64_norms(model).model


def by_hand(block, x, method):
    """The block one token and one expert at a time, with the gradient that the rules ask for."""
    experts, gated = block.experts, oracle_for(GATED, method, "LRP_METHODS")
    rows = []
    for token in x[0]:
        _, weights, chosen = block.gate(token[None])
        total = 0.0
        for weight, expert in zip(ROUTING[method](weights[0]), chosen[0].tolist(), strict=True):
            gate, up = (experts.gate_up_proj[expert] @ token).chunk(2)
            total = total + weight * (experts.down_proj[expert] @ gated(gate, up, nn.functional.silu))
        rows.append(total)
    return torch.stack(rows)[None]


@pytest.mark.parametrize("method", LRP_METHODS)
def test_experts_get_the_rules_of_a_gated_mlp(mixture, method):
    block = mixture.layers[0].mlp
    x = torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True)
    upper = torch.randn(1, 5, 8, dtype=torch.float64)
    plain = block(x)
    with LRP_METHODS[method]().context(mixture):
        output = block(x)
        found = torch.autograd.grad(output, x, upper)[0]
    expected = by_hand(block, x, method)
    torch.testing.assert_close(output, plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, torch.autograd.grad(expected, x, upper)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["attnlrp", "cplrp"])
@pytest.mark.parametrize("layout", ["concatenated", "interleaved", "transposed", "biased"])
def test_both_directions_are_adjoint(mixture, method, layout):
    for layer in mixture.layers:
        experts = layer.mlp.experts
        if layout == "interleaved":
            experts.is_concatenated = False
        elif layout == "transposed":
            experts.is_transposed = True
            for name in ("gate_up_proj", "down_proj"):
                setattr(experts, name, nn.Parameter(getattr(experts, name).transpose(1, 2).contiguous(), False))
        elif layout == "biased":
            experts.has_bias = True
            experts.gate_up_proj_bias = nn.Parameter(torch.randn(4, 12, dtype=torch.float64), False)
            experts.down_proj_bias = nn.Parameter(torch.randn(4, 8, dtype=torch.float64), False)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    tangents = torch.randn(2, 2, 3, 8, dtype=torch.float64)
    composite = LRP_METHODS[method]()
    stream = Stream(mixture, composite=composite)
    with torch.no_grad(), stream.attached(), stream.running(tangents=2):
        wide = mixture(inputs_embeds=torch.cat([x, *tangents]), use_cache=False).last_hidden_state
        primal, images = stream.split(wide)
    upper = torch.randn_like(primal)
    with composite.context(mixture):
        leaf = x.clone().requires_grad_()
        output = mixture(inputs_embeds=leaf, use_cache=False).last_hidden_state
        pulled = torch.autograd.grad(output, leaf, upper)[0]
    torch.testing.assert_close(primal, output.detach(), rtol=1e-10, atol=1e-10)
    for image, tangent in zip(images, tangents, strict=True):
        torch.testing.assert_close((upper * image).sum(), (pulled * tangent).sum(), rtol=1e-10, atol=1e-10)


def test_a_mixture_is_covered_and_left_as_it_was(mixture):
    assert not audit_decoder(mixture).uncovered
    kinds = {role.kind for role in roles(mixture).values()}
    assert {"experts", "router", "gate"} <= kinds
    before = [vars(module).get("config") for module in mixture.modules()]
    with LRP_METHODS["attnlrp"]().context(mixture):
        assert mixture.layers[0].mlp.experts.config._experts_implementation == "lime"
    assert [vars(module).get("config") for module in mixture.modules()] == before
    assert mixture.layers[0].mlp.experts.config._experts_implementation == "eager"


def test_routing_has_no_forward_rule_where_it_is_differentiated(mixture):
    with pytest.raises(NotImplementedError, match="routing weights"):
        Stream(mixture, composite=LRP_METHODS["gradient_input"]())


def test_experts_with_a_gate_of_their_own_are_not_taken_for_known_ones(mixture):
    experts = mixture.layers[0].mlp.experts
    assert is_experts(experts)
    assert not is_experts(mixture.layers[0].mlp)

    class Clamped(type(experts)):
        def _apply_gate(self, both):
            gate, up = both.chunk(2, -1)
            return torch.sigmoid(gate) * up

    experts.__class__ = Clamped
    assert not is_experts(experts)
    x = torch.randn(1, 3, 8, dtype=torch.float64)
    plain = mixture(inputs_embeds=x, use_cache=False).last_hidden_state
    with LRP_METHODS["attnlrp"]().context(mixture):
        ruled = mixture(inputs_embeds=x, use_cache=False).last_hidden_state
    torch.testing.assert_close(ruled, plain)
    structure._ROLES.pop(mixture)  # asked before the class was exchanged
    with pytest.raises(NotImplementedError, match=r"layers\.0\.mlp\.experts"):
        Stream(mixture)
