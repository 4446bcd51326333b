"""Mixtures of experts with relevance rules, through transformers' own experts interface.

The output ``y = sum_k w_k E_k(x)`` has routing weights ``w`` and experts ``E(x) = down(act(gate(x)) * up(x))``.
AttnLRP and CP-LRP hold the routing fixed here, as they hold the scale of a normalisation fixed, so that experts carry
all relevance; inside an expert the rules of the gated MLP apply. In forward direction tangents take the experts that
their primal rows chose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from .gradients import Switch, scale_gradient
from .widened import Widened

EXPERTS_IMPLEMENTATION = "lime"
STREAM_EXPERTS_IMPLEMENTATION = "lime_stream"
EXPERTS_ATTRIBUTE = "_lime_experts"


@dataclass(frozen=True)
class ExpertRatios:
    """Gradient factors on the product inside an expert and on the routing weights.

    1/2 and 0 are AttnLRP's; 1 and 0 CP-LRP's, whose gates are blocked besides; 1 and 1 the plain gradient.
    """

    product: float = 0.5
    routing: float = 0.0


@dataclass(frozen=True)
class ExpertState:
    """What the experts function asks in backward direction: the ratios, and whether rules are active."""

    ratios: ExpertRatios
    switch: Switch


class ExpertFlow(Widened, Protocol):
    """What it asks in forward direction."""

    @property
    def experts(self) -> ExpertRatios:
        """Gradient factors inside mixtures of experts."""
        ...


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds experts of transformers' interface: stacked weights of gate, factor and down projection.

    Experts that gate in a way of their own (``_apply_gate``) are none: their rules are not known.
    """
    shapes = {name: parameter.dim() for name, parameter in module.named_parameters(recurse=False)}
    gate = getattr(type(module), "_apply_gate", None)
    plain = gate is not None and gate.__module__ == "transformers.integrations.moe"
    stacked = shapes.get("gate_up_proj") == shapes.get("down_proj") == 3
    return plain and stacked and hasattr(module, "act_fn") and not getattr(module, "has_post_expert_norm", False)


def _linear(module: Any, name: str, index: int, x: Tensor, bias: bool = True) -> Tensor:
    weight = getattr(module, name)[index]
    weight = weight.transpose(0, 1) if getattr(module, "is_transposed", False) else weight
    offset = getattr(module, f"{name}_bias")[index] if bias and getattr(module, "has_bias", False) else None
    return nn.functional.linear(x, weight, offset)


def _both(module: Any, name: str, index: int, primal: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Apply one linear map to primal rows ``[m, d]`` and tangents ``[G, m, d]``; its weight is read once."""
    joined = _linear(module, name, index, torch.cat([primal[None], tangent]), bias=False)
    offset = getattr(module, f"{name}_bias")[index] if getattr(module, "has_bias", False) else 0.0
    return joined[0] + offset, joined[1:]


def _halves(module: Any, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return gate and factor."""
    if getattr(module, "is_concatenated", True):
        gate, factor = both.chunk(2, -1)
        return gate, factor
    return both[..., ::2], both[..., 1::2]


def _chosen(module: Any, index: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """Return, for each expert that somebody chose, its number, the tokens and the places among their choices."""
    found = []
    for expert in torch.unique(index).tolist():
        if expert < module.num_experts:
            tokens, places = (index == expert).nonzero(as_tuple=True)
            found.append((expert, tokens, places))
    return found


def own_experts(module: Any, *args: Tensor) -> Tensor:
    """Run experts that no rule knows as they are written."""
    output: Tensor = type(module).forward.__wrapped__(module, *args)
    return output


def experts_with_rules(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Mix experts with the rules of ``ExpertRatios`` on the gradient.

    Parameters
    ----------
    module : nn.Module
        Holds the experts; its config names the state.
    hidden_states : Tensor
        ``[N, d]``.
    top_k_index, top_k_weights : Tensor
        ``[N, K]``.

    Returns
    -------
    Tensor
        ``[N, d]``.
    """
    if not is_experts(module):
        return own_experts(module, hidden_states, top_k_index, top_k_weights)
    state: ExpertState = getattr(module.config, EXPERTS_ATTRIBUTE)
    weights = scale_gradient(top_k_weights, state.ratios.routing, state.switch)
    output = torch.zeros_like(hidden_states)
    for expert, tokens, places in _chosen(module, top_k_index):
        gate, factor = _halves(module, _linear(module, "gate_up_proj", expert, hidden_states[tokens]))
        product = scale_gradient(module.act_fn(gate) * factor, state.ratios.product, state.switch)
        made = _linear(module, "down_proj", expert, product) * weights[tokens, places, None]
        output = output.index_add(0, tokens, made.to(output.dtype))
    return output


def experts_stream(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Mix experts for primal rows and, with the same choice and weights, for their tangents.

    Parameters
    ----------
    module : nn.Module
        Holds the experts; its config names the stream.
    hidden_states : Tensor
        ``[(1 + G) * N, d]``, primal rows first.
    top_k_index, top_k_weights : Tensor
        ``[(1 + G) * N, K]``; those of tangents mean nothing.

    Returns
    -------
    Tensor
        ``[(1 + G) * N, d]``.
    """
    if not is_experts(module):
        raise NotImplementedError(f"{type(module).__name__} has experts that no forward rule knows.")
    flow: ExpertFlow = getattr(module.config, EXPERTS_ATTRIBUTE)
    primal, tangent = flow.split(hidden_states)
    index, weights = flow.split(top_k_index)[0], flow.split(top_k_weights)[0]
    output, moved = torch.zeros_like(primal), torch.zeros_like(tangent)
    for expert, tokens, places in _chosen(module, index):
        both, pushed = _both(module, "gate_up_proj", expert, primal[tokens], tangent[:, tokens])
        (gate, factor), (gate_tangent, factor_tangent) = _halves(module, both), _halves(module, pushed)
        activated, activated_tangent = flow.split(module.act_fn(flow.join(gate, gate_tangent)))
        product = flow.experts.product * (activated_tangent * factor + activated * factor_tangent)
        weight = weights[tokens, places, None]
        made, made_tangent = _both(module, "down_proj", expert, activated * factor, product)
        output = output.index_add(0, tokens, (made * weight).to(output.dtype))
        moved = moved.index_add(1, tokens, (made_tangent * weight).to(moved.dtype))
    return flow.join(output, moved)


ALL_EXPERTS_FUNCTIONS.register(EXPERTS_IMPLEMENTATION, experts_with_rules)
ALL_EXPERTS_FUNCTIONS.register(STREAM_EXPERTS_IMPLEMENTATION, experts_stream)
