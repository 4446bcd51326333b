"""Gradients along the path from replaced embeddings to the real ones, through Captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import REPLACEMENTS, perturbed, replacement
from lime_xai.values.checking import Count, Known, Seed

from .base import (
    LIMIT,
    RowMethod,
    differentiable_inputs,
    explained,
    per_position,
    seeded,
)
from .registry import register_method


def start_of(problem: Problem, kind: str) -> tuple[Tensor, ...]:
    """Return the start of the path: inputs whose perturbable positions are replaced; the others have relevance 0."""
    return tuple(item.detach() for item in perturbed(problem, ~problem.perturbable[None], replacement(problem, kind)))


@register_method
@dataclass(frozen=True)
class IntegratedGradients(RowMethod):
    r"""Gradients integrated along the straight path from replaced to real embeddings (Sundararajan et al. 2017).

    .. math:: r_i = \sum_c (e_{ic} - e'_{ic}) \int_0^1 \frac{\partial z(e' + \alpha (e - e'))}{\partial e_{ic}} d\alpha

    with ``steps`` points of Gauss and Legendre. Relevance sums to the logit minus that of the prompt whose perturbable
    positions are replaced, up to the error of the integration; up to this error, ``Attribution.residual`` is therefore
    minus the logit of the replaced prompt.

    Parameters
    ----------
    steps : int
        Points, one forward and backward row each. Compare the sum with that of four times as many.
    replacement : {"mean", "blur", "zero"}
        Start of the path; zero is a bad choice, because normalisation is steep there.
    rows_per_pass : int
        Points per pass.
    limit : int or None
        Most forward rows per explained token.
    """

    steps: Count = 32
    replacement: Annotated[str, Known(REPLACEMENTS)] = "mean"
    rows_per_pass: Count = 16
    limit: Count | None = LIMIT
    name: ClassVar[str] = "integrated_gradients"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the number of points."""
        return self.steps

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero on positions that are not perturbable."""
        from captum.attr import IntegratedGradients as Captum

        with torch.enable_grad():
            found = Captum(explained(problem, column)).attribute(
                differentiable_inputs(problem),
                baselines=start_of(problem, self.replacement),
                n_steps=self.steps,
                internal_batch_size=min(self.steps, self.rows_per_pass),
            )
        return per_position(problem, found)


@register_method
@dataclass(frozen=True)
class GradientShap(RowMethod):
    r"""Gradients at random points of that path, averaged (Lundberg and Lee 2017; Erion et al. 2021).

    .. math:: r_i = \frac{1}{S} \sum_s \sum_c (e_{ic} - e'_{ic})
              \frac{\partial z(e' + \alpha_s (e - e'))}{\partial e_{ic}}, \quad \alpha_s \sim U(0, 1)

    Without noise on the inputs, which would perturb what must stay. ``Attribution.residual`` as for integrated
    gradients, up to the error of sampling.

    Parameters
    ----------
    samples : int
        Points, one forward and backward row each.
    seed : int
        Of the points.
    replacement : {"mean", "blur", "zero"}
        Start of the path.
    rows_per_pass : int
        Points per pass.
    limit : int or None
        Most forward rows per explained token.
    """

    samples: Count = 32
    seed: Seed = 0
    replacement: Annotated[str, Known(REPLACEMENTS)] = "mean"
    rows_per_pass: Count = 16
    limit: Count | None = LIMIT
    name: ClassVar[str] = "gradient_shap"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the number of points."""
        return self.samples

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero on positions that are not perturbable."""
        from captum.attr import GradientShap as Captum

        value, kinds = explained(problem, column), [tensor.dtype for tensor in problem.inputs]

        def in_their_type(*inputs: Tensor) -> Tensor:
            return value(*(tensor.to(kind) for tensor, kind in zip(inputs, kinds, strict=True)))

        # Captum adds noise of width zero in float32, whatever the model computes in.
        captum, start = Captum(in_their_type), start_of(problem, self.replacement)
        total, left = torch.zeros(len(problem.input_ids), device=problem.input_ids.device), self.samples
        with seeded(self.seed), torch.enable_grad():
            while left > 0:
                count = min(left, self.rows_per_pass)
                found = captum.attribute(differentiable_inputs(problem), baselines=start, n_samples=count)
                total = total + count / self.samples * per_position(problem, found)
                left -= count
        return total
