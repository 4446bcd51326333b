"""Means, intervals and differences of a comparison: what its tables and figures are made of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .agreement import ReplacementAgreement, replacement_agreement
from .registry import metric_of
from .statistics import Clusters, Estimate

Estimates = Mapping[str, Mapping[str, Estimate]]
"""By method, then column."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Statistics of the values of a comparison.

    Attributes
    ----------
    methods : tuple of str
        Names; the first is the one that others are compared with.
    metrics : tuple of str
        Columns: names, and ``name@replacement`` for a further replacement.
    clusters : tuple
        ``[N]``: the cluster of each example.
    values : mapping
        By method and column, ``[N]`` float64: one value per example, NaN where the metric is undefined.
    replacements : tuple of str
        Kinds of replacement; the first one's columns have plain names.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    clusters: tuple[Hashable, ...]
    values: Mapping[str, Mapping[str, NDArray[np.float64]]]
    replacements: tuple[str, ...] = ()

    @cached_property
    def means(self) -> Estimates:
        """By method and column: mean over examples, with its 95 % bootstrap interval over clusters.

        Of costs and residuals, which have outliers, the median.
        """
        clusters = Clusters(self.clusters)
        return {
            method: {column: _typical(clusters, column, values) for column, values in found.items()}
            for method, found in self.values.items()
        }

    @cached_property
    def differences(self) -> Estimates:
        """By method but the first, and column: the method's value minus that of the first, example by example.

        Summarised as ``means`` are.
        """
        clusters, first = Clusters(self.clusters), self.values[self.methods[0]]
        return {
            method: {
                column: _typical(clusters, column, self.values[method][column] - first[column])
                for column in self.metrics
            }
            for method in self.methods[1:]
        }

    @cached_property
    def replacement_agreement(self) -> list[ReplacementAgreement]:
        """How far kinds of replacement order the methods alike, by metric and pair of kinds; empty for one kind."""
        return replacement_agreement(self.values, Clusters(self.clusters), self.metrics, self.replacements)

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that have a value for some method; the others are undefined here (memory off CUDA, say)."""
        return tuple(c for c in self.metrics if any(self.means[method][c].examples for method in self.methods))

    def best(self, column: str) -> tuple[str, ...]:
        """Return the methods with the best mean in a column; none where neither end is better, or for one method."""
        better = metric_of(column).better
        means = {m: self.means[m][column].mean for m in self.methods if self.means[m][column].examples}
        if better is None or len(means) < 2:
            return ()
        top = (max if better == "high" else min)(means.values())
        return tuple(method for method, mean in means.items() if mean == top)

    def ranked(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of which one end is better, without further replacements."""
        return [c for c in columns if metric_of(c).better is not None and "@" not in c]


def _typical(clusters: Clusters, column: str, values: NDArray[np.float64]) -> Estimate:
    """Return the mean or the median, as the metric says."""
    return clusters.median(values) if metric_of(column).typical == "median" else clusters.mean(values)
