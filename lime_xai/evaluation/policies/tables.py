"""The tables of a world report, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.bootstrap import bounded
from lime_xai.printing import foreign
from lime_xai.worlds import World
from lime_xai.worlds.shared.evaluation import SPLITS
from lime_xai.worlds.shared.language import article

from .rows import SHOWN_DIFFERENCES

Row = Mapping[str, Any]


def _table(title: str, columns: Sequence[str], caption: str | None = None) -> Table:
    table = Table(title=foreign(title, "table.title"), caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _captions(heading: str, rows: Mapping[str, Row]) -> Table:
    columns = ("CHAIR_i", "recall", "F1", "repeated", "finished", "empty", "cost")
    table = _table(f"captions: {heading}", columns, "cost: time per token over the plain model's")
    for name, row in rows.items():
        values = [row[key] for key in ("chair_i", "recall", "f1", "repeated", "finished", "empty")]
        table.add_row(foreign(name), *map(_number, values), _number(row["cost"], ".1f"))
    return table


def _banned(world: World, rows: Mapping[str, Row]) -> Table:
    heading = f"captions, naming {article(world.thing)} twice forbidden"
    table = _table(heading, ("CHAIR_i", "recall", "F1", "finished", "empty"))
    for name, row in rows.items():
        ban = row["no_repeat"]
        table.add_row(foreign(name), *(_number(ban[key]) for key in ("chair_i", "recall", "f1", "finished", "empty")))
    return table


def _change(row: Row, name: str) -> str:
    return bounded(*row["differences"][name]).replace("0.", ".")


def _differences(world: World, rows: Mapping[str, Row]) -> Table:
    caption = f"paired over scenes, 95 % bootstrap intervals; *: naming {article(world.thing)} twice is forbidden"
    table = _table("change against the plain model", ("CHAIR_i*", "F1*", "dialogue AUC"), caption)
    for name, row in rows.items():
        if row["differences"]:
            table.add_row(foreign(name), *(_change(row, key) for key in SHOWN_DIFFERENCES))
    return table


def _closed(world: World, rows: Mapping[str, Row]) -> Table:
    table = _table("closed questions: accuracy / AUC", (*SPLITS, f"{world.modality} share"))
    for name, row in rows.items():
        splits = [f"{_number(s['accuracy'])}/{_number(s['auc'])}" for s in row["splits"].values()]
        table.add_row(foreign(name), *splits, _number(row[f"{world.modality}_share"]))
    return table


def _words(world: World, rows: Mapping[str, Row]) -> Table:
    caption = "accuracy of single words; share of true second sentences"
    table = _table("open questions", (*world.open_kinds, "2nd true"), caption)
    for name, row in rows.items():
        words = [row["open"][kind]["accuracy"] for kind in world.open_kinds]
        table.add_row(foreign(name), *map(_number, words), _number(row["detailed"]["true"]))
    return table


def _grounding(world: World, rows: Mapping[str, Row]) -> Table:
    caption = f"nats that a word loses without the {world.thing}'s {world.matter}"
    table = _table("grounding", world.probe_kinds, caption)
    for name, row in rows.items():
        table.add_row(foreign(name), *(_number(row["grounding"][kind], ".2f") for kind in world.probe_kinds))
    return table


def _relevance(world: World, rows: Mapping[str, Row]) -> Table:
    caption = (
        f"true names of the captions, in the plain model: share of relevance on the {world.medium}; of the positive "
        f"part there, share on the {world.thing} that is named"
    )
    table = _table("relevance", (f"on the {world.medium}", f"of that on the {world.thing}"), caption)
    for name, row in rows.items():
        if "relevance" in row:
            table.add_row(foreign(name), *(_number(row["relevance"][key]) for key in ("share", "inside")))
    return table


def _answers(rows: Mapping[str, Row]) -> Table:
    table = _table("closed questions: F1 of yes / F1 of no", SPLITS)
    for name, row in rows.items():
        if all(split.keys() >= {"f1_yes", "f1_no"} for split in row["splits"].values()):
            table.add_row(
                foreign(name), *(f"{_number(s['f1_yes'])}/{_number(s['f1_no'])}" for s in row["splits"].values())
            )
    return table


def world_tables(world: World, heading: str, rows: Mapping[str, Row]) -> Group:
    """Return the tables of a report.

    Parameters
    ----------
    world : World
        On which it was measured.
    heading : str
        What was measured.
    rows : mapping of str to mapping
        ``WorldReport.policies``.
    """
    tables = [
        _captions(heading, rows),
        _banned(world, rows),
        _closed(world, rows),
        _answers(rows),
        _words(world, rows),
        _grounding(world, rows),
        _relevance(world, rows),
    ]
    if any(row["differences"] for row in rows.values()):
        tables.insert(2, _differences(world, rows))
    return Group(*tables)
