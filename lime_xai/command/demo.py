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
    out: Annotated[Path, typer.Option(help="Where the figure goes.")] = Path("relevance.png"),
    audio: Annotated[bool, typer.Option("--audio", help="Sounds instead of pictures.")] = False,
    sounds: Annotated[
        Path, typer.Option(file_okay=False, help="Folder that gets the sounds that are shown, as WAV files.")
    ] = Path("demo-sounds"),
    scenes: Annotated[int, typer.Option(min=4, help="Pictures or sounds that the model describes.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures or sounds.")] = 7,
    noise: Annotated[
        float | None,
        typer.Option(min=0, max=4, help="Of pixels (0.1; studies use 0.5) or samples (as in studies)."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Show what a bundled model says that it does not see or hear, why it says so, and what steering changes."""
    start = time.perf_counter()
    check_outputs([Output("--out", out, PICTURE)])
    from .run_demo import run_demo

    set_threads(threads)
    world = "sound" if audio else "scene"
    run_demo(console, out, world, scenes, seed, noise, start, sounds if audio else None)
