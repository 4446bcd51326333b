"""``lime-xai explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import (
    Audios,
    Calibrated,
    Device,
    Dtype,
    Events,
    Images,
    Json,
    MaxNewTokens,
    Method,
    ModalityNames,
    Model,
    OtherAudios,
    OtherImages,
    Precision,
    Prompt,
    Sample,
    Seed,
    SplitAudio,
    System,
    Threads,
    read_events,
    set_threads,
)
from .files import PICTURE, Output, check_outputs


def explain(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    split_audio: SplitAudio = False,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Ask the same of every image in a folder: one page for all."),
    ] = None,
    system: System = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Name, or JSON as policy_to_dict writes it; several separated by commas. By default none."),
    ] = None,
    modalities: ModalityNames = None,
    calibration: Calibrated = None,
    counterfactual_image: OtherImages = None,
    counterfactual_audio: OtherAudios = None,
    answer: Annotated[str | None, typer.Option(help="Explain this answer instead of generating one.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Token whose logit is subtracted from that of --answer: a margin.")
    ] = None,
    method: Method = "attnlrp",
    max_new_tokens: MaxNewTokens = 64,
    sample: Sample = False,
    seed: Seed = 0,
    html: Annotated[Path | None, typer.Option(help="Page to click through, one file that needs no network.")] = None,
    events: Events = None,
    out: Annotated[
        Path | None, typer.Option(help="Figure to write of the word with the lowest grounding: PNG, PDF, SVG or JPEG.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Safetensors file to write, for lime-xai plot.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="With --folder: keep answers here, and go on from those that are there."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Table of the words to write.")] = None,
    report: Json = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Answer a prompt and explain every word: what it rests on, how sure it is, whether it is grounded."""
    images, audios = image or [], audio or []
    if events is not None and html is None:
        raise typer.BadParameter("--events is drawn on the page of --html; give it, or use lime-xai plot --kind sound.")
    others = counterfactual_image or [], counterfactual_audio or []
    inputs = [*images, *audios, *others[0], *others[1], *([] if calibration is None else [calibration])]
    kinds = (
        Output("--html", html, (".html",)),
        Output("--out", out, PICTURE),
        Output("--save", save, (".safetensors",)),
        Output("--csv", csv, (".csv",)),
        Output("--json", report, (".json",)),
    )
    check_outputs(kinds, inputs)
    from .opening import Asked
    from .policies import read_modalities, read_policies
    from .run_attribute import read_method
    from .run_explain import Files, Wanted, run_explain

    set_threads(threads)
    asked = Asked(model, prompt, system, images, audios, device, dtype.value, split_audio, *others)
    if modalities is not None and policy is None:
        raise typer.BadParameter("--modalities is given without --policy; it says what policies act on. Give both.")
    policies, group = None if policy is None else read_policies(policy), read_modalities(modalities)
    wanted = Wanted(policies, calibration, answer, against, read_method(method), max_new_tokens, sample, seed, group)
    run_explain(asked, wanted, folder, Files(html, out, save, csv, report, resume), read_events(events))
