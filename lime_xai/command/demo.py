"""``lime-xai demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Threads, set_threads
from .files import PICTURE, Output, check_outputs
from .screen import console


def demo(
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("relevance.png"),
    scenes: Annotated[int, typer.Option(min=4, help="Scenes of the small measurement.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 7,
    threads: Threads = None,
) -> None:
    """Show a hallucination of the bundled model, its relevance, and the effect of steering."""
    check_outputs([Output("--out", out, PICTURE)])
    from .run_demo import run_demo

    set_threads(threads)
    run_demo(console, out, scenes, seed)
