"""Naive, independent versions of every rule. Each registry of ``lime_rules`` has its twin here.

Register an oracle together with a rule: the tests run over the registries and ask ``oracle_for``.
"""

import math

import torch
from torch import nn
from transformers.activations import ACT2FN


def oracle_for(oracles, name, registry):
    assert name in oracles, f"{registry}[{name!r}] has no oracle: add an independent one to tests/rules/oracles.py."
    return oracles[name]


def half(tensor):
    """The tensor itself, its gradient halved."""
    return 0.5 * tensor + 0.5 * tensor.detach()


# activations -------------------------------------------------------------------------------------------------

SCALAR_ACTIVATIONS = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * (1 + math.erf(x / 2**0.5)) / 2,
    "gelu_tanh": lambda x: x / (1 + math.exp(-2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x * x * x))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "relu_squared": lambda x: max(x, 0.0) ** 2,
    "linear": lambda x: x,
}

ACTIVATION_MODULES = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": ACT2FN["gelu_pytorch_tanh"].__class__,
    "quick_gelu": ACT2FN["quick_gelu"].__class__,
    "relu": nn.ReLU,
    "relu_squared": ACT2FN["relu2"].__class__,
    "linear": ACT2FN["linear"].__class__,
}


# normalisations ----------------------------------------------------------------------------------------------


class Norm(nn.Module):
    """Any of the normalisations, in the input's dtype."""

    def __init__(self, size, centred, shift, bias=False, epsilon=1e-3):
        super().__init__()
        self.weight = None if shift is None else nn.Parameter(torch.randn(size, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(size, dtype=torch.float64)) if bias else None
        self.centred, self.shift, self.eps = centred, shift, epsilon

    def forward(self, x):
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        if self.weight is not None:
            x = x * (self.weight + self.shift)
        return x if self.bias is None else x + self.bias


NORM_MODULES = {
    "rms_norm": lambda size: Norm(size, centred=False, shift=0.0),
    "rms_norm_plus_one": lambda size: Norm(size, centred=False, shift=1.0),
    "rms_norm_weightless": lambda size: Norm(size, centred=False, shift=None),
    "layer_norm": lambda size: Norm(size, centred=True, shift=0.0, bias=True),
    "layer_norm_weightless": lambda size: Norm(size, centred=True, shift=None),
}


def norm_gradient(module, x, grad):
    """One vector, element by element: the scale is a constant, only the centring is differentiated."""
    size = len(x)
    mean = sum(x) / size if module.centred else 0.0
    scale = math.sqrt(sum((value - mean) ** 2 for value in x) / size + module.eps)
    gains = [1.0] * size if module.weight is None else [w + module.shift for w in module.weight.tolist()]
    direct = [g * gain / scale for g, gain in zip(grad, gains, strict=True)]
    return [d - sum(direct) / size for d in direct] if module.centred else direct


# attention ---------------------------------------------------------------------------------------------------


def _attnlrp_attention(query, key, value, probabilities):
    return half(probabilities(half(query) @ half(key).T)) @ half(value)


def _cplrp_attention(query, key, value, probabilities):
    return probabilities(query @ key.T).detach() @ value


def _plain_attention(query, key, value, probabilities):
    return probabilities(query @ key.T) @ value


ATTENTION = {"attnlrp": _attnlrp_attention, "cplrp": _cplrp_attention, "gradient_input": _plain_attention}


def attention(method, query, key, value, mask, scaling, softcap):
    """``[B, Tq, H, D]`` from ``[B, H, Tq, D]`` and ``[B, Hkv, Tk, D]``, one head at a time.

    ``mask`` is boolean ``[B, Tq, Tk]``, True where a position is seen.
    """
    one_head = oracle_for(ATTENTION, method, "LRP_METHODS")
    groups = query.shape[1] // key.shape[1]
    rows = []
    for row in range(query.shape[0]):

        def probabilities(scores, row=row):
            scores = scores * scaling
            if softcap is not None:
                scores = (scores / softcap).tanh() * softcap
            return scores.masked_fill(~mask[row], -math.inf).softmax(-1)

        heads = [
            one_head(query[row, head], key[row, head // groups], value[row, head // groups], probabilities)
            for head in range(query.shape[1])
        ]
        rows.append(torch.stack(heads, 1))
    return torch.stack(rows)


# gated products ----------------------------------------------------------------------------------------------


def _identity(x, function):
    """``function(x)`` whose gradient is ``function(x) / x``."""
    return x * (function(x) / x).detach()


GATED = {
    "attnlrp": lambda gate, up, act: half(_identity(gate, act)) * half(up),
    "cplrp": lambda gate, up, act: act(gate).detach() * up,
    "gradient_input": lambda gate, up, act: act(gate) * up,
}


def rms_norm(method, x, weight, epsilon):
    scale = (x.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt()
    return x * weight * (scale if method == "gradient_input" else scale.detach())


# a whole decoder ---------------------------------------------------------------------------------------------


def _rotated(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def llama_logits(method, model, embeddings):
    """Logits ``[1, T, V]`` of a bias-free LlamaForCausalLM, written out."""
    config, length = model.config, embeddings.shape[1]
    cos, sin = model.model.rotary_emb(embeddings, torch.arange(length)[None])
    seen = torch.ones(1, length, length, dtype=torch.bool).tril()
    product = oracle_for(GATED, method, "LRP_METHODS")
    x = embeddings
    for layer in model.model.layers:
        parts, mlp = layer.self_attn, layer.mlp
        y = rms_norm(method, x, layer.input_layernorm.weight, config.rms_norm_eps)
        query, key, value = (
            (y @ projection.weight.T).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
            for projection in (parts.q_proj, parts.k_proj, parts.v_proj)
        )
        query, key = (_rotated(states, cos, sin) for states in (query, key))
        mixed = attention(method, query, key, value, seen, config.head_dim**-0.5, None)
        x = x + mixed.flatten(2) @ parts.o_proj.weight.T
        y = rms_norm(method, x, layer.post_attention_layernorm.weight, config.rms_norm_eps)
        gate, up = y @ mlp.gate_proj.weight.T, y @ mlp.up_proj.weight.T
        x = x + product(gate, up, torch.nn.functional.silu) @ mlp.down_proj.weight.T
    return rms_norm(method, x, model.model.norm.weight, config.rms_norm_eps) @ model.lm_head.weight.T


# zennit's gamma rule -----------------------------------------------------------------------------------------


def gamma_relevance(weight, bias, x, relevance, gamma):
    """Generalised gamma rule of a linear layer for one vector, sum by sum."""

    def favoured(value, sign):
        return value + gamma * value if value * sign > 0 else value

    out = [0.0] * len(x)
    for row, offset, upper in zip(weight, bias, relevance, strict=True):
        z = sum(w * v for w, v in zip(row, x, strict=True)) + offset
        sign = 1 if z > 0 else -1  # favour what agrees with the sign of the output
        terms = [v * favoured(w, sign if v > 0 else -sign) for w, v in zip(row, x, strict=True)]
        total = sum(terms) + favoured(offset, sign)
        for index, term in enumerate(terms):
            out[index] += term / total * upper
    return out
