"""Measures of answers with intervals, and paired differences between two sets of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from lime_xai.evaluation.bootstrap import RESAMPLES, Floats, estimate, resampling_weights

from .protocol import Item, Protocol

ALL = "all groups"
"""Name of what all groups give together; a benchmark with one group has no such row."""

Estimate = tuple[float, float, float]
"""A value with the bounds of its 95 % interval."""


@dataclass(frozen=True)
class McNemar:
    """Exact test of two sets of answers to the same questions (McNemar 1947).

    Attributes
    ----------
    gained, lost : int
        Questions that only the second set, or only the first set, answers rightly.
    p : float
        Two-sided probability of a split at least as uneven, if both were equally likely; 1 if there is none.
    """

    gained: int
    lost: int
    p: float


def counts(protocol: Protocol, items: Sequence[Item], answers: Mapping[str, str], parser: str) -> dict[str, Floats]:
    """Return the counts of each item, arrays of shape [N] in the order of items, with ``items`` of ones.

    Raises
    ------
    ValueError
        For an unknown parser, no items, or an item without an answer.
    """
    protocol.check_parser(parser)
    missing = [item.id for item in items if item.id not in answers]
    if missing or not items:
        raise ValueError(f"{len(missing)} of {len(items)} items have no answer; the first is {missing[:1]}.")
    rows = [protocol.count(item, answers[item.id], parser) for item in items]
    if any(row.keys() != rows[0].keys() for row in rows):
        raise RuntimeError(f"{protocol.name} counts different things for different items")  # a fault of the protocol
    found = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}
    return {"items": np.ones(len(rows)), **found}


def score(
    protocol: Protocol,
    items: Sequence[Item],
    answers: Mapping[str, str],
    parser: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Estimate]]:
    """Measure answers.

    Parameters
    ----------
    protocol : Protocol
        The benchmark.
    items : sequence of Item
        N questions.
    answers : mapping of str to str
        Answers by the items' names; others are not looked at.
    parser : str, optional
        By default the first of the protocol's.
    resamples, seed : int
        Of the bootstrap over units of items.

    Returns
    -------
    dict of str to dict of str to (float, float, float)
        For each group, and for all groups if there are several: each measure with the bounds of its 95 % interval.

    Raises
    ------
    ValueError
        For an unknown parser, no items, or an item without an answer.
    """
    found = counts(protocol, items, answers, parser or protocol.parsers[0])
    sampled = _sampled(protocol, items, found, resamples, seed)
    return {group: {name: estimate(values[name]) for name in protocol.measures} for group, values in sampled.items()}


def differences(
    protocol: Protocol,
    items: Sequence[Item],
    first: Mapping[str, str],
    second: Mapping[str, str],
    parser: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Estimate]]:
    """Return the measures of a second set of answers minus those of a first one, over the same samples of items.

    Parameters and errors are those of ``score``.
    """
    parser = parser or protocol.parsers[0]
    one, two = (
        _sampled(protocol, items, counts(protocol, items, answers, parser), resamples, seed)
        for answers in (first, second)
    )
    return {group: {name: estimate(two[group][name] - one[group][name]) for name in protocol.measures} for group in one}


def mcnemar(
    protocol: Protocol,
    items: Sequence[Item],
    first: Mapping[str, str],
    second: Mapping[str, str],
    parser: str | None = None,
) -> McNemar | None:
    """Test whether two sets of answers are right equally often; None where an answer is not simply right or wrong.

    Parameters and errors are those of ``score``.
    """
    parser = parser or protocol.parsers[0]
    one, two = (counts(protocol, items, answers, parser) for answers in (first, second))
    if "right" not in one:
        return None
    gained = int(((one["right"] == 0) & (two["right"] == 1)).sum())
    lost = int(((one["right"] == 1) & (two["right"] == 0)).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return McNemar(gained, lost, p)


def _sampled(
    protocol: Protocol, items: Sequence[Item], found: Mapping[str, Floats], resamples: int, seed: int
) -> dict[str, dict[str, Floats]]:
    """Return each group's measures over bootstrap samples, arrays [1 + R] whose first entry is the plain value.

    1. Draw units with replacement, once for all groups: questions of two groups may share an image.
    2. Add up the counts of each unit's items in each group.
    3. Weight these sums by the draws, and make measures of them.
    """
    units, unit_of = np.unique([item.unit or item.id for item in items], return_inverse=True)
    weights = resampling_weights(len(units), resamples, seed)
    groups = np.array([item.group for item in items])
    names = list(dict.fromkeys(groups.tolist()))
    sums: dict[str, dict[str, Floats]] = {}
    for group in names:
        chosen = groups == group
        sums[group] = {
            name: weights @ np.bincount(unit_of[chosen], values[chosen], minlength=len(units))
            for name, values in found.items()
        }
    measured = {group: dict(protocol.values(sums[group])) for group in names}
    if len(names) == 1:
        return measured
    if protocol.average == "groups":
        mean = {name: np.mean([measured[group][name] for group in names], axis=0) for name in protocol.measures}
        return {**measured, ALL: mean}
    together = {name: np.sum([sums[group][name] for group in names], axis=0) for name in found}
    return {**measured, ALL: dict(protocol.values(together))}
