"""``lime-xai demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .common import Threads, set_threads
from .files import PICTURE, Output, check_outputs
from .screen import console


def demo(
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("relevance.png"),
    scenes: Annotated[int, typer.Option(min=4, help="Pictures that the model describes.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures.")] = 7,
    noise: Annotated[float, typer.Option(min=0, max=4, help="Of their pixels; studies use 0.5.")] = 0.1,
    threads: Threads = None,
) -> None:
    """Show what the bundled model says that is not in the picture, why it says so, and what steering changes."""
    start = time.perf_counter()
    check_outputs([Output("--out", out, PICTURE)])
    from .run_demo import run_demo

    set_threads(threads)
    run_demo(console, out, scenes, seed, noise, start)
