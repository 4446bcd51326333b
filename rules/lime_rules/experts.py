"""Mixtures of experts with relevance rules, through transformers' own experts interface.

The output ``y = sum_k w_k E_k(x)`` has routing weights ``w`` and experts ``E(x) = down(act(gate(x)) * up(x))``.
AttnLRP and CP-LRP hold the routing fixed here, as they hold the scale of a normalisation fixed, so that experts carry
all relevance; inside an expert the rules of the gated MLP apply. ``lime_rules.stream.experts`` is the forward mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from .gradients import Switch, scale_gradient

EXPERTS_IMPLEMENTATION = "lime"
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
    """What the experts function reads in a backward pass: the ratios, and whether rules are active."""

    ratios: ExpertRatios
    switch: Switch


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds experts of transformers' interface: stacked weights of gate, factor and down projection.

    Experts with another gate (``_apply_gate``) are none: there is no rule for them.
    """
    shapes = {name: parameter.dim() for name, parameter in module.named_parameters(recurse=False)}
    gate = getattr(type(module), "_apply_gate", None)
    plain = gate is not None and gate.__module__ == "transformers.integrations.moe"
    stacked = shapes.get("gate_up_proj") == shapes.get("down_proj") == 3
    return plain and stacked and hasattr(module, "act_fn") and not getattr(module, "has_post_expert_norm", False)


def expert_linear(module: Any, name: str, index: int, x: Tensor, bias: bool = True) -> Tensor:
    """Return ``x @ W^T + b`` for one projection of expert ``index``; ``x`` is ``[..., d_in]``."""
    weight = getattr(module, name)[index]
    weight = weight.transpose(0, 1) if getattr(module, "is_transposed", False) else weight
    offset = getattr(module, f"{name}_bias")[index] if bias and getattr(module, "has_bias", False) else None
    return nn.functional.linear(x, weight, offset)


def gate_and_factor(module: Any, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return gate and factor."""
    if getattr(module, "is_concatenated", True):
        gate, factor = both.chunk(2, -1)
        return gate, factor
    return both[..., ::2], both[..., 1::2]


def chosen_experts(module: Any, index: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """Return, for each expert with a token, its number, its tokens and the column of each token's choices."""
    found = []
    for expert in torch.unique(index).tolist():
        if expert < module.num_experts:
            tokens, places = (index == expert).nonzero(as_tuple=True)
            found.append((expert, tokens, places))
    return found


def own_experts(module: Any, *args: Tensor) -> Tensor:
    """Run experts that have no rule by their own forward method."""
    output: Tensor = type(module).forward.__wrapped__(module, *args)
    return output


def experts_with_rules(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Mix experts with the rules of ``ExpertRatios`` on the gradient.

    Parameters
    ----------
    module : nn.Module
        Holds the experts; its config holds the state.
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
    for expert, tokens, places in chosen_experts(module, top_k_index):
        gate, factor = gate_and_factor(module, expert_linear(module, "gate_up_proj", expert, hidden_states[tokens]))
        product = scale_gradient(module.act_fn(gate) * factor, state.ratios.product, state.switch)
        made = expert_linear(module, "down_proj", expert, product) * weights[tokens, places, None]
        output = output.index_add(0, tokens, made.to(output.dtype))
    return output


ALL_EXPERTS_FUNCTIONS.register(EXPERTS_IMPLEMENTATION, experts_with_rules)
