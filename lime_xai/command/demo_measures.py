"""What the demonstration measures: captions and yes/no questions, scene by scene, without and with steering."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from lime_xai.evaluation.bootstrap import Floats, estimate, resampling_weights
from lime_xai.generation.steer import steering
from lime_xai.policies.edit import Edit
from lime_xai.worlds.shared.closed import closed_values
from lime_xai.worlds.shared.evaluation import EvaluationSet, Question
from lime_xai.worlds.shared.language import article
from lime_xai.worlds.shared.measuring import generate_captions, question_margins
from lime_xai.worlds.shared.metrics import caption_counts, caption_values

SCENES, QUESTIONS = 20, 80
"""Done between two steps of the progress bar."""

ASKED = ("random", "dialogue")
"""Splits of the yes/no questions."""

MEASURES = {
    "chair_i": ("named {thing}s that are not in the {medium} (CHAIR_i)", False),
    "recall": ("{thing}s in the {medium} that are named (recall)", True),
    "repetitive": ("captions that name {a_thing} twice", False),
    "random.accuracy": ("“is there a ...?”, answered rightly", True),
    "dialogue.accuracy": ("the same, after a question about the {thing} that usually comes with it", True),
    "dialogue.auc": ("of these, how often a present {thing} gets a stronger “yes” than an absent one (AUC)", True),
}
"""Measures in words, with those of a world in braces, and whether more is better."""


@dataclass(frozen=True, eq=False)
class Said:
    """What the model said about every scene.

    Attributes
    ----------
    captions : list of str
        One per picture.
    margins : numpy.ndarray
        Logit of yes minus that of no, one per question of ``questions_of``.
    seconds : float
        Per word of the captions, the median over parts.
    """

    captions: list[str]
    margins: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class Measure:
    """A row of the demonstration's table.

    Attributes
    ----------
    words : str
        What is measured.
    rises : bool
        Whether more is better.
    alone, steered : float
        Shares, without and with steering.
    change, low, high : float
        The difference with its 95 % interval, paired over scenes.
    """

    words: str
    rises: bool
    alone: float
    steered: float
    change: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval is on one side of zero, else ``not clear``."""
        if self.low <= 0 <= self.high:
            return "not clear"
        return "better" if (self.change > 0) == self.rises else "worse"


def questions_of(evaluation: EvaluationSet) -> list[Question]:
    """Return the questions that are asked."""
    return [question for split in ASKED for question in evaluation.split(split)]


def steps(evaluation: EvaluationSet) -> int:
    """Return how often ``say`` advances."""
    return -(-len(evaluation.scenes) // SCENES) - (-len(questions_of(evaluation)) // QUESTIONS)


def say(
    model: PreTrainedModel,
    processor: Any,
    evaluation: EvaluationSet,
    policy: Edit | None,
    advance: Callable[[], None],
) -> Said:
    """Return what the model says about every scene of a set.

    Parameters
    ----------
    model, processor, evaluation : object
        What is asked, and about what.
    policy : Edit or None
        None: the model alone.
    advance : callable
        Called after every part.
    """
    captions: list[str] = []
    times: list[float] = []
    with _under(model, policy):
        for first in range(0, len(evaluation.scenes), SCENES):
            some = slice(first, first + SCENES)
            part = replace(evaluation, scenes=evaluation.scenes[some], media=evaluation.media[some])
            start = time.perf_counter()
            found = generate_captions(model, processor, part)
            times.append((time.perf_counter() - start) / sum(len(caption.split()) for caption in found))
            captions += found
            advance()
    questions, margins = questions_of(evaluation), []
    # without the plausibility mask, which would make the margin between yes and no infinite
    with _under(model, None if policy is None else replace(policy, plausibility=0.0)):
        for first in range(0, len(questions), QUESTIONS):
            asked = questions[first : first + QUESTIONS]
            margins.append(question_margins(model, processor, evaluation, asked))
            advance()
    return Said(captions, np.concatenate(margins), float(np.median(times)))


def _under(model: PreTrainedModel, policy: Edit | None) -> AbstractContextManager[Any]:
    return nullcontext() if policy is None else steering(model, policy)


def measures(evaluation: EvaluationSet, alone: Said, steered: Said) -> list[Measure]:
    """Return the rows of the table, with intervals over the scenes."""
    world = evaluation.world
    told = {"medium": world.medium, "thing": world.thing, "a_thing": article(world.thing)}
    weights = resampling_weights(len(evaluation.scenes))
    before, after = (_values(evaluation, said, weights) for said in (alone, steered))
    rows = []
    for name, (words, rises) in MEASURES.items():
        pair = float(before[name][0]), float(after[name][0])
        rows.append(Measure(words.format(**told), rises, *pair, *estimate(after[name] - before[name])))
    return rows


def _values(evaluation: EvaluationSet, said: Said, weights: Floats) -> dict[str, Floats]:
    """Return every metric over all weightings of the scenes."""
    counts = caption_counts(said.captions, evaluation.scenes, evaluation.world.language)
    found = dict(caption_values(weights @ counts))
    questions = questions_of(evaluation)
    for split in ASKED:
        chosen = np.array([question.split == split for question in questions])
        labels = np.array([question.label for question in questions])[chosen]
        scenes = np.array([question.scene for question in questions])[chosen]
        values = closed_values(said.margins[chosen], labels, weights[:, scenes])
        found |= {f"{split}.{name}": value for name, value in values.items()}
    return found
