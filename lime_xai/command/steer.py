"""``lime-xai steer``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import (
    Audios,
    Calibrated,
    Device,
    Dtype,
    Images,
    Json,
    MaxNewTokens,
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
    set_threads,
)
from .files import Output, check_outputs


def steer(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    split_audio: SplitAudio = False,
    system: System = None,
    policy: Annotated[
        str, typer.Option(help="Name, or JSON as policy_to_dict writes it; several separated by commas, in order.")
    ] = "edit",
    modalities: ModalityNames = None,
    calibration: Calibrated = None,
    counterfactual_image: OtherImages = None,
    counterfactual_audio: OtherAudios = None,
    max_new_tokens: MaxNewTokens = 64,
    sample: Sample = False,
    seed: Seed = 0,
    trace: Annotated[bool, typer.Option(help="Print the trace, token by token.")] = False,
    report: Json = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Answer a prompt with and without a policy."""
    images, audios = image or [], audio or []
    others = counterfactual_image or [], counterfactual_audio or []
    inputs = [*images, *audios, *others[0], *others[1], *([] if calibration is None else [calibration])]
    check_outputs([Output("--json", report, (".json",))], inputs)
    from .opening import Asked
    from .policies import read_modalities
    from .run_steer import Decoding, run_steer

    set_threads(threads)
    asked = Asked(model, prompt, system, images, audios, device, dtype.value, split_audio, *others)
    group = read_modalities(modalities)
    run_steer(asked, policy, calibration, Decoding(max_new_tokens, sample, seed), trace, report, group)
