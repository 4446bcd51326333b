"""Ratios that several benchmarks share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lime_xai.evaluation.bootstrap import Floats


def ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where below is 0."""
    divisor = np.where(below == 0, np.nan, below)
    return np.asarray(above / divisor, np.float64)


def harmonic(one: Floats, two: Floats) -> Floats:
    """Return the harmonic mean of two rates (F1 of precision and recall): 0 if both are 0, NaN where one is NaN."""
    total = one + two
    return np.asarray(np.where(total == 0, 0.0, 2 * one * two / np.where(total == 0, 1.0, total)), np.float64)


CONFUSION = ("true_positive", "false_positive", "true_negative", "false_negative")
"""Counts of answers to questions of two classes."""


def confusion(positive: bool, said: bool) -> dict[str, float]:
    """Return the counts of one answer, whether it is right included.

    Parameters
    ----------
    positive : bool
        Whether the true class is the positive one.
    said : bool
        Whether the answer is the positive class.
    """
    cell = (
        "true_positive"
        if positive and said
        else "false_positive"
        if said
        else "false_negative"
        if positive
        else "true_negative"
    )
    return {**dict.fromkeys(CONFUSION, 0.0), cell: 1.0, "right": float(positive == said)}


def of_confusion(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return accuracy, precision, recall, F1 and the share of positive answers; NaN where nothing is divided by."""
    right, wrong = sums["true_positive"], sums["false_positive"]
    missed, kept = sums["false_negative"], sums["true_negative"]
    precision, recall = ratio(right, right + wrong), ratio(right, right + missed)
    return {
        "accuracy": ratio(right + kept, sums["items"]),
        "precision": precision,
        "recall": recall,
        "f1": harmonic(precision, recall),
        "positive": ratio(right + wrong, sums["items"]),
    }
