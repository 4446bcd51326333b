"""``lime-xai ground``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .common import Calibrated, Device, Dtype, Precision, Threads, set_threads
from .files import Output, check_outputs


class Kind(StrEnum):
    """Forms of files of examples."""

    own = "own"
    clevr_xai = "clevr-xai"
    events = "events"


Masks = Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the masks of clevr-xai.")]
EventQuestion = Annotated[
    str | None, typer.Option(help="What is asked about each event of a list; {event} stands for its name.")
]
Examples = Annotated[int | None, typer.Option(min=1, help="The first N examples only.")]


def ground(
    model: Annotated[str, typer.Option(help="Folder, GGUF file, hub id, or a bundled model: 'scene', 'sound'.")],
    file: Annotated[Path, typer.Option(help="Questions with their places, or an event list.")],
    kind: Annotated[Kind, typer.Option(help="Form of the file.")] = Kind.own,
    media: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of images or sounds; by default that of the file (clevr-xai: images in it).",
        ),
    ] = None,
    masks: Masks = None,
    question: EventQuestion = None,
    methods: Annotated[str, typer.Option(help="Names, separated by commas; others are compared with the first.")] = (
        "attnlrp"
    ),
    policies: Annotated[
        str | None,
        typer.Option(
            help="Names or JSON, separated by commas: each answers, and the relevance of its answer is measured. By "
            "default the answers of the file are attributed."
        ),
    ] = None,
    calibration: Calibrated = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer under a policy.")] = 16,
    limit: Examples = None,
    out: Annotated[Path | None, typer.Option("--json", help="Result; an interrupted run goes on from it.")] = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Measure where relevance lies for questions of a known place, and how much of it is perceptual."""
    check_outputs([Output("--json", out, (".json",))], [file])
    from .run_ground import Asked, run_ground

    set_threads(threads)
    asked = Asked(
        model, file, kind.value, media, masks, question, methods, policies, calibration, max_new_tokens, limit, device,
        dtype.value,
    )  # fmt: skip
    run_ground(asked, out)
