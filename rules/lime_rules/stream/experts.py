"""Mixtures of experts in forward mode: tangents pass through the experts that their primal rows chose."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from lime_rules.experts import (
    EXPERTS_ATTRIBUTE,
    ExpertRatios,
    chosen_experts,
    expert_linear,
    gate_and_factor,
    is_experts,
)

from .batch import TangentBatch

STREAM_EXPERTS_IMPLEMENTATION = "lime_stream"
"""Name of the experts function in transformers' registry."""


class ExpertStream(TangentBatch, Protocol):
    """What the experts function reads of the stream that runs."""

    @property
    def experts(self) -> ExpertRatios:
        """Gradient factors inside mixtures of experts."""
        ...


def _both(module: Any, name: str, index: int, primal: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Apply one linear map to primal rows ``[m, d]`` and tangents ``[G, m, d]``; its weight is read once."""
    joined = expert_linear(module, name, index, torch.cat([primal[None], tangent]), bias=False)
    offset = getattr(module, f"{name}_bias")[index] if getattr(module, "has_bias", False) else 0.0
    return joined[0] + offset, joined[1:]


def experts_stream(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Mix experts for primal rows and, with the same choice and weights, for their tangents.

    Parameters
    ----------
    module : nn.Module
        Holds the experts; its config holds the stream.
    hidden_states : Tensor
        ``[(1 + G) * N, d]``, primal rows first.
    top_k_index, top_k_weights : Tensor
        ``[(1 + G) * N, K]``; the rows of tangents are not used.

    Returns
    -------
    Tensor
        ``[(1 + G) * N, d]``.
    """
    if not is_experts(module):
        raise NotImplementedError(f"{type(module).__name__} has experts without a JVP.")
    stream: ExpertStream = getattr(module.config, EXPERTS_ATTRIBUTE)
    primal, tangent = stream.split(hidden_states)
    index, weights = stream.split(top_k_index)[0], stream.split(top_k_weights)[0]
    output, moved = torch.zeros_like(primal), torch.zeros_like(tangent)
    for expert, tokens, places in chosen_experts(module, index):
        both, moved_both = _both(module, "gate_up_proj", expert, primal[tokens], tangent[:, tokens])
        (gate, factor), (gate_tangent, factor_tangent) = (
            gate_and_factor(module, both),
            gate_and_factor(module, moved_both),
        )
        activated, activated_tangent = stream.split(module.act_fn(stream.join(gate, gate_tangent)))
        product = stream.experts.product * (activated_tangent * factor + activated * factor_tangent)
        weight = weights[tokens, places, None]
        made, made_tangent = _both(module, "down_proj", expert, activated * factor, product)
        output = output.index_add(0, tokens, (made * weight).to(output.dtype))
        moved = moved.index_add(1, tokens, (made_tangent * weight).to(moved.dtype))
    return stream.join(output, moved)


ALL_EXPERTS_FUNCTIONS.register(STREAM_EXPERTS_IMPLEMENTATION, experts_stream)
