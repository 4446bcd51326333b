"""Tables of a summary, for the terminal and for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from lime_xai.errors import unknown_name
from lime_xai.printing import foreign

from .registry import metric_of
from .summary import Summary

_WIDE = 3
"""Columns of a table for the terminal."""


def comparison_tables(summary: Summary) -> Group:
    """Return one table per family of metrics, of differences against the first method, and of kinds of replacement.

    Parameters
    ----------
    summary : Summary
        Columns without any value are left out and named at the end.
    """
    count = len(summary.clusters)
    heading = f"{count} examples in {len(set(summary.clusters))} clusters, 95 % bootstrap intervals over clusters"
    tables: list[Table | str] = [heading]
    tables += [_means(summary, title, part) for title, part in _parts(summary.measured)]
    if len(summary.methods) > 1:
        ranked = summary.ranked(summary.measured)
        first = summary.methods[0]
        tables += [_differences(summary, f"{title}, change against {first}", part) for title, part in _parts(ranked)]
        if summary.replacement_agreement:
            tables.append(_agreement(summary))
    missing = [column for column in summary.metrics if column not in summary.measured]
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
    table = Table(title=foreign(title, "table.title"), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(foreign(_heading(column)), justify="right")
    return table


def _means(summary: Summary, title: str, columns: Sequence[str]) -> Table:
    table = _table(title, columns)
    best = {column: summary.best(column) for column in columns}
    for method in summary.methods:
        means = summary.means[method]
        cells = [foreign(means[column], "bold" if method in best[column] else "") for column in columns]
        table.add_row(foreign(method), *cells)
    return table


def _differences(summary: Summary, title: str, columns: Sequence[str]) -> Table:
    table = _table(title, columns)
    for method, found in summary.differences.items():
        table.add_row(foreign(method), *(foreign(found[column]) for column in columns))
    return table


def _agreement(summary: Summary) -> Table:
    """Return how far kinds of replacement order the methods alike."""
    table = Table(title="order of the methods, by kind of replacement", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("metric", "kinds", "rank correlation", "best"):
        table.add_column(name, justify="right" if name == "rank correlation" else "left")
    for found in summary.replacement_agreement:
        best = ", ".join(found.best[0])
        if found.best[0] != found.best[1]:
            best += f" / {', '.join(found.best[1])}"
        table.add_row(found.metric, " / ".join(found.kinds), foreign(str(found.correlation)), foreign(best))
    return table


def latex_table(summary: Summary, columns: Sequence[str]) -> str:
    """Return a booktabs table: means, intervals in small print, the best mean of each column bold.

    Raises
    ------
    ValueError
        For a column that the comparison does not have.
    """
    for column in columns:
        if column not in summary.metrics:
            raise unknown_name("metric", column, summary.metrics)
    arrows = {"high": r" $\uparrow$", "low": r" $\downarrow$", None: ""}
    best = {column: summary.best(column) for column in columns}
    cells = {
        column + arrows[metric_of(column).better]: [
            _cell(str(summary.means[method][column]), method in best[column]) for method in summary.methods
        ]
        for column in columns
    }
    styled = pd.DataFrame({"method": summary.methods, **cells}).style.hide(axis="index")
    styled = styled.format(escape="latex", subset=["method"]).format_index(escape="latex-math", axis=1)
    text: str = styled.to_latex(hrules=True, column_format="l" + "r" * len(columns))
    return text


def _cell(text: str, best: bool) -> str:
    value, bracket, interval = text.partition(" [")
    shown = rf"\textbf{{{value}}}" if best else value
    return shown + (rf" {{\scriptsize [{interval}}}" if bracket else "")
