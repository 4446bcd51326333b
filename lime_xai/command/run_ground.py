"""What ``lime-xai ground`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lime_xai.attribution.methods.lookup import as_method
from lime_xai.evaluation.benchmarks.grounding import measure_grounding, read_grounding
from lime_xai.evaluation.benchmarks.grounding.examples import check_examples
from lime_xai.evaluation.benchmarks.grounding.readers import EVENT_QUESTION
from lime_xai.policies.calibration import Calibration

from .loading import check_device, find_checkpoint, load_model
from .policies import read_policies, steering_choice, uncalibrated
from .progress import counting
from .screen import Notices, console, notice


@dataclass(frozen=True)
class Asked:
    """What the options say, as given."""

    model: str
    file: Path
    kind: str
    media: Path | None
    masks: Path | None
    question: str | None
    methods: str
    policies: str | None
    calibration: Path | None
    max_new_tokens: int
    limit: int | None
    device: str | None
    dtype: str


def run_ground(asked: Asked, out: Path | None) -> None:
    """Measure grounding, print tables and write the result.

    Everything but the model is read and checked before the model is loaded.

    Parameters
    ----------
    asked : Asked
        Model, examples, methods, policies.
    out : Path, optional
        Result, checked before; an interrupted run goes on from it.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    methods = [name.strip() for name in asked.methods.split(",")]
    for method in methods:
        as_method(method)
    written = None if asked.policies is None else read_policies(asked.policies)
    measured = None if asked.calibration is None else Calibration.load(asked.calibration)
    check_device(asked.device)
    question = EVENT_QUESTION if asked.question is None else asked.question
    examples = read_grounding(asked.kind, asked.file, media=asked.media, masks=asked.masks, question=question)
    examples = examples[: asked.limit]
    check_examples(examples)
    model, processor = load_model(find_checkpoint(asked.model), asked.device, asked.dtype)
    policies = None if written is None else steering_choice(written, asked.model, processor, measured)
    for name in uncalibrated(policies or {}):
        notice(f"{name} runs uncalibrated; --calibration FILE subtracts the mean contribution.")
    with counting("examples") as progress:
        found = measure_grounding(
            model,
            processor,
            examples,
            methods,
            policies=policies,
            max_new_tokens=asked.max_new_tokens,
            out=out,
            progress=progress,
            note=Notices(),
        )
    console.print(found.tables())
    for name, reason in list(found.unknown.items())[:3]:
        notice(f"{name} is left out: {reason}.")
    if out is not None:
        console.print(f"json: {out}", soft_wrap=True)
