"""Table and figure of a report of ``benchmarks.sweep``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lime_xai.attribution.sheet import Columns, ShownFigure
from lime_xai.evaluation.benchmarks.sweep_figure import MARKS
from lime_xai.evaluation.benchmarks.sweep_figure import sweep_figure as drawn
from lime_xai.evaluation.bootstrap import bounded

METRICS = {
    "f1": "F1 of captions",
    "chair_i": "CHAIR_i of captions",
    "auc": "AUC of dialogue answers",
}
"""Drawn: the name in the report, and in words."""


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
    rows = {edited: {weight: row["values"] for weight, row in some.items()} for edited, some in points(report).items()}
    return drawn(rows, report["rows"]["plain"]["values"], METRICS, about(report, rates), columns)


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
