"""Every rule in forward direction is adjoint to the same rule on gradients."""

import pytest
import torch
from support.rule_oracles import ACTIVATION_MODULES, NORM_MODULES, oracle_for
from torch import nn

from lime_rules import LRP_METHODS, ActivationRule, AttnLRP, BlockRule, NormRule, ProductRule
from lime_rules.attention import AttentionRule, attention_with_rules
from lime_rules.ratios import ACTIVATION_RATIOS, NORM_RATIOS
from lime_rules.stream.attention import STREAM_ATTRIBUTE, attention_stream
from lime_rules.stream.engine import Stream
from lime_rules.stream.tangents import DirectTangents, FullTangents

GROUPS = 2


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def check_adjoint(output, leaves, tangents, images):
    """<u, J t> = <J^T u, t> for a random u, one group after the other."""
    upper = torch.randn_like(output)
    pulled = torch.autograd.grad(output, leaves, upper, allow_unused=True)
    for group, image in enumerate(images):
        expected = sum((p * t[group]).sum() for p, t in zip(pulled, tangents, strict=True) if p is not None)
        torch.testing.assert_close((upper * image).sum(), torch.as_tensor(expected).double(), rtol=1e-10, atol=1e-12)


def check_rule(rule, module, x):
    leaf = x.clone().requires_grad_()
    handles = rule.register(module)
    output = module(leaf)
    tangents = draw(GROUPS, *x.shape)
    check_adjoint(output, [leaf], [tangents], rule.jvp(module, x, tangents))
    handles.remove()


@pytest.mark.parametrize("kind", ACTIVATION_RATIOS)
def test_activation_is_adjoint(kind):
    module = oracle_for(ACTIVATION_MODULES, kind, "ACTIVATION_RATIOS")()
    check_rule(ActivationRule(kind), module, torch.cat([draw(3, 4), torch.zeros(3, 1, dtype=torch.float64)], 1))


@pytest.mark.parametrize("kind", NORM_RATIOS)
def test_norm_is_adjoint(kind):
    check_rule(NormRule(kind), oracle_for(NORM_MODULES, kind, "NORM_RATIOS")(6), draw(3, 2, 6))


def test_blocked_gate_is_adjoint():
    check_rule(BlockRule(), nn.SiLU(), draw(3, 4))


def test_a_rule_without_forward_direction_says_so():
    with pytest.raises(NotImplementedError, match="ProductRule has no JVP"):
        ProductRule().jvp(nn.Identity(), draw(1), draw(1, 1))


class Fused(nn.Module):
    """A gated MLP whose gate and factor come from one projection."""

    def __init__(self, place):
        super().__init__()
        self.place = place
        self.gate_up_proj, self.down_proj = nn.Linear(5, 12), nn.Linear(6, 5)
        self.act_fn = nn.GELU()
        self.double()

    def forward(self, x):
        y = self.gate_up_proj(x)
        gate, up = {
            "first": lambda: y.chunk(2, -1),
            "last": lambda: y.chunk(2, -1)[::-1],
            "even": lambda: (y[..., ::2], y[..., 1::2]),
            "odd": lambda: (y[..., 1::2], y[..., ::2]),
            "reversed": lambda: (y.flip(-1)[..., :6], y[..., :6]),
        }[self.place]()
        return self.down_proj(self.act_fn(gate) * up)


def stream_of(module, method, x, tangents):
    stream = Stream(module, composite=LRP_METHODS[method]())
    with torch.no_grad(), stream.attached(), stream.running(tangents=len(tangents)):
        return stream.split(module(torch.cat([x, *tangents])))


def check_module(module, method, x):
    leaf = x.clone().requires_grad_()
    tangents = draw(GROUPS, *x.shape)
    primal, images = stream_of(module, method, x, tangents)
    with LRP_METHODS[method]().context(module):
        output = module(leaf)
        torch.testing.assert_close(primal, output.detach())
        check_adjoint(output, [leaf], [tangents], images)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("place", ["first", "last", "even", "odd"])
def test_fused_gate_is_adjoint(method, place):
    check_module(Fused(place), method, draw(3, 2, 5))


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("bias", [False, True])
def test_gated_mlp_is_adjoint(gated_mlp, method, bias):
    check_module(gated_mlp(bias=bias), method, draw(3, 2, 6))


@pytest.mark.parametrize("method", LRP_METHODS)
def test_a_chain_of_modules_is_adjoint(toy, method):
    check_module(toy, method, draw(4, 5))


def test_an_unknown_place_of_the_gate_is_named():
    with pytest.raises(NotImplementedError, match="Fused joins gate and factor in gate_up_proj in none"):
        check_module(Fused("reversed"), "attnlrp", draw(1, 1, 5))


class Adapted(nn.Module):
    """A linear layer wrapped as LoRA does it: no weight of its own, the bias inside."""

    def __init__(self):
        super().__init__()
        self.in_features, self.out_features = 5, 5
        self.base_layer = nn.Linear(5, 5)
        self.down, self.up = nn.Linear(5, 2, bias=False), nn.Linear(2, 5, bias=False)
        self.double()

    def forward(self, x):
        return self.base_layer(x) + 2 * self.up(self.down(x))


def test_a_wrapped_linear_layer_keeps_its_forward():
    check_module(nn.Sequential(Adapted(), nn.SiLU(), Adapted()), "attnlrp", draw(3, 2, 5))


def test_modules_without_a_forward_rule_are_named():
    from zennit.rules import Epsilon

    module = nn.Sequential(nn.Linear(5, 5), nn.Softmax(-1), nn.Conv1d(5, 5, 1))
    with pytest.raises(NotImplementedError, match=r"1 \(Softmax.*2 \(Conv1d.*backward"):
        Stream(module)
    zennit = AttnLRP(layer_map=[(nn.Linear, Epsilon())])
    with pytest.raises(NotImplementedError, match=r"0 \(GradientForm\)"):
        Stream(nn.Sequential(nn.Linear(5, 5)), composite=zennit)


def test_a_rule_on_a_linear_layer_is_pushed_too(gated_mlp):
    module = nn.Sequential(nn.Linear(6, 6), gated_mlp(bias=True)).double()
    composite = AttnLRP(layer_map=[(nn.Sequential, NormRule()), (nn.Linear, BlockRule())])
    stream = Stream(module[0], composite=AttnLRP(layer_map=[(nn.Linear, BlockRule())]))
    with torch.no_grad(), stream.attached(), stream.running(tangents=1):
        assert not stream.split(module[0](draw(2, 6)))[1].any()
    assert composite.rules(module)["0"].__class__ is BlockRule


def test_a_large_bias_does_not_take_the_tangent_with_it():
    linear = nn.Linear(64, 64).bfloat16()
    with torch.no_grad():
        linear.bias.fill_(100)
    tangent = 0.1 * torch.randn(1, 3, 64).bfloat16()
    stream = Stream(nn.Sequential(linear))
    with torch.no_grad(), stream.attached(), stream.running(tangents=1):
        wide = stream.decoder(torch.cat([torch.randn(1, 3, 64).bfloat16(), tangent]))
    expected = nn.functional.linear(tangent.double(), linear.weight.double())
    assert (wide[1:].double() - expected).norm() < 0.02 * expected.norm()


class Packed(nn.Module):
    """A quantised layer: buffers and nothing else."""

    def __init__(self):
        super().__init__()
        self.in_features, self.out_features = 4, 4
        self.register_buffer("packed", torch.randint(-8, 8, (4, 4), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(4, 1, dtype=torch.float64))
        self.register_buffer("bias", torch.randn(4, dtype=torch.float64))

    def forward(self, x):
        return x @ (self.packed * self.scale).T + self.bias


def test_a_quantised_linear_layer_is_linear_but_for_its_bias():
    check_module(nn.Sequential(Packed(), nn.SiLU(), Packed()), "attnlrp", draw(3, 2, 4))


def test_a_flow_needs_its_hooks():
    stream = Stream(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="not attached"), stream.running():
        pass


class RunningStream:
    """What the attention function sees of a stream, and of a module."""

    def __init__(self, method, tangents):
        self.tangents, self.ratios, self.given = GROUPS, LRP_METHODS[method].attention_ratios, tangents
        self.config, self.is_causal = self, True
        setattr(self, STREAM_ATTRIBUTE, self)
        self._lime_attention_rule = AttentionRule(self.ratios)

    def kv_tangents(self, module, key, value):
        return key, value, self.given


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("masked", ["none", "per row", "per head", "boolean"])
@pytest.mark.parametrize("fresh", [1, 3])
@pytest.mark.parametrize("form", ["direct", "full"])
def test_attention_is_adjoint(method, softcap, masked, fresh, form):
    rows, heads, shared, length, width = 2, 4, 2, 7, 3
    query = draw(rows, heads, fresh, width)
    keys, values = draw(rows, shared, length, width), draw(rows, shared, length, width)
    mask = {
        "none": None,
        "per row": torch.zeros(rows, 1, fresh, length).masked_fill(torch.rand(rows, 1, fresh, length) < 0.3, -1e9),
        "per head": torch.zeros(rows, heads, fresh, length).masked_fill(
            torch.rand(rows, heads, fresh, length) < 0.3, -1e9
        ),
        "boolean": torch.rand(rows, 1, fresh, length) < 0.7,
    }[masked]
    moved = draw(GROUPS, *query.shape)
    key_tangents, value_tangents = draw(GROUPS, *keys.shape), draw(GROUPS, *values.shape)
    inner = (1, 2, 0, 3, 4)
    if form == "direct":
        members = torch.rand(rows, GROUPS, length) < 0.5
        members[..., -fresh:] = False
        part = members.double().transpose(0, 1)[:, :, None, :, None]
        for tangents, states in ((key_tangents, keys), (value_tangents, values)):
            tangents[..., :-fresh, :] = (part * states)[..., :-fresh, :]
        newest = [t[..., -fresh:, :].permute(inner) for t in (key_tangents, value_tangents)]
        stream = RunningStream(method, DirectTangents(members.double(), *newest))
    else:
        stream = RunningStream(method, FullTangents(key_tangents.permute(inner), value_tangents.permute(inner)))
    wide = torch.cat([query, moved.flatten(0, 1)])
    found, _ = attention_stream(stream, wide, keys, values, mask, softcap=softcap)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, keys, values)]
    output, _ = attention_with_rules(stream, *leaves, mask, softcap=softcap)
    torch.testing.assert_close(found[:rows], output.detach(), rtol=1e-12, atol=1e-12)
    images = found[rows:].unflatten(0, (GROUPS, rows))
    check_adjoint(output, leaves, [moved, key_tangents, value_tangents], images)


def test_long_prompts_are_attended_in_chunks(monkeypatch):
    from lime_rules.stream import attention as stream_attention

    def attend():
        torch.manual_seed(3)
        tangents = FullTangents(draw(1, 2, GROUPS, 9, 3), draw(1, 2, GROUPS, 9, 3))
        wide = draw(1 + GROUPS, 4, 9, 3)
        return attention_stream(RunningStream("attnlrp", tangents), wide, draw(1, 2, 9, 3), draw(1, 2, 9, 3), None)[0]

    whole = attend()
    monkeypatch.setattr(stream_attention, "QUERY_CHUNK", 4)
    torch.testing.assert_close(attend(), whole, rtol=1e-12, atol=1e-12)


def test_attention_sinks_are_refused():
    stream = RunningStream("attnlrp", None)
    with pytest.raises(NotImplementedError, match="attention sinks"):
        attention_stream(stream, draw(3, 1, 1, 2), draw(1, 1, 1, 2), draw(1, 1, 1, 2), None, s_aux=draw(1))
