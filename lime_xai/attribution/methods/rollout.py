"""Attention multiplied through the layers, as it is or times its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem

from .attention import assembled, attention_kept, by_layer, read_at
from .base import RowMethod, columns, differentiable_inputs
from .registry import register_method


@register_method
@dataclass(frozen=True)
class AttentionRollout(RowMethod):
    r"""Attention rollout (Abnar and Zuidema 2020).

    .. math:: R = \hat A_L \cdots \hat A_1, \qquad \hat A_l = \tfrac{1}{2} (\text{mean}_h A_{lh} + I)

    Relevance for a token is the row of ``R`` of the position that it is read from. It sums to one, is never negative
    and does not depend on which token is explained: ``Attribution.residual`` means nothing. ``column=None``: the sum
    over tokens.
    """

    limit: ClassVar[int | None] = None
    name: ClassVar[str] = "attention_rollout"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return 1."""
        return 1

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float32.

        Raises
        ------
        NotImplementedError
            If some layers have no attention weights.
        """
        with torch.no_grad(), attention_kept(problem, lambda weights: weights[0].float().mean(0)) as found:
            problem.logits(*problem.inputs)
        matrices = [assembled(problem, parts) for parts in by_layer(problem, found)]
        total = torch.zeros(len(problem.input_ids), dtype=torch.float32, device=problem.input_ids.device)
        for index in columns(problem, column):
            row = read_at(problem, index)
            for matrix in reversed(matrices):
                row = 0.5 * (row + row @ matrix)
            total = total + row
        return total


@register_method
@dataclass(frozen=True)
class GradientAttentionRollout(RowMethod):
    r"""Attention times its gradient, rolled out (after Chefer et al., ICCV 2021, for self-attention).

    .. math:: R \leftarrow R + \bar A_l R, \qquad \bar A_l = \text{mean}_h \max(0, \nabla_{A_{lh}} z \odot A_{lh})

    from ``R = I`` over the layers in order. Relevance for a token is the row of ``R - I`` of the position that it is
    read from; ``z`` is its value. Never negative and on no scale of the logit: ``Attribution.residual`` means nothing.
    ``column=None``: the sum over tokens, one backward pass each.
    """

    limit: ClassVar[int | None] = None
    name: ClassVar[str] = "gradient_attention_rollout"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return 1."""
        return 1

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float32.

        Raises
        ------
        NotImplementedError
            If some layers have no attention weights.
        """
        inputs = differentiable_inputs(problem)  # leaves, so that weights are part of a graph
        with torch.enable_grad(), attention_kept(problem, lambda weights: weights) as found:
            values = problem.values(*inputs)[0]
            layers = by_layer(problem, found)
            total = torch.zeros(len(problem.input_ids), dtype=torch.float32, device=problem.input_ids.device)
            for index in columns(problem, column):
                total = total + _row(problem, layers, values[index], index)
        return total


def _row(problem: Problem, layers: Sequence[Sequence[Tensor]], value: Tensor, index: int) -> Tensor:
    """Return the relevance ``[T]`` of one explained token."""
    flat = [part for parts in layers for part in parts]
    gradients = iter(torch.autograd.grad(value, flat, retain_graph=True, allow_unused=True))
    matrices = []
    for parts in layers:
        products = [
            torch.zeros_like(part[0, 0]) if gradient is None else (gradient * part)[0].clamp(min=0).mean(0)
            for part, gradient in ((part, next(gradients)) for part in parts)
        ]
        matrices.append(assembled(problem, [product.detach().float() for product in products]))
    start = read_at(problem, index)
    row = start
    for matrix in reversed(matrices):
        row = row + row @ matrix
    return row - start
