"""Bootstrap over scenes: intervals of any metric, and of paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95


def resampling_weights(units: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return how often each unit is drawn in each resample, after a first row of ones.

    Metrics of two policies taken over the same weights differ as pairs: scene by scene.

    Parameters
    ----------
    units : int
        Number S of scenes.
    resamples : int
        Number R of draws of S scenes with replacement.
    seed : int
        One seed gives one matrix.

    Returns
    -------
    numpy.ndarray
        Shape [1 + R, S]; row 0, all ones, is the plain estimate.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if units < 1 or resamples < 1:
        raise ValueError(f"found {units} units and {resamples} resamples; expected at least one of each.")
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    return np.concatenate([np.ones((1, units)), drawn.astype(np.float64)])


def interval(values: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of resampled values [R]; NaN where no resample gives a value."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(values: Floats, level: float = LEVEL) -> tuple[float, float, float]:
    """Return a metric's plain estimate and its interval.

    Parameters
    ----------
    values : numpy.ndarray
        The metric over ``resampling_weights``, shape [1 + R].
    level : float
        Coverage of the interval.

    Returns
    -------
    (float, float, float)
        Value, low, high.
    """
    return (float(values[0]), *interval(values[1:], level))


def bounded(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a value with its interval, if it has one, as text; a report's None, where there is none, is a dash."""
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of dotted names as nested dictionaries."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = result
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return result
