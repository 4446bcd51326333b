"""The figure of a result."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from lime_xai.attribution.sheet import ShownFigure, fonts

from .results import Results

_ACROSS = 3
_WIDE = 4.0
"""Inches of a panel."""
_BETTER = {"high": "higher is better", "low": "lower is better", None: ""}


def result_figure(found: Results) -> ShownFigure:
    """Return a figure: a panel for each measure, a line for each system, a mark with its 95 % interval for each group.

    Raises
    ------
    ValueError
        If no measure has a value.
    """
    known = [
        name
        for name in found.kinds
        if any(np.isfinite(values[name][0]) for system in found.systems.values() for values in system.measures.values())
    ]
    if not known:
        raise ValueError("There is nothing to draw: no measure of this benchmark has a value here.")
    across = min(len(known), _ACROSS)
    down = -(-len(known) // across)
    row = max(0.28, 0.11 * len(found.groups))
    tall = max(1.0 + row * len(found.systems), 1.8)
    figure = ShownFigure(figsize=(_WIDE * across, tall * down + 0.6), layout="constrained")
    places = list(np.atleast_1d(figure.subplots(down, across, squeeze=False)).flat)
    for index, (place, name) in enumerate(zip(places, known, strict=False)):
        _draw(place, found, name, labelled=index % across == 0)
    for place in places[len(known) :]:
        place.set_axis_off()
    if len(found.groups) > 1:
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=4, fontsize=7, frameon=False)
    figure.suptitle(found.benchmark, fontsize=11, parse_math=False)
    figure.supxlabel(
        textwrap.fill(found.caption, int(_WIDE * across * 15)), fontsize=7, parse_math=False, family=fonts()
    )
    figure.numbers = [
        {"measure": name, "group": group, "system": system, "value": value, "low": low, "high": high}
        for name in known
        for system, one in found.systems.items()
        for group, values in one.measures.items()
        for value, low, high in (values[name],)
    ]
    return figure


def _draw(axes: Axes, found: Results, name: str, labelled: bool) -> None:
    """Draw one measure of all systems, from the top."""
    groups = found.groups
    steps = np.linspace(-0.3, 0.3, len(groups)) if len(groups) > 1 else np.zeros(1)
    for column, (group, step) in enumerate(zip(groups, steps, strict=True)):
        values = np.array([system.measures[group][name] for system in found.systems.values()])
        rows = np.arange(len(values)) + step
        colour = "black" if group == found.overall else colormaps["tab10"](column % 10)
        axes.hlines(rows, values[:, 1], values[:, 2], color=colour, linewidth=1.5)
        axes.plot(values[:, 0], rows, "o", color=colour, markersize=4, label=group)
    shown = list(found.systems) if labelled else [""] * len(found.systems)
    axes.set_yticks(range(len(shown)), shown, parse_math=False, family=fonts())
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_title(name, fontsize=10, parse_math=False)
    axes.set_xlabel(_BETTER[found.kinds[name].better], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
