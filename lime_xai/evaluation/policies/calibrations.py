"""Calibrations of models on the tuning scenes of a world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import BatchFeature, PreTrainedModel

from lime_xai.generation.calibrate import calibrate
from lime_xai.policies.calibration import Calibration
from lime_xai.worlds import World
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.measuring import CAPTION_TOKENS
from lime_xai.worlds.shared.models import protocol

SCENES = 60


def unlabelled_prompts(processor: Any, evaluation: EvaluationSet) -> Iterator[BatchFeature]:
    """Return, scene by scene, a request for a caption and then all closed questions; about as many steps of each.

    Parameters
    ----------
    processor : object
        Of the model.
    evaluation : EvaluationSet
        Its labels are not read.
    """
    questions: dict[int, list[str]] = {}
    for question in evaluation.questions:
        questions.setdefault(question.scene, []).append(question.prompt)
    for index, medium in enumerate(evaluation.media):
        for texts in ([evaluation.caption_prompt], questions[index]):
            yield evaluation.world.batch(processor, [medium] * len(texts), texts)


def world_calibration(world: World, model: PreTrainedModel, processor: Any, path: Path) -> Calibration:
    """Measure a calibration on a world's first tuning seed, or read the one that ``path`` holds.

    Parameters
    ----------
    world, model, processor : object
        As in ``measure_policies``.
    path : Path
        Of the file; an interrupted calibration resumes from it.

    Raises
    ------
    ValueError
        If the file is of another model.
    """
    evaluation = world.evaluation_set(protocol(world).seeds["tuning"][0], scenes=SCENES)
    prompts = (inputs.to(model.device) for inputs in unlabelled_prompts(processor, evaluation))
    return calibrate(model, prompts, max_new_tokens=CAPTION_TOKENS, path=path)
