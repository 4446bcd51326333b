"""The tables of a world report, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.bootstrap import bounded
from lime_xai.printing import foreign
from lime_xai.worlds import scene

from .rows import SHOWN_DIFFERENCES

Row = Mapping[str, Any]

_PAIRED = "paired over scenes, 95 % bootstrap intervals; *: naming an object twice is forbidden"


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


def _banned(rows: Mapping[str, Row]) -> Table:
    table = _table("captions, naming an object twice forbidden", ("CHAIR_i", "recall", "F1", "finished", "empty"))
    for name, row in rows.items():
        ban = row["no_repeat"]
        table.add_row(foreign(name), *(_number(ban[key]) for key in ("chair_i", "recall", "f1", "finished", "empty")))
    return table


def _change(row: Row, name: str) -> str:
    return bounded(*row["differences"][name]).replace("0.", ".")


def _differences(rows: Mapping[str, Row]) -> Table:
    table = _table("change against the plain model", ("CHAIR_i*", "F1*", "dialogue AUC"), _PAIRED)
    for name, row in rows.items():
        if row["differences"]:
            table.add_row(foreign(name), *(_change(row, key) for key in SHOWN_DIFFERENCES))
    return table


def _closed(rows: Mapping[str, Row]) -> Table:
    table = _table("closed questions: accuracy / AUC", (*scene.SPLITS, "image share"))
    for name, row in rows.items():
        splits = [f"{_number(s['accuracy'])}/{_number(s['auc'])}" for s in row["splits"].values()]
        table.add_row(foreign(name), *splits, _number(row["image_share"]))
    return table


def _beyond(rows: Mapping[str, Row]) -> Table:
    columns = ("colour", "side", "count", "2nd true", "name", "yes", "colour", "side")
    caption = "accuracy of words, share of true second sentences; grounding: nats lost without the object's pixels"
    table = _table("beyond names, and grounding", columns, caption)
    for name, row in rows.items():
        words = [row["open"][kind]["accuracy"] for kind in ("colour", "side", "count")]
        nats = [row["grounding"][kind] for kind in ("name", "yes", "colour", "side")]
        table.add_row(
            foreign(name), *map(_number, words), _number(row["detailed"]["true"]), *(_number(n, ".2f") for n in nats)
        )
    return table


def world_tables(heading: str, rows: Mapping[str, Row]) -> Group:
    """Return the tables of a report.

    Parameters
    ----------
    heading : str
        What was measured.
    rows : mapping of str to mapping
        ``WorldReport.policies``.
    """
    tables = [_captions(heading, rows), _banned(rows), _closed(rows), _beyond(rows)]
    if any(row["differences"] for row in rows.values()):
        tables.insert(2, _differences(rows))
    return Group(*tables)
