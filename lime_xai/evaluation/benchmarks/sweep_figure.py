"""The figure of a sweep over the weight of the divergence, and over what is edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from matplotlib.axes import Axes

from lime_xai.attribution.colours import PARTS
from lime_xai.attribution.figure import MARGIN
from lime_xai.attribution.sheet import LARGE, LINE, SMALL, Columns, Sheet, ShownFigure, fonts, label_axes

MARKS = {"keys": ("o", PARTS[0]), "values": ("s", PARTS[1]), "both": ("D", PARTS[2])}
"""Marker and colour of what is edited; the markers differ too."""

Values = Mapping[str, Sequence[float]]
"""By measure: value, low, high."""

_TALL = 1.7
"""Inches of a panel."""


def sweep_figure(
    points: Mapping[str, Mapping[float, Values]],
    plain: Values,
    measures: Mapping[str, str],
    about: Sequence[str],
    columns: Columns = 2,
) -> ShownFigure:
    """Return a panel per measure: a line over lambda for keys, values and both, with intervals; the plain model grey.

    Parameters
    ----------
    points : mapping
        By what is edited, one of ``MARKS``, and by lambda: the values.
    plain : mapping
        Values of the model alone.
    measures : mapping of str to str
        What is drawn: the name in the values, and in words.
    about : sequence of str
        Lines below the panels.
    columns : int
        Of a page: 1 or 2.
    """
    sheet = Sheet(columns)
    weights = sorted({weight for some in points.values() for weight in some})
    inner = sheet.width - 2 * MARGIN
    title = "The paper's edit over the weight lambda of the divergence"
    top = sheet.wrapped(MARGIN, MARGIN, title, inner, LARGE) + 0.05
    top = _legend(sheet, top) + 0.08
    room, gap = 0.42, 0.1
    wide = (inner - gap * (len(measures) - 1)) / len(measures) - room
    for index, (measure, words) in enumerate(measures.items()):
        left = MARGIN + room + index * (wide + room + gap)
        axes = sheet.axes(left, top, wide, _TALL)
        _plain(axes, plain[measure])
        for number, (edited, some) in enumerate(points.items()):
            places = [weights.index(weight) + 0.14 * (number - 1) for weight in some]
            _line(axes, places, [values[measure] for values in some.values()], *MARKS[edited])
        axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights], fontsize=SMALL, family=fonts())
        axes.set_xlim(-0.5, len(weights) - 0.5)
        label_axes(axes, "lambda", words)
    bottom = top + _TALL + 3.2 * SMALL * LINE
    for line in about:
        bottom = sheet.wrapped(MARGIN, bottom, line, inner, SMALL, color="#333333")
    return sheet.finished(bottom + MARGIN, sweep_numbers(points, plain, measures))


def _plain(axes: Axes, value: Sequence[float]) -> None:
    middle, low, high = value
    if isfinite(low) and isfinite(high):
        axes.axhspan(low, high, color="#000000", alpha=0.08, linewidth=0)
    if isfinite(middle):
        axes.axhline(middle, color="#555555", linewidth=0.8, linestyle="--")


def _line(axes: Axes, places: Sequence[float], values: Sequence[Sequence[float]], marker: str, colour: str) -> None:
    middle = [value for value, _, _ in values]
    spread = [[value - low for value, low, _ in values], [high - value for value, _, high in values]]
    axes.errorbar(
        places,
        middle,
        yerr=spread,
        elinewidth=0.8,
        capsize=1.5,
        marker=marker,
        markersize=3,
        linewidth=1.0,
        color=colour,
    )


def _legend(sheet: Sheet, top: float) -> float:
    left = MARGIN
    for name, (marker, colour) in MARKS.items():
        line = sheet.axes(left, top + 0.01, 0.24, 0.1)
        line.set_axis_off()
        line.plot([0, 1, 2], [0, 0, 0], color=colour, marker=marker, markersize=3, markevery=[1], linewidth=1.0)
        sheet.text(left + 0.28, top, name, SMALL)
        left += 0.8
    line = sheet.axes(left, top + 0.01, 0.24, 0.1)
    line.set_axis_off()
    line.axhline(0.5, color="#555555", linewidth=0.8, linestyle="--")
    return sheet.text(left + 0.28, top, "without editing", SMALL)


def sweep_numbers(
    points: Mapping[str, Mapping[float, Values]], plain: Values, measures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return one entry per point, and one per measure of the plain model."""

    def entry(measure: str, edited: str, weight: float | None, values: Values) -> dict[str, Any]:
        numbers = dict(zip(("value", "low", "high"), values[measure], strict=True))
        return {"metric": measure, "edited": edited, "lambda": weight, **numbers}

    found = [entry(measure, "nothing", None, plain) for measure in measures]
    for edited, some in points.items():
        for weight, values in some.items():
            found += [entry(measure, edited, weight, values) for measure in measures]
    return found
