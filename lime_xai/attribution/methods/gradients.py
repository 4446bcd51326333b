"""The gradient itself, and the gradient times the input, through Captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem

from .base import RowMethod, differentiable_inputs, explained, per_position
from .registry import register_method


@dataclass(frozen=True)
class _Gradient(RowMethod):
    """One forward and one backward pass over every position; groups play no part."""

    limit: ClassVar[int | None] = None

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return 1."""
        return 1


@register_method
@dataclass(frozen=True)
class Saliency(_Gradient):
    r"""Sum of absolute gradients, :math:`\sum_c |\partial z / \partial e_{ic}|` (Simonyan et al. 2014).

    Never negative and on another scale than the logit: ``Attribution.residual`` means nothing. With ``column=None`` it
    is the gradient of the sum of all explained tokens.
    """

    name: ClassVar[str] = "saliency"

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float."""
        from captum.attr import Saliency as Captum

        with torch.enable_grad():
            found = Captum(explained(problem, column)).attribute(differentiable_inputs(problem), abs=True)
        return per_position(problem, found)


@register_method
@dataclass(frozen=True)
class InputXGradient(_Gradient):
    r"""Input times gradient, :math:`\sum_c e_{ic} \, \partial z / \partial e_{ic}` (Shrikumar et al. 2016).

    The numbers of LRP's control ``gradient_input``, computed by Captum. ``Attribution.residual`` says how far the model
    is from a linear one without bias.
    """

    name: ClassVar[str] = "input_x_gradient"

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float."""
        from captum.attr import InputXGradient as Captum

        with torch.enable_grad():
            found = Captum(explained(problem, column)).attribute(differentiable_inputs(problem))
        return per_position(problem, found)
