"""Shapley values of groups: exact where there are few sets, else estimated by orders or by regression, with Captum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from lime_xai.attribution.games import exact_shapley_values
from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.values.checking import Count, Seed

from .base import seeded
from .perturbation import Perturbation
from .registry import register_method


class _Exact(Perturbation):
    """Methods that run every set of groups where this is no more work."""

    def exact(self, function: Callable[[Tensor], Tensor], switches: Tensor) -> Tensor:
        """Return the Shapley values of groups, ``[n]``."""
        with torch.no_grad():
            values = exact_shapley_values(lambda kept: self.values(function, kept.to(switches)), switches.shape[1])
        return values.to(switches)


@register_method
@dataclass(frozen=True)
class ShapleyValueSampling(_Exact):
    r"""Shapley values of groups by random orders (Castro et al. 2009; Strumbelj and Kononenko 2010).

    Groups are brought back one after the other, ``samples`` times in another order; a group gets its mean gain. Where
    all sets of groups are no more rows than these, they are run instead: the values are then the mean over all orders,
    exact, and ``seed`` has no effect. Sums to :math:`z(e) - z(\text{all groups replaced})` exactly, so
    ``Attribution.residual`` is minus the value of the replaced prompt.

    Parameters
    ----------
    samples : int
        Orders, each one row per group.
    seed : int
        Of the orders.
    """

    samples: Count = 25
    seed: Seed = 0
    name: ClassVar[str] = "shapley_value_sampling"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return one row per group and order, and one for the replaced prompt; or one per set of groups if fewer."""
        return min(self.samples * len(groups) + 1, 1 << len(groups))

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float32; zero outside groups."""
        from captum.attr import ShapleyValueSampling as Captum

        function, switches = self.function(problem, groups, column)
        if 1 << len(groups) <= self.samples * len(groups) + 1:
            return groups.spread(self.exact(function, switches))
        with seeded(self.seed), torch.no_grad():
            found = Captum(function).attribute(
                switches, n_samples=self.samples, perturbations_per_eval=self.rows_per_pass
            )
        return groups.spread(found[0])


@register_method
@dataclass(frozen=True)
class KernelShap(_Exact):
    r"""Shapley values of groups as the coefficients of a linear model (Lundberg and Lee 2017).

    .. math:: r = \mathrm{arg}\min_r \min_c \sum_s w_s \Bigl(z(S_s) - c - \sum_{g \in S_s} r_g\Bigr)^2

    over random sets of groups, drawn as Shapley's kernel weighs them, and the full and the empty set with weight one
    million. ``Attribution.residual`` is close to minus the value of the replaced prompt. Fewer samples than groups
    leave the model underdetermined; take several times as many. Where there are no more sets than samples (up to ten
    groups by default), each is run once: the values are then the exact Shapley values, to which this regression
    converges, and ``seed`` has no effect.

    Parameters
    ----------
    samples : int
        Sets, one row each.
    seed : int
        Of the sets.
    """

    samples: Count = 1024
    seed: Seed = 0
    name: ClassVar[str] = "kernel_shap"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the number of sets: those that are drawn, or all if there are no more."""
        return min(self.samples, 1 << len(groups))

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups.

        Raises
        ------
        ValueError
            For fewer than two groups, between which there is nothing to share.
        """
        from captum.attr import KernelShap as Captum

        if len(groups) < 2:
            raise ValueError(f"kernel_shap shares between groups and found {len(groups)}; give at least two.")
        function, switches = self.function(problem, groups, column)
        if 1 << len(groups) <= self.samples:
            return groups.spread(self.exact(function, switches))
        with seeded(self.seed), torch.no_grad():
            explainer = Captum(function)
            explainer.interpretable_model = _WeightedLeastSquares()  # Captum's default needs scikit-learn
            found = explainer.attribute(switches, n_samples=self.samples, perturbations_per_eval=self.rows_per_pass)
        return groups.spread(found[0])


class _WeightedLeastSquares:
    """A linear model with an intercept, as Captum's explainers take it, fitted by SciPy."""

    def __init__(self) -> None:
        self._coefficients = torch.zeros(0, dtype=torch.float32)

    def fit(self, train_data: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Fit batches of features ``[R, n]``, values ``[R]`` and weights ``[R]``."""
        features, values, weights = (torch.cat(parts).cpu().numpy() for parts in zip(*train_data, strict=True))
        # An intercept without a penalty: subtracting the weighted means removes it from the problem.
        features = features - np.average(features, 0, weights)
        values = values - np.average(values, weights=weights)
        root = np.sqrt(weights)
        # Centring lowers the rank by one. The cut-off keeps the singular value that is then only rounding from being
        # inverted; it is scikit-learn's, with which Captum fits.
        found, *_ = scipy.linalg.lstsq(root[:, None] * features, root * values, cond=1e-6)
        self._coefficients = torch.from_numpy(found)[None]

    def representation(self) -> Tensor:
        """Return the coefficients ``[1, n]`` in the dtype of the features, without the intercept."""
        return self._coefficients
