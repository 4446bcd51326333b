"""Metrics of closed questions, over any weighting of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import Floats, ratio


@dataclass(frozen=True)
class ClosedMetrics:
    """How well closed questions are answered.

    Attributes
    ----------
    accuracy : float
        Share of right answers; the answer is yes where the margin is positive.
    auc : float
        Area under the ROC curve of the margin: the quality of the ranking at all thresholds.
    false_yes : float
        Share of yes among the questions about absent objects.
    f1_yes, f1_no : float
        F1 of the answer yes, and of the answer no; 0 where an answer is never given.
    """

    accuracy: float
    auc: float
    false_yes: float
    f1_yes: float
    f1_no: float


def weighted_auc(margins: Floats, labels: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return areas under ROC curves, ties counted half, shape [R].

    Parameters
    ----------
    margins, labels : numpy.ndarray
        Shape [N].
    weights : numpy.ndarray
        Weight of each question in each of R samples, shape [R, N].
    """
    order = np.argsort(margins, kind="stable")
    starts = np.flatnonzero(np.diff(margins[order], prepend=-np.inf) > 0)
    sorted_weights, positive = weights[:, order], labels[order]
    above = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    below = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    beaten = np.cumsum(below, axis=1) - below / 2
    return ratio((above * beaten).sum(1), above.sum(1) * below.sum(1))


def closed_values(margins: ArrayLike, labels: ArrayLike, weights: Floats) -> dict[str, Floats]:
    """Measure answers to closed questions over weighted samples.

    Parameters
    ----------
    margins : array of float, shape [N]
        Logit of yes minus logit of no.
    labels : array of bool, shape [N]
        Whether yes is right.
    weights : numpy.ndarray
        Shape [R, N].

    Returns
    -------
    dict of str to numpy.ndarray
        The fields of ``ClosedMetrics``, each of shape [R]; NaN where a sample has a single label.

    Raises
    ------
    ValueError
        If the shapes differ, a margin is not finite, or one of the two labels does not occur.
    """
    values, wanted = np.asarray(margins, np.float64), np.asarray(labels, np.bool_)
    if values.ndim != 1 or values.shape != wanted.shape:
        raise ValueError(f"margins have shape {values.shape}, labels {wanted.shape}; expected one shape [N]")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} margins are not finite; check the model's logits")
    if wanted.all() or not wanted.any():
        raise ValueError("the questions have a single label; expected some with yes and some with no")
    answers = values > 0
    return {
        "accuracy": ratio(weights @ (answers == wanted), weights.sum(1)),
        "auc": weighted_auc(values, wanted, weights),
        "false_yes": ratio(weights @ (answers & ~wanted), weights @ ~wanted),
        "f1_yes": _f1(answers, wanted, weights),
        "f1_no": _f1(~answers, ~wanted, weights),
    }


def _f1(given: NDArray[np.bool_], wanted: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return F1 scores of one answer, 2 TP / (given + wanted), shape [R]."""
    return ratio(2 * (weights @ (given & wanted)), weights @ given + weights @ wanted)


def closed_metrics(margins: ArrayLike, labels: ArrayLike) -> ClosedMetrics:
    """Measure answers to closed questions.

    Parameters
    ----------
    margins, labels : array
        As in ``closed_values``.

    Returns
    -------
    ClosedMetrics
        The measures.

    Raises
    ------
    ValueError
        As ``closed_values`` does.
    """
    values = closed_values(margins, labels, np.ones((1, np.size(margins))))
    return ClosedMetrics(**{name: float(value[0]) for name, value in values.items()})
