"""The result of a benchmark as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.bootstrap import bounded
from lime_xai.evaluation.titled import titled_table
from lime_xai.printing import foreign

from .results import Results
from .scoring import Estimate
from .texts import TEXTS

_BETTER = {"high": "high", "low": "low", None: ""}


def result_tables(found: Results) -> Group:
    """Return the tables of a result: measures by group, changes, and what the answers are like."""
    tables = [_measures(found)]
    if found.against is not None:
        tables.append(_differences(found, found.against))
    return Group(*tables, _texts(found))


def _table(title: str, leading: Sequence[str], systems: Sequence[str], caption: str) -> Table:
    """Return an empty table with a column for each system."""
    table = titled_table(title, leading, caption)
    for name in systems:
        table.add_column(foreign(name), justify="right", overflow="fold")
    return table


_BESIDE = 2
"""Systems up to which an interval stands beside its value, within 80 columns; of more, below it."""


def _cells(values: Sequence[Estimate]) -> list[str]:
    """Return the values of all systems with their intervals; a dash where there is none."""
    cells = [bounded(*(None if one != one else one for one in found)) for found in values]
    return cells if len(cells) <= _BESIDE else [cell.replace(" [", "\n[") for cell in cells]


def _measures(found: Results) -> Table:
    several = len(found.groups) > 1
    caption = f"{found.caption}; better: which values are"
    leading = ("measure", "better", "group") if several else ("measure", "better")
    table = _table(found.benchmark, leading, list(found.systems), caption)
    for name, kind in found.kinds.items():
        for group in found.groups:
            first = (name, _BETTER[kind.better]) if group == found.groups[0] else ("", "")
            row = [*first, group] if several else [*first]
            values = [system.measures[group][name] for system in found.systems.values()]
            table.add_row(*map(foreign, row), *_cells(values))
        if several:
            table.add_section()
    return table


def _differences(found: Results, against: str) -> Table:
    systems = {name: system for name, system in found.systems.items() if system.differences is not None}
    note = f"{found.overall}, paired over units" if len(found.groups) > 1 else "paired over units"
    tests = {name: system.mcnemar for name, system in systems.items() if system.mcnemar is not None}
    if tests:
        note += f"; gained, lost: items that only it, or only {against}, answers rightly; p: McNemar's exact test"
    table = _table(f"change against {against}", ("measure",), list(systems), note)
    for name in found.kinds:
        changes = [(system.differences or {})[found.overall][name] for system in systems.values()]
        table.add_row(foreign(name), *_cells(changes))
    if tests:
        table.add_section()
        table.add_row("gained", *(str(test.gained) for test in tests.values()))
        table.add_row("lost", *(str(test.lost) for test in tests.values()))
        table.add_row("p", *(f"{test.p:.3g}" for test in tests.values()))
    return table


def _texts(found: Results) -> Table:
    known = [name for name in TEXTS if any(system.texts[name] is not None for system in found.systems.values())]
    caption = "; ".join(f"{name}: {TEXTS[name]}" for name in known)
    table = _table("answers", ("of texts",), list(found.systems), caption)
    for name in known:
        values = [system.texts[name] for system in found.systems.values()]
        table.add_row(name, *("-" if value is None else f"{value:.3g}" for value in values))
    return table
