"""Table and figure of a report of ``benchmarks.sweep``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from lime_xai.attribution.colours import PARTS
from lime_xai.attribution.figure import MARGIN
from lime_xai.attribution.sheet import LARGE, LINE, SMALL, Columns, Sheet, ShownFigure, fonts, label_axes
from lime_xai.evaluation.bootstrap import bounded

METRICS = {
    "f1": "F1 of captions",
    "chair_i": "CHAIR_i of captions",
    "auc": "AUC of dialogue answers",
}
"""Drawn: the name in the report, and in words."""

MARKS = {"keys": ("o", PARTS[0]), "values": ("s", PARTS[1]), "both": ("D", PARTS[2])}
"""Marker and colour of what is edited; the markers differ too."""

_TALL = 1.7
"""Inches of a panel."""


def points(report: Mapping[str, Any]) -> dict[str, dict[float, Any]]:
    """Return the rows by what is edited and by lambda, in order; without the plain model."""
    found: dict[str, dict[float, Any]] = {name: {} for name in MARKS}
    for name, row in report["rows"].items():
        edited, comma, weight = name.partition(", ")
        if comma:
            found[edited][float(weight)] = row
    return {edited: dict(sorted(rows.items())) for edited, rows in found.items()}


def sweep_figure(report: Mapping[str, Any], rates: Mapping[str, float], columns: Columns = 2) -> ShownFigure:
    """Return a panel per metric: a line over lambda for keys, values and both, with intervals; the plain model grey."""
    sheet = Sheet(columns)
    rows = points(report)
    weights = sorted({weight for some in rows.values() for weight in some})
    inner = sheet.width - 2 * MARGIN
    title = "The paper's edit over the weight lambda of the divergence"
    top = sheet.wrapped(MARGIN, MARGIN, title, inner, LARGE) + 0.05
    top = _legend(sheet, top) + 0.08
    room, gap = 0.42, 0.1
    wide = (inner - gap * (len(METRICS) - 1)) / len(METRICS) - room
    for index, (metric, words) in enumerate(METRICS.items()):
        left = MARGIN + room + index * (wide + room + gap)
        axes = sheet.axes(left, top, wide, _TALL)
        _plain(axes, report["rows"]["plain"]["values"][metric])
        for number, (edited, some) in enumerate(rows.items()):
            places = [weights.index(weight) + 0.14 * (number - 1) for weight in some]
            _line(axes, places, [row["values"][metric] for row in some.values()], *MARKS[edited])
        axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights], fontsize=SMALL, family=fonts())
        axes.set_xlim(-0.5, len(weights) - 0.5)
        label_axes(axes, "lambda", words)
    bottom = top + _TALL + 3.2 * SMALL * LINE
    for line in about(report, rates):
        bottom = sheet.wrapped(MARGIN, bottom, line, inner, SMALL, color="#333333")
    return sheet.finished(bottom + MARGIN, numbers(report))


def _plain(axes: Axes, value: Any) -> None:
    middle, low, high = value
    axes.axhspan(low, high, color="#000000", alpha=0.08, linewidth=0)
    axes.axhline(middle, color="#555555", linewidth=0.8, linestyle="--")


def _line(axes: Axes, places: list[float], values: list[Any], marker: str, colour: str) -> None:
    middle = [value for value, _, _ in values]
    spread = [[v - low for v, low, _ in values], [high - v for v, _, high in values]]
    style = {"marker": marker, "markersize": 3, "linewidth": 1.0, "color": colour}
    axes.errorbar(places, middle, yerr=spread, elinewidth=0.8, capsize=1.5, **style)


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


def about(report: Mapping[str, Any], rates: Mapping[str, float]) -> list[str]:
    """Return what was measured, in words."""
    chosen = ", ".join(f"{edited} {rate:g}" for edited, rate in rates.items())
    return [
        f"Scene world, {report['model']} model, {report['scenes']} scenes of confirmation seed {report['seed']}; edit "
        f"in {report['scope']} scope, all layers, 7 steps; naming an object twice is forbidden. Bars and band: 95 % "
        "bootstrap intervals over scenes.",
        f"Learning rates with the best F1 at lambda 0.1 on {report['tuning_scenes']} scenes of tuning seed "
        f"{report['tuning_seed']}: {chosen}.",
    ]


def numbers(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry per point, and one per metric of the plain model."""
    found = []
    for metric in METRICS:
        low_high = dict(zip(("value", "low", "high"), report["rows"]["plain"]["values"][metric], strict=True))
        found.append({"metric": metric, "edited": "nothing", "lambda": None, **low_high})
    for edited, some in points(report).items():
        for weight, row in some.items():
            for metric in METRICS:
                low_high = dict(zip(("value", "low", "high"), row["values"][metric], strict=True))
                found.append({"metric": metric, "edited": edited, "lambda": weight, **low_high})
    return found


def sweep_page(report: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    """Return the Markdown page: values, then changes against the plain model, paired over scenes."""
    parts = [*about(report, rates), ""]
    header = f"| edited | lambda | {' | '.join(METRICS.values())} | recall | finished |"
    rule = f"| --- | ---: |{' ---: |' * (len(METRICS) + 2)}"
    names = (*METRICS, "recall", "finished")
    listed = [("nothing", "", report["rows"]["plain"])]
    listed += [(edited, f"{w:g}", row) for edited, some in points(report).items() for w, row in some.items()]
    for key, title in (("values", ""), ("differences", "Change against the model without editing:")):
        parts += [title, "", header, rule] if title else [header, rule]
        for edited, weight, row in listed:
            if key == "differences" and not weight:
                continue
            cells = " | ".join(bounded(*row[key][name]) for name in names)
            parts.append(f"| {edited} | {weight} | {cells} |")
        parts.append("")
    return "\n".join(parts)
