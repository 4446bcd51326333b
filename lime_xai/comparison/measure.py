"""Every column of a comparison for one example."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np
from torch import Tensor

from .bookkeeping import forward_seconds, timed
from .case import Case, Cost, Row
from .prepare import Method, Prepared
from .registry import metric_of
from .store import number

Values = dict[str, dict[str, float | None]]
"""By method, then column; None where a metric is undefined."""


def measure(
    prepared: Prepared, methods: Mapping[str, Method], columns: Sequence[str], advance: Callable[[], None]
) -> list[Values]:
    """Return the values of each row of an example, the mean over the tokens of an answer.

    Parameters
    ----------
    prepared : Prepared
        The example.
    methods : mapping
        By name; the first is the reference of ``agreement``.
    columns : sequence of str
        From ``registry.columns``.
    advance : callable
        Called after each method.
    """
    rows: list[Values] = [{} for _ in range(prepared.count)]
    forward = forward_seconds(prepared.model, prepared.example.inputs) / prepared.count
    reference: Tensor | None = None
    for name, method in methods.items():
        relevance, spent, peak = timed(partial(prepared.explain, method), prepared.model.device)
        if not bool(relevance.isfinite().all()):
            raise FloatingPointError(
                f"{name} gave NaN or infinite relevance; use bfloat16 or float32, or leave it out."
            )
        reference = relevance if reference is None else reference
        cost = Cost(spent / max(1, len(prepared.questions)), forward, peak)
        cases = _cases(prepared, method, relevance, reference, cost)
        for b, values in enumerate(rows):
            mine = [kinds for row, kinds in cases if row == b]
            values[name] = {
                column: _mean([_value(column, _kind(prepared, kinds, column)) for kinds in mine]) for column in columns
            }
        advance()
    return rows


def _cases(
    prepared: Prepared, method: Method, relevance: Tensor, reference: Tensor, cost: Cost
) -> list[tuple[int, list[Case]]]:
    """Return the row and the cases, one per kind of replacement, of every explained token."""
    noisy = cache(lambda: prepared.under_noise(method))
    randomised = cache(lambda: prepared.randomised(method))

    def case(row: Row, b: int, g: int) -> Case:
        parts = relevance[b, g], reference[b, g]
        return Case(row, *parts, cost, lambda: noisy()[:, b, g], lambda: randomised()[:, b, g])

    return [(b, [case(row, b, g) for row in kinds]) for b, g, kinds in prepared.questions]


def _value(column: str, case: Case) -> float:
    """Return what a metric measures; NaN for one of true regions where the example has none."""
    metric = metric_of(column)
    return math.nan if "truth" in metric.needs and case.row.truth is None else metric.measure(case)


def _kind(prepared: Prepared, kinds: Sequence[Case], column: str) -> Case:
    """Return the case with the replacement that a column asks for."""
    _, _, kind = column.partition("@")
    return kinds[prepared.settings.replacements.index(kind)] if kind else kinds[0]


def _mean(values: Sequence[float]) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of NaN only is NaN, as it should be
        return number(float(np.nanmean(values)))
