"""The form that tables of results have in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lime_xai.printing import foreign


def titled_table(title: str, columns: Iterable[str], caption: str | None = None) -> Table:
    """Return an empty table whose title and caption are printed as they are, on the left.

    Parameters
    ----------
    title : str
        Stands above the table.
    columns : iterable of str
        Headings of columns whose long cells are broken; others can be added behind them.
    caption : str, optional
        Stands below the table.
    """
    table = Table(
        title=foreign(title, "table.title"),
        caption=None if caption is None else foreign(caption, "table.caption"),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
