"""The result of a benchmark as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.bootstrap import bounded
from lime_xai.printing import foreign

from .results import Results
from .scoring import Estimate
from .texts import TEXTS

_ARROWS = {"high": "higher is better", "low": "lower is better", None: ""}


def result_tables(found: Results) -> Group:
    """Return the tables of a result: measures by group, changes, and what the answers are like."""
    tables = [_measures(found)]
    if found.against is not None:
        tables.append(_differences(found, found.against))
    return Group(*tables, _texts(found))


def _table(title: str, columns: Sequence[str], caption: str, leading: Sequence[str] = ("system",)) -> Table:
    table = Table(
        title=foreign(title, "table.title"),
        caption=foreign(caption, "table.caption"),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for name in leading:
        table.add_column(name)
    for column in columns:
        table.add_column(foreign(column), justify="right")
    return table


def _cells(values: Mapping[str, Estimate], names: Sequence[str]) -> list[str]:
    """Return values with their intervals, each on two lines; a dash where there is none."""
    return [_cell(values[name]) for name in names]


def _cell(found: Estimate) -> str:
    value, low, high = (None if one != one else one for one in found)
    return bounded(value, low, high).replace(" [", "\n[")


def _measures(found: Results) -> Table:
    names = list(found.kinds)
    titles = [f"{name}\n{_ARROWS[found.kinds[name].better]}".strip() for name in names]
    several = len(found.groups) > 1
    table = _table(found.benchmark, titles, found.caption, ("group", "system") if several else ("system",))
    for group in found.groups:
        for name, system in found.systems.items():
            leading = [foreign(group), foreign(name)] if several else [foreign(name)]
            table.add_row(*leading, *_cells(system.measures[group], names))
        table.add_section()
    return table


def _differences(found: Results, against: str) -> Table:
    names = list(found.kinds)
    tested = any(system.mcnemar is not None for system in found.systems.values())
    note = f"{found.overall}, paired over items" if len(found.groups) > 1 else "paired over items"
    if tested:
        note += "; gained, lost: items that only it, or only the other, answers rightly; p: McNemar's exact test"
    table = _table(f"change against {against}", [*names, *(("gained", "lost", "p") if tested else ())], note)
    for name, system in found.systems.items():
        if system.differences is None:
            continue
        cells = _cells(system.differences[found.overall], names)
        test = system.mcnemar
        if test is not None:
            cells += [str(test.gained), str(test.lost), f"{test.p:.3g}"]
        table.add_row(foreign(name), *cells)
    return table


def _texts(found: Results) -> Table:
    known = [name for name in TEXTS if any(system.texts[name] is not None for system in found.systems.values())]
    caption = "; ".join(f"{name}: {TEXTS[name]}" for name in known)
    table = _table("answers", known, caption)
    for name, system in found.systems.items():
        values = [system.texts[key] for key in known]
        table.add_row(foreign(name), *("-" if value is None else f"{value:.3g}" for value in values))
    return table
