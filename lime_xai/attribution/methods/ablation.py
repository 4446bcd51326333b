"""What is lost when a group, or a window of groups, is replaced, through Captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.values.checking import Count

from .perturbation import Perturbation
from .registry import register_method


@register_method
@dataclass(frozen=True)
class FeatureAblation(Perturbation):
    r"""What the explained value loses without a group (Zeiler and Fergus 2014).

    .. math:: r_g = z(e) - z(e \text{ without } g)

    ``Attribution.residual`` says how far groups are from acting independently, and from a prompt whose value is zero
    without them.
    """

    name: ClassVar[str] = "feature_ablation"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return one row per group and one for the prompt as it is."""
        return len(groups) + 1

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups."""
        from captum.attr import FeatureAblation as Captum

        function, switches = self.function(problem, groups, column)
        with torch.no_grad():
            found = Captum(function).attribute(switches, perturbations_per_eval=self.rows_per_pass)
        return groups.spread(found[0])


@register_method
@dataclass(frozen=True)
class Occlusion(Perturbation):
    r"""What the explained value loses without a window of consecutive groups (Zeiler and Fergus 2014).

    Windows slide over groups in their order, image cells row by row; a group gets the mean loss of the windows that
    hold it. ``Attribution.residual`` grows with the window and means little.

    Parameters
    ----------
    window : int
        Groups per window; at most all of them are used. 1 is feature ablation.
    stride : int
        Groups from one window to the next.
    """

    window: Count = 3
    stride: Count = 1
    name: ClassVar[str] = "occlusion"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.window:
            raise ValueError(
                f"stride is {self.stride}, window {self.window}: groups between windows would get nothing."
            )

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return one row per window and one for the prompt as it is."""
        return -(-(len(groups) - min(self.window, len(groups))) // self.stride) + 2

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups."""
        from captum.attr import Occlusion as Captum

        function, switches = self.function(problem, groups, column)
        window = min(self.window, len(groups))
        with torch.no_grad():
            found = Captum(function).attribute(
                switches,
                sliding_window_shapes=(window,),
                strides=(min(self.stride, window),),
                perturbations_per_eval=self.rows_per_pass,
            )
        return groups.spread(found[0])
