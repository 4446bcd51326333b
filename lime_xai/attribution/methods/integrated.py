"""Gradients along the path from replaced embeddings to the real ones, through Captum."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import REPLACEMENTS, check_perturbation, perturbed, replacement
from lime_xai.model.prompt import Prompt
from lime_xai.values.checking import Count, Known, Positive, Seed

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

    with points of Gauss and Legendre. Relevance sums to the logit minus that of the prompt whose perturbable positions
    are replaced, up to the error of the integration: ``Attribution.convergence_delta`` is this error, and
    ``Attribution.residual`` the same minus the logit of the replaced prompt. While the error is larger than
    ``tolerance``, four times as many points are taken, at most ``most``.

    Parameters
    ----------
    steps : int
        Points of the first attempt, one forward and backward row each.
    replacement : {"mean", "blur", "zero", "silence"}
        Start of the path; zero is a bad choice, because normalisation is steep there.
    rows_per_pass : int
        Points per pass.
    limit : int or None
        Most forward rows per explained token.
    tolerance : float or None
        Largest error, relative to the change of the logit along the path; 5 % is Sundararajan's advice. None:
        ``steps`` points, whatever the error is.
    most : int
        Points of the last attempt.

    Warns
    -----
    UserWarning
        If the error of the last attempt is larger than ``tolerance``.
    """

    steps: Count = 32
    replacement: Annotated[str, Known(REPLACEMENTS)] = "mean"
    rows_per_pass: Count = 16
    limit: Count | None = LIMIT
    tolerance: Positive | None = 0.05
    most: Count = 512
    name: ClassVar[str] = "integrated_gradients"

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that does not have the replacement (ValueError)."""
        check_perturbation(self.replacement, prompt)

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the points of the first attempt and both ends of the path; more rows run if points are added."""
        return self.steps + 2

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero on positions that are not perturbable."""
        return self.relevance_and_delta(problem, groups, column)[0]

    def relevance_and_delta(self, problem: Problem, groups: Groups, column: int | None) -> tuple[Tensor, Tensor | None]:
        """Return ``[T]`` float, and its sum minus the change of the logit along the path."""
        start = start_of(problem, self.replacement)
        change = _change(problem, column, start)
        allowed = math.inf if self.tolerance is None else self.tolerance * abs(float(change))
        for steps in self._attempts():
            found = self._integrated(problem, column, start, steps)
            delta = found.sum() - change.to(found)
            if abs(float(delta)) <= allowed:
                return found, delta
        warnings.warn(
            f"integrated_gradients: relevance sums to {float(found.sum()):.4g}, the logit changes by "
            f"{float(change):.4g} from the replaced prompt to the real one, after {steps} steps. Raise most "
            f"(now {self.most}) and limit, choose another replacement, or accept it with a larger tolerance.",
            stacklevel=2,
        )
        return found, delta

    def _attempts(self) -> Iterator[int]:
        """Return the number of points of each attempt; together they stay within the limit."""
        steps, spent = self.steps, 2
        while True:
            yield steps
            spent += steps
            more = min(4 * steps, self.most)
            if more <= steps or (self.limit is not None and spent + more > self.limit):
                return
            steps = more

    def _integrated(self, problem: Problem, column: int | None, start: tuple[Tensor, ...], steps: int) -> Tensor:
        from captum.attr import IntegratedGradients as Captum

        with torch.enable_grad():
            found = Captum(explained(problem, column)).attribute(
                differentiable_inputs(problem),
                baselines=start,
                n_steps=steps,
                internal_batch_size=min(steps, self.rows_per_pass),
            )
        return per_position(problem, found)


def _change(problem: Problem, column: int | None, start: tuple[Tensor, ...]) -> Tensor:
    """Return the explained value of the prompt minus that of the start of the path, a scalar."""
    value = explained(problem, column)
    with torch.no_grad():
        return (value(*problem.inputs) - value(*start))[0]


@register_method
@dataclass(frozen=True)
class GradientShap(RowMethod):
    r"""Gradients at random points of that path, averaged (Lundberg and Lee 2017; Erion et al. 2021).

    .. math:: r_i = \frac{1}{S} \sum_s \sum_c (e_{ic} - e'_{ic})
              \frac{\partial z(e' + \alpha_s (e - e'))}{\partial e_{ic}}, \quad \alpha_s \sim U(0, 1)

    Without noise on the inputs, which would perturb what must stay. ``Attribution.convergence_delta`` is the error of
    sampling, ``Attribution.residual`` as for integrated gradients.

    Parameters
    ----------
    samples : int
        Points, one forward and backward row each.
    seed : int
        Of the points.
    replacement : {"mean", "blur", "zero", "silence"}
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

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that does not have the replacement (ValueError)."""
        check_perturbation(self.replacement, prompt)

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the number of points, and both ends of the path."""
        return self.samples + 2

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero on positions that are not perturbable."""
        return self.relevance_and_delta(problem, groups, column)[0]

    def relevance_and_delta(self, problem: Problem, groups: Groups, column: int | None) -> tuple[Tensor, Tensor | None]:
        """Return ``[T]`` float, and its sum minus the change of the logit along the path."""
        from captum.attr import GradientShap as Captum

        value, kinds = explained(problem, column), [tensor.dtype for tensor in problem.inputs]

        def in_their_type(*inputs: Tensor) -> Tensor:
            return value(*(tensor.to(kind) for tensor, kind in zip(inputs, kinds, strict=True)))

        # Captum adds noise of width zero in float32, whatever the model computes in.
        captum, start = Captum(in_their_type), start_of(problem, self.replacement)
        total, left = (
            torch.zeros(len(problem.input_ids), dtype=torch.float32, device=problem.input_ids.device),
            self.samples,
        )
        with seeded(self.seed), torch.enable_grad():
            while left > 0:
                count = min(left, self.rows_per_pass)
                found = captum.attribute(differentiable_inputs(problem), baselines=start, n_samples=count)
                total = total + count / self.samples * per_position(problem, found)
                left -= count
        return total, total.sum() - _change(problem, column, start).to(total)
