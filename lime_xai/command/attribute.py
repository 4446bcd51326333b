"""``lime-xai attribute``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import (
    Audios,
    Device,
    Dtype,
    Images,
    Json,
    Method,
    Model,
    Precision,
    Prompt,
    SplitAudio,
    System,
    Threads,
    set_threads,
)
from .files import PICTURE, Output, check_outputs, numbered


def attribute(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    split_audio: SplitAudio = False,
    system: System = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Phrase to explain; repeatable. By default the model's next token.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Token whose logit is subtracted from that of each target: a margin.")
    ] = None,
    method: Method = "attnlrp",
    out: Annotated[
        Path | None, typer.Option(help="Picture to write, PNG, PDF, SVG or JPEG; numbered if there are more targets.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Safetensors file to write; numbered if there are more targets.")
    ] = None,
    report: Json = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Show the relevance of each input token for an answer."""
    images, audios = image or [], audio or []
    kinds = (("--out", out, PICTURE), ("--save", save, (".safetensors",)))
    outputs = [
        Output(name, one, ends) for name, path, ends in kinds if path for one in numbered(path, len(target or []))
    ]
    check_outputs([*outputs, Output("--json", report, (".json",))], [*images, *audios])
    from .opening import Asked
    from .run_attribute import Wanted, run_attribute

    set_threads(threads)
    asked = Asked(model, prompt, system, images, audios, device, dtype.value, split_audio)
    run_attribute(asked, Wanted(target or [], against, method), out, save, report)
