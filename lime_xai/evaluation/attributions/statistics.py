"""Means over examples with bootstrap intervals over clusters, and paired differences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from lime_xai.evaluation.bootstrap import Floats, bounded, estimate, resampling_weights


@dataclass(frozen=True)
class Estimate:
    """A mean, or median, over examples with its 95 % bootstrap interval, and how many examples have a value."""

    mean: float
    low: float
    high: float
    examples: int

    def __str__(self) -> str:
        if not self.examples:
            return bounded(None)
        if abs(self.mean) >= 100 or 0 < abs(self.mean) < 0.01:
            return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"
        return bounded(self.mean, self.low, self.high)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation of two vectors ``[n]``; zero where one of them is constant."""
    one, other = (vector.double().cpu().numpy() for vector in (first, second))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


class Clusters:
    """Resampling of clusters, the same for every method and metric.

    Parameters
    ----------
    names : sequence
        ``[N]``: the cluster of each example.
    """

    def __init__(self, names: Sequence[Hashable]) -> None:
        numbers: dict[Hashable, int] = {}
        self.index = np.asarray([numbers.setdefault(name, len(numbers)) for name in names])
        self.count = len(numbers)
        self.weights = resampling_weights(self.count)

    def mean(self, values: Floats) -> Estimate:
        """Return the mean of ``[N]`` values; NaN ones are left out."""
        return Estimate(*estimate(self.means(values)), examples=int(np.isfinite(values).sum()))

    def means(self, values: Floats) -> Floats:
        """Return the mean of ``[N]`` values, then that of every resample, ``[1 + R]``; NaN where there is none."""
        known = np.isfinite(values)
        sums = np.bincount(self.index, np.where(known, values, 0.0), self.count)
        counts = np.bincount(self.index, known.astype(np.float64), self.count)
        total = self.weights @ counts
        found: Floats = np.divide(self.weights @ sums, total, out=np.full(len(total), np.nan), where=total > 0)
        return found

    def median(self, values: Floats) -> Estimate:
        """Return the median of ``[N]`` values, for what has rare outliers; NaN ones are left out."""
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.argsort(values[known], kind="stable")]
        if not len(order):
            return Estimate(np.nan, np.nan, np.nan, 0)
        reached = np.cumsum(self.weights[:, self.index[order]], axis=1)
        middle = (reached >= reached[:, -1:] / 2).argmax(axis=1)
        return Estimate(*estimate(values[order][middle]), examples=len(order))
