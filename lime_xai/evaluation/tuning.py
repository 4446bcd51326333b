"""Choosing the settings of rivals and controls on a tuning seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from lime_xai.evaluation.world import timed_captions
from lime_xai.policies import Edit, UniformGain
from lime_xai.step import Policy
from lime_xai.worlds import World, scene

LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
GAINS = (0.4, 0.8, 1.6)


def tune_policies(
    world: World,
    model: PreTrainedModel,
    processor: Any,
    *,
    seed: int,
    scenes: int = 60,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Choose the paper's learning rates, the uniform gain and the yes shift on a tuning seed.

    Captions under the ban decide by F1; the shift is the one with the best mean accuracy over the splits.

    Parameters
    ----------
    world, model, processor : object
        As in ``measure_policies``.
    seed, scenes : int
        Of the tuning set; never report on this seed.
    say : callable, optional
        Told each trial.

    Returns
    -------
    dict
        Written to ``tuned_scene.json`` beside this module.
    """
    evaluation = world.evaluation_set(seed, scenes=scenes)

    def score(policy: Policy) -> float:
        captions, _, _ = timed_captions(model, processor, evaluation, policy, ban=True)
        metrics = scene.caption_metrics(captions, evaluation.scenes)
        if say is not None:
            say(f"{policy}: F1 {metrics.f1:.3f}, CHAIR_i {metrics.chair_i:.3f}")
        return float(metrics.f1)

    def best(values: Sequence[float], make: Callable[[float], Policy]) -> float:
        return max(values, key=lambda value: score(make(value)))

    return {
        "seed": seed,
        "scenes": scenes,
        "paper": best(LEARNING_RATES, lambda rate: Edit.paper(learning_rate=rate)),
        "paper_cache": best(LEARNING_RATES, lambda rate: Edit.paper(scope="cache", learning_rate=rate)),
        "uniform_gain": best(GAINS, UniformGain),
        "yes_shift": _best_shift(model, processor, evaluation),
    }


def _best_shift(model: PreTrainedModel, processor: Any, evaluation: Any) -> float:
    """Return the shift of "yes" with the best mean accuracy over the splits, among -6 to 6 in steps of 0.25."""
    margins, labels = [], []
    for name in scene.SPLITS:
        questions = evaluation.split(name)
        margins.append(scene.question_margins(model, processor, evaluation, questions))
        labels.append(np.array([q.label for q in questions]))
    shifts = np.arange(-6, 6.01, 0.25)
    scores = [
        np.mean([((m + shift > 0) == y).mean() for m, y in zip(margins, labels, strict=True)]) for shift in shifts
    ]
    return float(shifts[int(np.argmax(scores))])
