"""What the writers of tables share: Markdown tables, and their places on a page of the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"

Report = Mapping[str, Any]


def at(row: Report, name: str) -> Any:
    """Return a value by its dotted name."""
    value: Any = row
    for part in name.split("."):
        value = value[part]
    return value


def cost(row: Report) -> str:
    """Return the cost of a policy; a dash where other work on the machine made it meaningless."""
    return "-" if row["cost"] is None else f"{row['cost']:.1f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, first column left and the others right."""
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def put(text: str, mark: str, made: str, page: Path) -> str:
    """Return the text of a page with a table between the marks of its name.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    return put_between(text, f"<!-- {mark}-table -->\n", f"<!-- /{mark}-table -->", made, page, "the table belongs")


def put_between(text: str, begin: str, end: str, made: str, page: Path, where: str) -> str:
    """Return the text of a page with ``made`` between two marks; ``where`` says in an error where they should stand.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin.strip()} with its end {end}; write both where {where}")
    return f"{before}{begin}{made}\n{end}{after}"
