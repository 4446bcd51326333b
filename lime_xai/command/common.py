"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()

Model = Annotated[str, typer.Argument(help="Path, hub id, or 'scene' for the bundled model.")]
Prompt = Annotated[str, typer.Option(help="What the user says.")]
Images = Annotated[list[Path] | None, typer.Option("--image", exists=True, help="Image file; repeatable.")]
Audios = Annotated[list[Path] | None, typer.Option("--audio", exists=True, help="Sound file; repeatable.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default torch's choice.")]


def set_threads(count: int | None) -> None:
    """Set the number of CPU threads, if one is given."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
