"""``lime-xai conformance``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .common import Audios, Device, Dtype, Images, Model, Precision, SplitAudio, System, Threads, set_threads
from .screen import console

if TYPE_CHECKING:
    from lime_xai.evaluation.conformance import Conformance

STYLES = {"works": "green", "refused": "yellow", "failed": "red"}


def conformance(
    model: Model,
    prompt: Annotated[str, typer.Option(help="What the user says.")] = "Describe what you perceive.",
    image: Images = None,
    audio: Audios = None,
    split_audio: SplitAudio = False,
    system: System = None,
    features: Annotated[str | None, typer.Option(help="Names, separated by commas; by default all.")] = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Try every feature on a model: what works, what is refused and why; exit status 1 if a check fails.

    Without --image and --audio the prompt has a picture of a grey gradient.
    """
    from lime_xai.evaluation.conformance import check_conformance

    from .opening import Asked, open_prompt

    set_threads(threads)
    with TemporaryDirectory() as folder:
        pictures = list(image or ()) or ([] if audio else [_gradient(Path(folder))])
        opened = open_prompt(Asked(model, prompt, system, pictures, audio or [], device, dtype.value, split_audio))
    names = None if features is None else features.split(",")
    found = check_conformance(opened.model, dict(opened.prompt.inputs), features=names)
    console.print(conformance_table(found))
    counts = found.counts
    console.print(Text(f"{counts['works']} work, {counts['refused']} refused, {counts['failed']} failed"))
    raise typer.Exit(1 if found.failed else 0)


def _gradient(folder: Path) -> Path:
    from PIL import Image

    path = folder / "gradient.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def conformance_table(found: Conformance) -> Table:
    """Return a table for a terminal; reasons are other people's text and are printed as they are."""
    table = Table("feature", "outcome", "reason")
    for name, outcome in found.outcomes.items():
        reason: Any = Text(outcome.reason)
        table.add_row(Text(name), Text(outcome.status, style=STYLES[outcome.status]), reason)
    return table
