"""Whether two kinds of replacement order methods alike: their order is a property of the methods only if they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from lime_xai.evaluation.bootstrap import Floats, estimate

from .registry import metric_of
from .statistics import Clusters, Estimate


@dataclass(frozen=True)
class ReplacementAgreement:
    """Two kinds of replacement beside each other, for one metric.

    Attributes
    ----------
    metric : str
        Its name.
    kinds : tuple of str
        The two.
    correlation : Estimate
        Spearman's correlation of the methods' means with one kind and with the other, with its 95 % bootstrap interval
        over clusters; NaN for a single method.
    best : tuple of tuple of str
        The methods with the best mean, with each kind.
    """

    metric: str
    kinds: tuple[str, str]
    correlation: Estimate
    best: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def same_best(self) -> bool:
        """Whether some method is the best with both."""
        return bool(set(self.best[0]) & set(self.best[1]))


def column_of(metric: str, kind: str, kinds: Sequence[str]) -> str:
    """Return the column of a metric with a kind of replacement; plain columns hold the first kind."""
    return metric if kind == kinds[0] else f"{metric}@{kind}"


def replacement_agreement(
    values: Mapping[str, Mapping[str, Floats]], clusters: Clusters, metrics: Sequence[str], kinds: Sequence[str]
) -> list[ReplacementAgreement]:
    """Return the agreement of each pair of kinds for each metric that perturbs and of which one end is better.

    Parameters
    ----------
    values : mapping
        By method and column, ``[N]``.
    clusters : Clusters
        Of the examples.
    metrics : sequence of str
        Columns.
    kinds : sequence of str
        In the order in which they were given.
    """
    found = []
    for metric in dict.fromkeys(column.partition("@")[0] for column in metrics):
        described = metric_of(metric)
        if "replacement" not in described.needs or described.better is None:
            continue
        means = {
            kind: np.stack([clusters.means(of[column_of(metric, kind, kinds)]) for of in values.values()], -1)
            for kind in kinds
        }
        best = {kind: _best(list(values), table[0], described.better == "high") for kind, table in means.items()}
        for one, other in combinations(kinds, 2):
            correlation = Estimate(*estimate(_correlations(means[one], means[other])), examples=len(clusters.index))
            found.append(ReplacementAgreement(metric, (one, other), correlation, (best[one], best[other])))
    return found


def _best(methods: Sequence[str], means: Floats, high: bool) -> tuple[str, ...]:
    if not np.isfinite(means).any():
        return ()
    top = np.nanmax(means) if high else np.nanmin(means)
    return tuple(method for method, mean in zip(methods, means, strict=True) if mean == top)


def _correlations(first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of each row of two tables ``[R, M]``, NaN where there is none."""
    known = np.isfinite(first[0]) & np.isfinite(second[0])
    ranks = [rankdata(table[:, known], axis=1) for table in (first, second)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    product = (centred[0] * centred[1]).sum(1)
    norm = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    found: Floats = np.divide(product, norm, out=np.full(len(product), np.nan), where=norm > 0)
    return found
