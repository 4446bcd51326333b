"""Every column of a comparison for one example."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np
from torch import Tensor

from lime_xai.attribution.methods.lookup import MethodLike
from lime_xai.storage.store import number

from .cost import forward_seconds, timed
from .recorded import RecordedExample
from .registry import metric_of
from .scored import Cost, Scored, TokenTask

Values = dict[str, dict[str, float | None]]
"""By method, then column; None where a metric is undefined."""


def measure(
    example: RecordedExample, methods: Mapping[str, MethodLike], columns: Sequence[str], advance: Callable[[], None]
) -> list[Values]:
    """Return the values of each row of an example, the mean over the tokens of an answer.

    Parameters
    ----------
    example : RecordedExample
        The example.
    methods : mapping
        By name; the first is the reference of ``agreement``.
    columns : sequence of str
        From ``registry.columns``.
    advance : callable
        Called after each method.
    """
    rows: list[Values] = [{} for _ in range(example.count)]
    forward = forward_seconds(example.prompt) / example.count
    reference: Tensor | None = None
    for name, method in methods.items():
        relevance, spent, peak = timed(partial(example.explain, method), example.prompt.model.device)
        reference = relevance if reference is None else reference
        cost = Cost(spent / max(1, len(example.tasks)), forward, peak)
        scored = _scored(example, method, relevance, reference, cost)
        for b, values in enumerate(rows):
            mine = [kinds for row, kinds in scored if row == b]
            values[name] = {
                column: _mean([_value(column, _kind(example, kinds, column)) for kinds in mine]) for column in columns
            }
        advance()
    return rows


def _scored(
    example: RecordedExample, method: MethodLike, relevance: Tensor, reference: Tensor, cost: Cost
) -> list[tuple[int, list[Scored]]]:
    """Return, for every explained token, its row and what metrics are given, once per kind of replacement."""
    noisy = cache(lambda: example.under_noise(method))
    randomised = cache(lambda: example.randomised(method))

    def scored(task: TokenTask, b: int, g: int) -> Scored:
        parts = relevance[b, g], reference[b, g]
        return Scored(task, *parts, cost, lambda: noisy()[:, b, g], lambda: randomised()[:, b, g])

    return [(b, [scored(task, b, g) for task in kinds]) for b, g, kinds in example.tasks]


def _value(column: str, scored: Scored) -> float:
    """Return what a metric measures; NaN for one of true regions where the example has none."""
    metric = metric_of(column)
    return math.nan if "truth" in metric.needs and scored.task.truth is None else metric.measure(scored)


def _kind(example: RecordedExample, kinds: Sequence[Scored], column: str) -> Scored:
    """Return what is scored with the replacement of a column."""
    _, _, kind = column.partition("@")
    return kinds[example.settings.replacements.index(kind)] if kind else kinds[0]


def _mean(values: Sequence[float]) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of NaN only is NaN, as it should be
        return number(float(np.nanmean(values)))
