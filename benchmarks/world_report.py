"""Tables and pictures of the worlds' reports: ``python benchmarks/world_report.py``.

Reads, from ``benchmarks/results``, ``acceptance.json`` and ``acceptance_sound.json`` (of ``lime-xai world accept``) and
``world_*.json`` (of ``lime-xai world --json``); writes Markdown beside them, the tables of ``docs/explanation`` and
pictures in ``docs/_static``. Nothing is measured. A world without reports is left out.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from benchmarks.pages import DOCS, RESULTS, Report, at, cost, put, table
from lime_xai.evaluation.bootstrap import bounded
from lime_xai.worlds import WORLDS, World
from lime_xai.worlds.shared.causes import CELLS
from lime_xai.worlds.shared.criteria import KIND_NAMES

PAGES = {"scene": DOCS / "explanation" / "policies.md", "sound": DOCS / "explanation" / "sound-world.md"}
"""Pages with the table of a world's shipped model."""

STATIC = DOCS / "_static"
COLUMNS = (
    ("CHAIR_i", "no_repeat.chair_i"),
    ("F1", "no_repeat.f1"),
    ("recall", "no_repeat.recall"),
    ("dialogue AUC", "splits.dialogue.auc"),
)
"""Captions under the ban on naming twice, and the split that text misleads most."""

SPLITS = ("random", "dialogue")
COMPARED = (
    ("F1 of captions without repeats", "no_repeat.f1"),
    ("accuracy of random questions", "splits.random.accuracy"),
    ("AUC of dialogues", "splits.dialogue.auc"),
)
"""Whose changes are compared over the models of a world."""


def made(report: Report) -> str:
    """Return what a report was measured on."""
    return f"seed {report['seed']}, {report['scenes']} scenes, noise {report['noise']}"


def acceptance_pages(reports: Mapping[str, Report]) -> str:
    """Return an overview of verdicts, then criterion, measured and verdict of every model."""
    parts = ["Criteria missed, of those that bind:\n"]
    overview = []
    for name, report in reports.items():
        bound = [row for row in report["rows"] if row["verdict"]]
        missed = [row["measure"] for row in bound if row["verdict"] == "miss"]
        count = f"{len(missed)} of {len(bound)}"
        overview.append((name, KIND_NAMES[report["kind"]], count, "; ".join(missed) or "none"))
    parts.append(table(("model", "kind", "missed", "which"), overview))
    for name, report in reports.items():
        parts.append(
            f"\n## {name}\n\n{KIND_NAMES[report['kind']].capitalize()}, {report['parameters']:,} parameters, "
            f"{made(report)}, SHA-256 "
        )
        parts[-1] += f"`{report['weights']}`.\n"
        rows = [
            (row["measure"], row["criterion"], bounded(row["value"], row["low"], row["high"]), row["verdict"])
            for row in report["rows"]
        ]
        parts.append(table(("measure", "criterion", "measured", ""), rows))
    return "\n".join(parts) + "\n"


def policy_pages(reports: Mapping[str, Report]) -> str:
    """Return, per model, policies with intervals and with paired differences from the plain model."""
    parts = []
    for name, report in reports.items():
        parts.append(f"## {name}\n\n{made(report)}; captions under the ban on naming an object twice.\n")
        values, changes = [], []
        for policy, row in report["policies"].items():
            cells = [bounded(at(row, key), *row["intervals"][key]) for _, key in COLUMNS]
            values.append((policy, *cells, cost(row)))
            if row["differences"]:
                changes.append((policy, *(bounded(*row["differences"][key]) for _, key in COLUMNS)))
        header = [title for title, _ in COLUMNS]
        parts += [table(("policy", *header, "cost"), values), "\nChange against the plain model, paired over scenes:\n"]
        parts += [table(("policy", *header), changes), ""]
    return "\n".join(parts)


def mask_page(reports: Mapping[str, Report], before: Mapping[str, Any]) -> str:
    """Return captions under the ban with the plausibility mask behind it, beside those with the mask before it.

    Captions without the ban and closed questions did not change.
    """
    header = ("model", "policy", "CHAIR_i before", "now", "F1 before", "now", "finished before", "now")
    rows = []
    for name, policies in before.items():
        for policy, old in policies.items():
            new = reports[name]["policies"][policy]["no_repeat"]
            pairs = [f"{side[key]:.3f}" for key in ("chair_i", "f1", "finished") for side in (old, new)]
            rows.append((name, policy, *pairs))
    return table(header, rows) + "\n"


def draw_causes(world: World, reports: Mapping[str, Report], out: Path) -> None:
    """Draw what raises the partner's probability, two by two, in captions and in dialogues, for every model."""
    figure, axes = plt.subplots(2, 1, figsize=(9, 5.4), sharex=True, layout="constrained")
    colours = ("#4c4c4c", "#c44e52", "#4c72b0", "#bbbbbb")
    for axis, event in zip(axes, ("captions, P(partner)", "dialogue, P(yes)"), strict=True):
        for offset, (cell, colour) in enumerate(zip(CELLS, colours, strict=True)):
            kind = cell.format(medium=world.medium)
            found = [
                next(row for row in report["rows"] if row["measure"] == f"{event}: {kind}")
                for report in reports.values()
            ]
            places = [index + (offset - 1.5) * 0.2 for index in range(len(found))]
            heights = [row["value"] for row in found]
            spread = [[r["value"] - r["low"] for r in found], [r["high"] - r["value"] for r in found]]
            axis.bar(places, heights, 0.2, color=colour, label=kind, yerr=spread, ecolor="black", capsize=2)
        axis.set_ylabel(event)
        axis.set_ylim(0, 1)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_xticks(range(len(reports)), list(reports))
    axes[0].legend(title="evidence for the absent partner", ncols=4, frameon=False, loc="upper center")
    figure.savefig(out, dpi=150)
    plt.close(figure)


def draw_policies(reports: Mapping[str, Report], out: Path) -> None:
    """Draw the change of each of ``COLUMNS`` that each policy brings, one dot with its interval per model."""
    policies = list(
        dict.fromkeys(p for r in reports.values() for p, row in r["policies"].items() if row["differences"])
    )
    figure, axes = plt.subplots(
        1, len(COLUMNS), figsize=(11, 0.5 * len(policies) + 1.4), sharey=True, layout="constrained"
    )
    for axis, (title, key) in zip(axes, COLUMNS, strict=True):
        for number, report in enumerate(reports.values()):
            shift = (number - (len(reports) - 1) / 2) * 0.14
            for place, policy in enumerate(policies):
                row = report["policies"].get(policy)
                if row is None or row["differences"][key][0] is None:
                    continue
                value, low, high = row["differences"][key]
                error = [[value - low], [high - value]]
                axis.errorbar(value, place + shift, xerr=error, fmt="o", ms=3, lw=1, color=f"C{number}")
        axis.axvline(0, color="black", lw=0.8)
        axis.set_xlabel(f"change of {title}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(policies)), policies)
    axes[0].invert_yaxis()
    shown = [Line2D([], [], marker="o", ms=3, lw=1, color=f"C{number}") for number in range(len(reports))]
    figure.legend(shown, list(reports), loc="outside upper center", ncols=len(reports), frameon=False)
    figure.savefig(out, dpi=150)
    plt.close(figure)


def policies_table(report: Report) -> str:
    """Return the table of a model: plain captions, captions under the ban, questions, grounding, cost."""
    header = ("", "CHAIR_i / F1", "no-repeat CHAIR_i", "no-repeat F1", "its change", "finished")
    header += ("random", "dialogue", "grounding of names", "cost")
    rows = []
    for policy, row in report["policies"].items():
        change = bounded(*row["differences"]["no_repeat.f1"]) if row["differences"] else ""
        pairs = [f"{row['splits'][split]['accuracy']:.3f} / {row['splits'][split]['auc']:.3f}" for split in SPLITS]
        rows.append(
            (
                f"`{policy}`",
                f"{row['chair_i']:.3f} / {row['f1']:.3f}",
                bounded(row["no_repeat"]["chair_i"], *row["intervals"]["no_repeat.chair_i"]),
                f"{row['no_repeat']['f1']:.3f}",
                change,
                f"{row['no_repeat']['finished']:.2f}",
                *pairs,
                f"{row['grounding']['name']:.2f}",
                cost(row),
            )
        )
    return table(header, rows)


def answers_table(report: Report) -> str:
    """Return accuracy, F1 of yes and of no, and AUC of every split."""
    rows = []
    for policy, row in report["policies"].items():
        names = ("accuracy", "f1_yes", "f1_no", "auc")
        cells = [" / ".join(f"{split[name]:.3f}" for name in names) for split in row["splits"].values()]
        rows.append((f"`{policy}`", *cells))
    splits = next(iter(report["policies"].values()))["splits"]
    return table(("accuracy / F1 of yes / F1 of no / AUC", *splits), rows)


def relevance_table(report: Report) -> str:
    """Return where the relevance of the true names of captions lies, with the change that each policy brings."""
    rows = []
    for policy, row in report["policies"].items():
        cells = [bounded(row["relevance"][key], *row["intervals"][f"relevance.{key}"]) for key in ("share", "inside")]
        changes = [
            bounded(*row["differences"][f"relevance.{key}"]) if row["differences"] else ""
            for key in ("share", "inside")
        ]
        rows.append((f"`{policy}`", cells[0], changes[0], cells[1], changes[1]))
    return table(("", "reliance", "its change", "inside the thing", "its change"), rows)


def models_tables(measured: Mapping[str, Report]) -> str:
    """Return what each policy changes on every model of a world, a table for each measure of ``COMPARED``.

    Reports on fewer scenes than another of their model are left out.
    """
    whole = {name: report for name, report in measured.items() if name == report["model"]}
    policies = dict.fromkeys(
        name for report in whole.values() for name, row in report["policies"].items() if row["differences"]
    )
    parts = []
    for title, key in COMPARED:
        rows = []
        for policy in policies:
            found = [report["policies"].get(policy) for report in whole.values()]
            cells = ["" if row is None else bounded(*row["differences"][key]) for row in found]
            rows.append((f"`{policy}`", *cells))
        parts.append(f"Change of the {title}:\n\n{table(('', *whole), rows)}")
    return "\n\n".join(parts)


MADE = {"world": policies_table, "answers": answers_table, "relevance": relevance_table}
"""Writers of the tables of a page, by mark."""


def titled(reports: Sequence[Report]) -> dict[str, Report]:
    """Return reports by model; the name of one on fewer scenes than another of its model tells their number.

    Raises
    ------
    ValueError
        If two reports of a model are on as many scenes.
    """
    most: dict[str, int] = {}
    for report in reports:
        most[report["model"]] = max(report["scenes"], most.get(report["model"], 0))
    found: dict[str, Report] = {}
    for report in reports:
        few = report["scenes"] < most[report["model"]]
        name = f"{report['model']}, {report['scenes']} scenes" if few else report["model"]
        if name in found:
            raise ValueError(
                f"two reports of the {report['world']} world are on {report['scenes']} scenes of the model "
                f"{report['model']}, one was expected; measure the policies of both into one file of {RESULTS}"
            )
        found[name] = report
    return found


def update_page(page: Path, measured: Mapping[str, Report]) -> None:
    """Put the tables of the bundled model between their marks on a page; a page has the marks of those it shows.

    The table ``few`` holds policies that were measured on fewer scenes, ``models`` compares the models.
    """
    text = page.read_text(encoding="utf-8")
    report = measured["bundled"]
    tables = {kind: write(report) for kind, write in MADE.items() if f"<!-- {kind}-table -->" in text}
    few = {name: one for name, one in measured.items() if name != one["model"]}
    if few:
        parts = [f"{one['model']}, {made(one)}:\n\n{policies_table(one)}" for one in few.values()]
        tables["few"] = "\n\n".join(parts)
    if "<!-- models-table -->" in text:
        tables["models"] = models_tables(measured)
    for mark, table_text in tables.items():
        text = put(text, mark, table_text, page)
    page.write_text(text, encoding="utf-8")


def write_world(world: World, accepted: Path, label: str) -> None:
    """Write the pages, pictures and tables of one world.

    Parameters
    ----------
    world : World
        Whose reports are read.
    accepted : Path
        Its report of acceptance.
    label : str
        Added to the names of what is written.
    """
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("world_*.json"))]
    measured = titled([report for report in reports if report["world"] == world.name])
    acceptance = json.loads(accepted.read_text(encoding="utf-8"))
    pages = {f"acceptance{label}.md": acceptance_pages(acceptance), f"world{label}.md": policy_pages(measured)}
    if world.name == "scene":
        before = json.loads((RESULTS / "mask_before.json").read_text(encoding="utf-8"))
        pages["mask.md"] = mask_page(measured, before)
    for name, text in pages.items():
        (RESULTS / name).write_text(text, encoding="utf-8")
        print(text)
    draw_causes(world, acceptance, STATIC / f"causes{label}.png")
    if measured:
        draw_policies(measured, STATIC / f"policies{label}.png")
    if "bundled" in measured:
        update_page(PAGES[world.name], measured)


def main() -> None:
    """Write everything that there are reports for; print the Markdown."""
    for world in WORLDS.values():
        label = "" if world.name == "scene" else f"_{world.name}"
        accepted = RESULTS / f"acceptance{label}.json"
        if accepted.exists():
            write_world(world, accepted, label)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
