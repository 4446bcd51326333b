"""``lime-xai compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Threads, set_threads
from .files import PICTURE, Output, check_outputs
from .screen import console


def compare(
    methods: Annotated[str, typer.Option(help="Names, separated by commas; others are compared with the first.")],
    world: Annotated[str, typer.Option(help="Name of the embedded world, scene or sound.")] = "scene",
    model: Annotated[str, typer.Option(help="Name of a frozen model of the world, or a folder.")] = "bundled",
    metrics: Annotated[str | None, typer.Option(help="Names, separated by commas; by default all.")] = None,
    replacement: Annotated[
        str, typer.Option(help="deletion, mean, blur, zero or silence (sounds); several separated by commas.")
    ] = "mean,blur",
    questions: Annotated[int, typer.Option(min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Of the scenes; not one used for tuning.")] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Report; an interrupted run resumes from it.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Means and intervals.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Table for booktabs.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Figure, PNG or PDF.")] = None,
    threads: Threads = None,
) -> None:
    """Compare attribution methods on questions about an embedded world."""
    check_outputs(
        [
            Output("--json", out, (".json",)),
            Output("--csv", table, (".csv",)),
            Output("--latex", latex, (".tex",)),
            Output("--plot", plot, PICTURE),
        ]
    )
    from .run_compare import run_compare

    set_threads(threads)
    names = None if metrics is None else metrics.split(",")
    files = {"json": out, "csv": table, "latex": latex, "plot": plot}
    run_compare(console, model, methods.split(","), names, replacement.split(","), questions, seed, files, world)
