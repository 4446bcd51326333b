"""Choosing the settings of rivals and controls on a tuning seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.errors import unknown_name
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.constant import Constant
from lime_xai.policies.controls import UniformGain
from lime_xai.policies.edit import Edit
from lime_xai.policies.reweight import Reweight
from lime_xai.worlds import World
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet
from lime_xai.worlds.shared.measuring import question_margins
from lime_xai.worlds.shared.metrics import caption_metrics

from .registry import CALIBRATED
from .world import timed_captions

LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
GAINS = (0.4, 0.8, 1.6)
STRENGTHS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
TUNED = ("paper", "paper_cache", "uniform_gain", "yes_shift", "reweight", "constant")


def tune_policies(
    world: World,
    model: PreTrainedModel,
    processor: Any,
    *,
    seed: int,
    scenes: int = 60,
    names: Sequence[str] | None = None,
    calibration: Calibration | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Choose the paper's learning rates, the uniform gain, the yes shift and what follows a calibration.

    Captions under the ban decide by F1; the shift is the one with the best mean accuracy over the splits.

    Parameters
    ----------
    world, model, processor : object
        As in ``measure_policies``.
    seed, scenes : int
        Of the tuning set; never report on this seed.
    names : sequence of str, optional
        Which of ``TUNED`` to choose; by default all, without a calibration all that need none.
    calibration : Calibration, optional
        Of the model, for ``reweight`` and ``constant``.
    say : callable, optional
        Called with the text of each trial.

    Returns
    -------
    dict
        Those of the shipped models are in ``tuned_scene.json`` beside this module, or the file of another world.

    Raises
    ------
    ValueError
        For an unknown name, or where a calibration is needed and missing.
    """
    evaluation = world.evaluation_set(seed, scenes=scenes)

    def score(policy: Policy) -> float:
        captions, _, _ = timed_captions(model, processor, evaluation, policy, ban=True)
        metrics = caption_metrics(captions, evaluation.scenes, world.language)
        if say is not None:
            say(f"{policy}: F1 {metrics.f1:.3f}, CHAIR_i {metrics.chair_i:.3f}")
        return float(metrics.f1)

    def best(values: Sequence[float], make: Callable[[float], Policy]) -> float:
        return max(values, key=lambda value: score(make(value)))

    def calibrated() -> Calibration:
        if calibration is None:
            raise ValueError("Choosing reweight and constant needs a calibration; pass --calibration FILE.")
        return calibration

    choices: dict[str, Callable[[], float]] = {
        "paper": lambda: best(LEARNING_RATES, lambda rate: Edit.paper(learning_rate=rate)),
        "paper_cache": lambda: best(LEARNING_RATES, lambda rate: Edit.paper(scope="cache", learning_rate=rate)),
        "uniform_gain": lambda: best(GAINS, UniformGain),
        "yes_shift": lambda: _best_shift(model, processor, evaluation),
        "reweight": lambda: best(STRENGTHS, lambda strength: Reweight(strength, calibrated())),
        "constant": lambda: best(SCALES, lambda scale: Constant(calibrated(), scale)),
    }
    if names is None:
        names = [name for name in TUNED if calibration is not None or name not in CALIBRATED]
    for name in names:
        if name not in choices:
            raise unknown_name("setting to tune", name, choices)
    return {"seed": seed, "scenes": scenes, **{name: choices[name]() for name in names}}


def _best_shift(model: PreTrainedModel, processor: Any, evaluation: EvaluationSet) -> float:
    """Return the shift of "yes" with the best mean accuracy over the splits, among -6 to 6 in steps of 0.25."""
    margins, labels = [], []
    for name in SPLITS:
        questions = evaluation.split(name)
        margins.append(question_margins(model, processor, evaluation, questions))
        labels.append(np.array([q.label for q in questions]))
    shifts = np.arange(-6, 6.01, 0.25)
    scores = [
        np.mean([((m + shift > 0) == y).mean() for m, y in zip(margins, labels, strict=True)]) for shift in shifts
    ]
    return float(shifts[int(np.argmax(scores))])
