"""Options that several commands share."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Dtype(StrEnum):
    """Types of weights that a model can be loaded in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


Model = Annotated[str, typer.Argument(help="Folder, GGUF file, hub id, or a bundled model: 'scene', 'sound'.")]
Prompt = Annotated[
    str, typer.Option(help="What the user says; {image} and {audio} stand where the files go, by default first.")
]
System = Annotated[str | None, typer.Option(help="System prompt.")]
Images = Annotated[
    list[Path] | None, typer.Option("--image", exists=True, dir_okay=False, help="Image file; repeatable.")
]
Audios = Annotated[
    list[Path] | None, typer.Option("--audio", exists=True, dir_okay=False, help="Sound file; repeatable.")
]
SplitAudio = Annotated[
    bool,
    typer.Option("--split-audio", help="Give a sound that is longer than the model hears as several, one by one."),
]
Events = Annotated[
    str | None,
    typer.Option(
        help='What sounds when, in seconds, as JSON: {"dog": [0.5, 1.2]}; for several sounds, a list of these.',
    ),
]
ModalityNames = Annotated[
    str | None,
    typer.Option(
        "--modalities",
        help="Modalities that the policies act on, image,audio for example (video is the third); by default all that "
        "the prompt holds.",
    ),
]
OtherImages = Annotated[
    list[Path] | None,
    typer.Option(
        "--counterfactual-image",
        exists=True,
        dir_okay=False,
        help='For {"policy": "Contrast", "branch": "counterfactual"}: what it perceives in place of each --image.',
    ),
]
OtherAudios = Annotated[
    list[Path] | None,
    typer.Option("--counterfactual-audio", exists=True, dir_okay=False, help="Likewise in place of each --audio."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ...; by default the CPU.")]
Precision = Annotated[Dtype, typer.Option("--dtype", help="Of the weights; auto is the checkpoint's own.")]
Json = Annotated[Path | None, typer.Option("--json", help="Report to write.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; by default torch's choice, which OMP_NUM_THREADS sets.")
]
Method = Annotated[
    str, typer.Option(help="Name in lime_xai.METHODS, or JSON with settings as method_to_dict writes it.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1)]
Sample = Annotated[bool, typer.Option(help="Sample instead of taking the best token.")]
Seed = Annotated[int, typer.Option(help="For sampling.")]
Calibrated = Annotated[
    Path | None,
    typer.Option("--calibration", exists=True, dir_okay=False, help="Of the model, for reweight and constant."),
]


def read_events(text: str | None) -> Any:
    """Return the events of an option.

    Raises
    ------
    ValueError
        If they are no JSON.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'--events is no valid JSON ({error}); expected {{"dog": [0.5, 1.2]}}, for example.'
        ) from error


def set_threads(count: int | None) -> None:
    """Set the number of CPU threads, if one is given."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
