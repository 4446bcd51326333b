"""The figure of a summary."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from lime_xai.attribution.sheet import ShownFigure, fonts

from .registry import metric_of
from .summary import Summary

MAIN = ("delta_a", "deletion", "insertion", "pointing", "mass", "rank", "sensitivity", "randomisation")
"""Metrics that get a panel where they were measured."""
_ACROSS = 3

_NEAR = 13
_PLACES = tuple(
    (radius * x, radius * y) for radius in (10, 18, 26, 34, 42) for x, y in ((1, 0.3), (1, -0.7), (-1, 0.3), (-1, -0.7))
)
"""Where the number of a point may stand, in points from its middle, best first."""


def comparison_figure(summary: Summary) -> ShownFigure:
    """Return a figure: one panel per main metric with 95 % intervals, and ``delta_a`` over cost.

    Parameters
    ----------
    summary : Summary
        Without any of the main metrics, all measured ones get a panel.

    Raises
    ------
    ValueError
        If no metric has a value.
    """
    panels = [name for name in MAIN if name in summary.measured] or list(summary.measured)
    if not panels:
        raise ValueError("There is nothing to draw: no metric of this comparison has a value here.")
    scatter = {"delta_a", "passes"} <= set(summary.measured)
    count = len(panels) + scatter
    down = -(-count // _ACROSS)
    height = 1.1 + 0.28 * len(summary.methods)
    figure = ShownFigure(figsize=(4 * min(count, _ACROSS), max(height, 2.6) * down), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(down, min(count, _ACROSS))).flat)
    for index, (place, column) in enumerate(zip(axes, panels, strict=False)):
        _draw_means(place, summary, column, labelled=index % _ACROSS == 0)
    if scatter:
        _draw_cost(axes[len(panels)], summary)
    for place in axes[count:]:
        place.set_axis_off()
    if scatter:
        _number_points(axes[len(panels)], summary)
    drawn = [*panels, *(name for name in ("delta_a", "passes") if scatter and name not in panels)]
    figure.numbers = [
        {"metric": column, "method": method, "value": found.mean, "low": found.low, "high": found.high}
        for column in drawn
        for method in summary.methods
        for found in (summary.means[method][column],)
    ]
    return figure


def _colours(summary: Summary) -> list[tuple[float, ...]]:
    return [colormaps["tab20"](index % 20) for index in range(len(summary.methods))]


def _draw_means(axes: Axes, summary: Summary, column: str, labelled: bool) -> None:
    """Draw the mean of each method with its interval, methods from the top."""
    for row, (method, colour) in enumerate(zip(summary.methods, _colours(summary), strict=True)):
        found = summary.means[method][column]
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2)
        axes.plot(found.mean, row, "o", color=colour)
    names = [f"{name} {number}" for number, name in enumerate(summary.methods, start=1)]
    shown = names if labelled else [str(number + 1) for number in range(len(names))]
    axes.set_yticks(range(len(names)), shown, parse_math=False, family=fonts())
    axes.set_ylim(len(summary.methods) - 0.5, -0.5)
    better = {"high": "higher is better", "low": "lower is better", None: ""}[metric_of(column).better]
    axes.set_title(column, fontsize=10, parse_math=False)
    axes.set_xlabel(better, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)


def _number_points(axes: Axes, summary: Summary) -> None:
    """Write the number of each method beside its point, where no other number and no other point lies.

    The first free place of ``_PLACES`` is taken; a thin line leads from a place that is not next to the point.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    per_point = axes.figure.dpi / 72
    means = [[summary.means[method][column].mean for column in ("passes", "delta_a")] for method in summary.methods]
    points = axes.transData.transform(np.array(means)) / per_point
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for number, (point, mean) in enumerate(zip(points, means, strict=True), start=1):
        if not np.isfinite(point).all():
            continue
        wide = 4.5 * len(str(number))
        boxes = [Bbox.from_bounds(point[0] + x - wide / 2, point[1] + y - 3.5, wide, 7) for x, y in _PLACES]
        free = [index for index, box in enumerate(boxes) if not any(box.overlaps(other) for other in taken)]
        chosen = free[0] if free else 0
        line = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2, "color": "#555555"}
        axes.annotate(
            str(number),
            (mean[0], mean[1]),
            _PLACES[chosen],
            textcoords="offset points",
            fontsize=7,
            ha="center",
            va="center",
            arrowprops=line if np.hypot(*_PLACES[chosen]) > _NEAR else None,
        )
        taken.append(boxes[chosen])


def _draw_cost(axes: Axes, summary: Summary) -> None:
    """Draw faithfulness over the number of forward passes that an attribution takes as long as."""
    for method, colour in zip(summary.methods, _colours(summary), strict=True):
        cost, area = (summary.means[method][column] for column in ("passes", "delta_a"))
        reach = [[area.mean - area.low], [area.high - area.mean]]
        axes.errorbar(cost.mean, area.mean, reach, fmt="o", markersize=5, color=colour)
    costs = [summary.means[method]["passes"].mean for method in summary.methods]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2, max(costs) * 4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) < 25 * min(costs) else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("faithfulness and cost", fontsize=10)
    axes.set_xlabel("time, in forward passes", fontsize=8)
    axes.set_ylabel("delta_a", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
