"""Tables of the measurements on photographs: ``python benchmarks/photograph_report.py``.

Reads, from ``benchmarks/results``, ``photographs_acceptance.json`` and, for each model NAME,
``photographs_policies_NAME.json``; ``_fresh_``, ``_cache_``, ``_tuned_`` and ``_sequence_``, of policies too (another
seed; the edit over the cache with its own learning rate and with that of the pictograms; the edit of the sequence); and
``_errors_``, ``_answers_``, ``_detection_``, ``_attention_`` and ``_compare_``. The commands of
``python -m benchmarks.photographs`` wrote them. It also reads ``world_bundled.json`` and ``grounding.json``, of the
pictograms, beside which they are shown. Writes the tables into the page of photographs, between their marks, and
prints them. Nothing is measured. A table without a report is left as it is, and named. Reports of one model that were
measured with different weights, or with others than ``protocol.json`` has, are refused, and so are columns of one table
that were measured differently.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compare_report import table as compare_table
from grounding import DETECTORS, Mention, resampled

from benchmarks.pages import DOCS, RESULTS, Report, put, table
from benchmarks.photographs.assemble import PROTOCOL
from benchmarks.photographs.criteria import CRITERIA
from benchmarks.photographs.measured import bounded_or_few
from benchmarks.photographs.policy_tables import BESIDE, answers, captions, change, few, rankings, reliance
from lime_xai import Comparison
from lime_xai.evaluation.attributions.registry import metric_of
from lime_xai.evaluation.bootstrap import bounded, estimate
from lime_xai.worlds.shared.models import read_protocol

PAGE = DOCS / "explanation" / "photographs.md"
PICTOGRAMS, DETECTED = "world_bundled.json", "grounding.json"
"""Reports of the pictograms: of policies, and of numbers that tell invented objects."""
OTHER = ("fresh", "cache", "tuned", "sequence")
"""Kinds of reports of policies that have a table of ``FEW``."""
KINDS = ("policies", *OTHER, "errors", "answers", "detection", "attention", "compare")
METRICS = ("pointing", "mass", "rank", "deletion", "insertion", "perceptual_share", "residual")


def reports(kind: str) -> dict[str, Report]:
    """Return the reports of one kind by the name of their model."""
    begin = f"photographs_{kind}_"
    paths = sorted(RESULTS.glob(f"{begin}*.json"))
    return {path.stem.removeprefix(begin): json.loads(path.read_text(encoding="utf-8")) for path in paths}


def measured(report: Report) -> str:
    """Return the SHA-256 of the weights that a report is of."""
    found: Any = report.get("weights") or report.get("about", report).get("model")
    return str(found or report["header"]["weights"])


def check_weights(accepted: Mapping[str, Report]) -> None:
    """Refuse reports of one model that are of other weights than its first one, or than ``protocol.json`` has.

    Raises
    ------
    ValueError
        Naming the reports.
    """
    frozen = read_protocol(PROTOCOL).models
    wanted = {name: one.sha256 for name, one in frozen.items()}
    found = [("photographs_acceptance.json", name, one) for name, one in accepted.items()]
    for kind in KINDS:
        found += [(f"photographs_{kind}_{name}.json", name, one) for name, one in reports(kind).items()]
    other = [file for file, name, one in found if wanted.setdefault(name, measured(one)) != measured(one)]
    if other:
        raise ValueError(
            f"{', '.join(other)}: measured with other weights than {PROTOCOL.name} has for the model, or than its "
            "other reports; measure again with the commands on the page, or take the files away"
        )


def check_alike(where: str, found: Mapping[str, Report]) -> None:
    """Refuse columns of one table that were measured on other scenes.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    for key in ("seed", "scenes", "difficulty", "world", "noise"):
        values = {name: one.get(key) for name, one in found.items()}
        if len(set(values.values())) > 1:
            raise ValueError(f"{where}: {key} is {values}; measure all models on the same scenes for one table")


def acceptance(found: Mapping[str, Report]) -> str:
    """Return what ``CRITERIA`` lists of all models, one column for each, behind the criterion."""
    check_alike("photographs_acceptance.json", found)
    columns = [{row["measure"]: row for row in one["rows"]} for one in found.values()]
    rows = []
    for measure in (one.measure for one in CRITERIA):
        there = [column.get(measure) for column in columns]
        if not any(there):
            continue
        cells = [measure, next(row["criterion"] for row in there if row)]
        for row in there:
            value = f"{bounded(row['value'], row['low'], row['high'])} {row['verdict']}" if row else "not measured"
            cells.append(value.strip())
        rows.append(cells)
    return table(("measure", "criterion", *found), rows)


def beside(pictograms: Report, photographs: Mapping[str, Report]) -> str:
    """Return the changes that each policy brings on pictograms and on each model of photographs."""
    check_alike("photographs_policies_*.json", photographs)
    worlds = {"pictograms": pictograms, **{f"photographs, {name}": one for name, one in photographs.items()}}
    counted = {world: f"{world}, {report['scenes']} scenes" for world, report in worlds.items()}
    rows = []
    for policy in next(iter(photographs.values()))["policies"]:
        if policy == "vanilla":
            continue
        for world, report in worlds.items():
            row = report["policies"].get(policy)
            cells = [change(row, key) for _, key in BESIDE] if row else ["not measured", *[""] * (len(BESIDE) - 1)]
            rows.append((f"`{policy}`" if world == "pictograms" else "", counted[world], *cells))
    return table(("", "on", *(title for title, _ in BESIDE)), rows)


def by_model(kind: str, found: Mapping[str, Report]) -> str:
    """Return the summaries of a command that measures means, by its kind of report: one column per model."""
    check_alike(f"photographs_{kind}_*.json", found)
    names = list(found)
    measures = dict.fromkeys(key for one in found.values() for key in one["summary"])
    rows = [(measure, *(_mean(found[name], measure) for name in names)) for measure in measures]
    return table(("", *names), rows)


def _mean(report: Report, measure: str) -> str:
    """Return a mean with its interval and, in round brackets, of how many values it is, where that was counted."""
    values = report["summary"].get(measure)
    if not values:
        return ""
    if measure not in report.get("counts", {}):
        return bounded(*values)
    count, scenes = report["counts"][measure]
    return f"{bounded_or_few(values, scenes)} ({count})"


def detection(found: Mapping[str, Report], pictograms: Mapping[str, Any]) -> str:
    """Return which numbers tell invented objects, one table per model, beside those of the pictograms."""
    there = {DETECTORS[name][0]: one for name, one in pictograms["auroc"].items()}
    parts = []
    for name, one in found.items():
        about, named = one["about"], [Mention(**mention) for mention in one["mentions"]]
        whole, placed = resampled(named), resampled(named, same_place=True)
        rows = []
        for title, (field, _) in DETECTORS.items():
            other = there[field]
            rows.append(
                (
                    title,
                    bounded(*estimate(whole[title])),
                    bounded(*estimate(placed[title])),
                    bounded(*estimate(whole[title] - whole["low probability"])),
                    bounded(other["value"], other["low"], other["high"]),
                    *(f"{one['medians'][field][kind]:.2f}" for kind in ("seen", "invented")),
                )
            )
        areas = ("area", "at the same place", "minus that of probability", "area, pictograms")
        heading = (
            f"{name}: {about['mentions']} named objects in {about['scenes']} captions, {about['invented']} invented"
        )
        shown = table(("an invented object has", *areas, "median, seen", "median, invented"), rows)
        parts.append(f"{heading}.\n\n{shown}")
    return "\n\n".join(parts)


def compared(paths: Sequence[Path]) -> str:
    """Return the comparison of attribution methods, one table per model."""
    parts = []
    for path in paths:
        found = Comparison.from_json(path)
        columns = [column for column in found.metrics if column.partition("@")[0] in METRICS]
        name, count = path.stem.removeprefix("photographs_compare_"), len(found.examples)
        measured = compare_table(found, columns, changes=False)
        ordered = [column for column in columns if metric_of(column).arrow]  # of the others no end is better
        paired = compare_table(found, ordered, changes=True)
        first = next(iter(found.summary))
        parts.append(f"{name}, {count} questions.\n\n{measured}\n\nThe change against `{first}`, paired.\n\n{paired}")
    return "\n\n".join(parts)


def apart(made: Callable[[Report], str], found: Mapping[str, Report]) -> str:
    """Return one table per model under its name."""
    return "\n\n".join(f"{name}, {one['scenes']} scenes.\n\n{made(one)}" for name, one in found.items())


def tables() -> dict[str, Callable[[], str] | None]:
    """Return what makes the table of each mark; None where there is no report."""
    accepted, worlds = RESULTS / "photographs_acceptance.json", RESULTS / PICTOGRAMS
    detected = RESULTS / DETECTED
    policies, compares = reports("policies"), sorted(RESULTS.glob("photographs_compare_*.json"))
    others = {kind: reports(kind) for kind in OTHER}
    errors, wrong, found, attended = (reports(kind) for kind in ("errors", "answers", "detection", "attention"))

    def read(path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))

    rows = read(accepted) if accepted.exists() else {}
    check_weights(rows)
    return {
        "acceptance": (lambda: acceptance(rows)) if rows else None,
        "captions": (lambda: apart(captions, policies)) if policies else None,
        "reliance": (lambda: apart(reliance, policies)) if policies else None,
        "rankings": (lambda: apart(rankings, policies)) if policies else None,
        "answers": (lambda: apart(answers, policies)) if policies else None,
        "beside": (lambda: beside(read(worlds), policies)) if policies else None,
        **{kind: (lambda one=one: apart(few, one)) if one else None for kind, one in others.items()},
        "errors": (lambda: by_model("errors", errors)) if errors else None,
        "wrong": (lambda: by_model("answers", wrong)) if wrong else None,
        "detection": (lambda: detection(found, read(detected))) if found else None,
        "attention": (lambda: by_model("attention", attended)) if attended else None,
        "compare": (lambda: compared(compares)) if compares else None,
    }


def main(marks: Sequence[str] | None = None) -> None:
    """Write and print every table that there are reports for."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, made in tables().items():
        if marks and mark not in marks:
            continue
        if made is None:
            print(f"{mark}: no report")
            continue
        found = made()
        print(f"\n## {mark}\n\n{found}")
        text = put(text, mark, found, PAGE)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
