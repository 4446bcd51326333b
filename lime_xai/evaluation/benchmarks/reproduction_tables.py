"""A reproduction as tables for the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.titled import titled_table
from lime_xai.printing import foreign

from .paper import SOURCE, Cell
from .reproduction import Reproduction, Row
from .scoring import Estimate


def reproduction_tables(found: Reproduction) -> Group:
    """Return a table of our values beside the paper's cells, one of cells that are not run here, and the notes."""
    tables = [_beside(found)]
    if others := found.others():
        tables.append(_others(others))
    return Group(*tables, _notes(found))


def _beside(found: Reproduction) -> Table:
    drawn = f"95 % intervals by bootstrap over {found.found.units} units" if found.found.units > 1 else "one unit"
    cells = f"paper: {SOURCE}" if found.cells() else "the paper has no cells for this model and these items"
    table = titled_table(found.title, ("group", "measure", "row", "ours", "paper"), f"percent; {drawn}; {cells}")
    for group in found.found.groups:
        for measure in found.subject.shown:
            for place, row in enumerate(found.rows):
                first = (group, measure) if place == 0 else ("", "")
                ours, paper = _ours(found.ours(row, group, measure)), _paper(found, row, group, measure)
                table.add_row(*map(foreign, (*first, row.name)), foreign(ours), foreign(paper))
            table.add_section()
    return table


def _ours(found: Estimate) -> str:
    value, low, high = found
    if value != value:
        return "-"
    return f"{value:.2f}" if low != low or high != high else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _paper(found: Reproduction, row: Row, group: str, measure: str) -> str:
    cell = found.cell(row, group, measure)
    return "" if cell is None else f"{cell.value:.2f} ({cell.row}, {cell.table})"


def _others(cells: list[Cell]) -> Table:
    table = titled_table(
        "cells of the paper for methods that are not run here", ("group", "measure", "method", "paper")
    )
    for cell in cells:
        table.add_row(*map(foreign, (cell.group, cell.measure, cell.row)), foreign(f"{cell.value:.2f} ({cell.table})"))
    return table


def _notes(found: Reproduction) -> Table:
    table = titled_table("what is not the paper's setting, or not known to be", ("of", "note"))
    remarks = dict.fromkeys(f"{cell.table}: {cell.remark}" for cell in found.cells() if cell.remark)
    for note in (*found.notes, *remarks):
        table.add_row("all rows", foreign(note))
    for row in found.rows:
        table.add_row(foreign(row.name), foreign(row.note))
    return table
