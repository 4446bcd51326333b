"""``lime-xai plot``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .common import Events, read_events
from .files import PICTURE, Output, check_outputs


class Kind(StrEnum):
    """Figures of an explained answer."""

    word = "word"
    words = "words"
    matrix = "matrix"
    before_after = "before-after"
    steps = "steps"
    relevance_steps = "relevance-steps"
    sound = "sound"


def read_kind(text: str) -> Kind:
    """Return the figure of a name; underscores are read as hyphens, as the methods are named with underscores.

    Raises
    ------
    typer.BadParameter
        For another name; lists the names.
    """
    name = text.replace("_", "-")
    if name not in list(Kind):
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(Kind)}.")
    return Kind(name)


def plot(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="What --save of attribute or explain wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Figure to write, PNG, PDF, SVG or JPEG; its numbers go to a CSV file."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Page of an explained answer to write.")] = None,
    kind: Annotated[
        Kind, typer.Option(parser=read_kind, metavar=f"[{'|'.join(Kind)}]", help="Of an explained answer.")
    ] = Kind.word,
    word: Annotated[
        str | None, typer.Option(help="Word of the answer; by default the one with the lowest grounding.")
    ] = None,
    events: Events = None,
    columns: Annotated[int, typer.Option(min=1, max=2, help="Width: 1 or 2 columns of a page of a journal.")] = 2,
) -> None:
    """Draw a saved attribution or explained answer again."""
    if out is None and html is None:
        raise typer.BadParameter("nothing to write; give --out or --html.")
    if events is not None and html is None and kind is not Kind.sound:
        raise typer.BadParameter("--events is drawn by --kind sound and on the page of --html; give one of them.")
    check_outputs([Output("--out", out, PICTURE), Output("--html", html, (".html",))], [file])
    from .run_plot import run_plot

    run_plot(file, out, html, kind.value, word, 1 if columns == 1 else 2, read_events(events))
