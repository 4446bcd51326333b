"""Tables of a comparison, for the terminal and for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from lime_xai.names import unknown_name

from .registry import metric_of

if TYPE_CHECKING:
    from .report import Comparison

_WIDE = 3
"""Columns of a table for the terminal."""


def comparison_tables(comparison: Comparison) -> Group:
    """Return one table per family of metrics, then one of differences against the first method.

    Parameters
    ----------
    comparison : Comparison
        Columns without any value are left out and named at the end.
    """
    count = len(comparison.clusters)
    heading = f"{count} examples in {len(set(comparison.clusters))} clusters, 95 % bootstrap intervals over clusters"
    tables: list[Table | str] = [heading]
    tables += [_means(comparison, title, part) for title, part in _parts(comparison.measured)]
    if len(comparison.methods) > 1:
        ranked = [c for c in comparison.measured if metric_of(c).better is not None and "@" not in c]
        first = comparison.methods[0]
        tables += [_differences(comparison, f"{title}, change against {first}", part) for title, part in _parts(ranked)]
    missing = [column for column in comparison.metrics if column not in comparison.measured]
    note = f"not measured: {', '.join(missing)} (undefined for every example; memory needs a CUDA device)"
    return Group(*tables, *([note] if missing else []))


def _parts(columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the columns that stand in one table, with its title: of one family and replacement, few enough to fit."""
    families: dict[str, list[str]] = {}
    for column in columns:
        kind = column.partition("@")[2]
        families.setdefault(metric_of(column).family + (f" ({kind})" if kind else ""), []).append(column)
    return [
        (title, found[start : start + _WIDE])
        for title, found in families.items()
        for start in range(0, len(found), _WIDE)
    ]


def _heading(column: str) -> str:
    return f"{column} {metric_of(column).arrow}".strip()


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(_heading(column), justify="right")
    return table


def _means(comparison: Comparison, title: str, columns: Sequence[str]) -> Table:
    table = _table(title, columns)
    best = {column: comparison.best(column) for column in columns}
    for method in comparison.methods:
        cells = []
        for column in columns:
            cell = escape(str(comparison.summary[method][column]))
            cells.append(f"[bold]{cell}[/bold]" if method in best[column] else cell)
        table.add_row(escape(method), *cells)
    return table


def _differences(comparison: Comparison, title: str, columns: Sequence[str]) -> Table:
    table = _table(title, columns)
    for method, found in comparison.differences.items():
        table.add_row(escape(method), *(escape(str(found[column])) for column in columns))
    return table


def latex_table(comparison: Comparison, columns: Sequence[str]) -> str:
    """Return a booktabs table: means, intervals in small print, the best mean of each column bold.

    Raises
    ------
    ValueError
        For a column that the comparison does not have.
    """
    for column in columns:
        if column not in comparison.metrics:
            raise unknown_name("metric", column, comparison.metrics)
    arrows = {"high": r" $\uparrow$", "low": r" $\downarrow$", None: ""}
    heads = [_tex(column) + arrows[metric_of(column).better] for column in columns]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [" & ".join(["method", *heads]) + r" \\", r"\midrule"]
    best = {column: comparison.best(column) for column in columns}
    for method in comparison.methods:
        cells = [_cell(str(comparison.summary[method][column]), method in best[column]) for column in columns]
        lines.append(" & ".join([_tex(method), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(text: str, best: bool) -> str:
    value, bracket, interval = text.partition(" [")
    shown = rf"\textbf{{{value}}}" if best else value
    return shown + (rf" {{\scriptsize [{interval}}}" if bracket else "")


def _tex(name: str) -> str:
    found = name.replace("\\", r"\textbackslash ")
    for sign in "_&%#${}":
        found = found.replace(sign, f"\\{sign}")
    return found
