"""The questions of the scene world that attribution methods are compared on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from lime_xai.worlds.scene.text import IMAGE
from lime_xai.worlds.scene.world import WORLD
from lime_xai.worlds.shared.evaluation import EvaluationSet, Question
from lime_xai.worlds.shared.language import NO, YES

from .example import Example

SEED: Final = 5
QUESTIONS: Final = 200


@dataclass(frozen=True, eq=False)
class SceneExamples:
    """Closed questions about objects that are in the picture, as examples: made one at a time, in a fixed order.

    The explained value is the logit of "yes" minus that of "no", the true region the nine tokens of the object's cell,
    the cluster the scene. Every scene's first question comes before any scene's second; no question occurs twice.

    Attributes
    ----------
    processor : object
        Of the scene world.
    evaluation : EvaluationSet
        Has the pictures.
    questions : tuple of Question
        In order.
    """

    processor: Any
    evaluation: EvaluationSet
    questions: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Example]:
        tokenizer = self.processor.tokenizer
        yes, no, image = tokenizer.convert_tokens_to_ids([YES, NO, IMAGE])
        for question in self.questions:
            picture = self.evaluation.images[question.scene]
            inputs = self.processor(text=question.prompt, images=picture, return_tensors="pt")
            places = (inputs["input_ids"][0] == image).nonzero()[:, 0]
            truth = torch.zeros(inputs["input_ids"].shape[1], dtype=torch.bool)
            truth[places[list(WORLD.region(self.evaluation.scenes[question.scene], question.obj))]] = True
            yield Example(dict(inputs), (yes, no), truth, question.scene)


def scene_examples(processor: Any, questions: int = QUESTIONS, seed: int = SEED) -> SceneExamples:
    """Return the questions of the protocol.

    Parameters
    ----------
    processor : object
        Of the scene world.
    questions : int
        How many.
    seed : int
        Of the evaluation set.

    Raises
    ------
    ValueError
        If the set has fewer.
    """
    evaluation = WORLD.evaluation_set(seed)
    found = _ordered(evaluation)
    if not 1 <= questions <= len(found):
        raise ValueError(f"questions is {questions}; seed {seed} has 1 to {len(found)} about objects in the picture.")
    return SceneExamples(processor, evaluation, tuple(found[:questions]))


def _ordered(evaluation: EvaluationSet) -> list[Question]:
    """Return the distinct questions about objects that are there: first every scene's first."""
    distinct: dict[tuple[int, int, int | None], Question] = {}
    for question in evaluation.questions:
        if question.label:
            distinct.setdefault((question.scene, question.obj, question.context), question)
    asked: Counter[int] = Counter()
    turns = []
    for question in distinct.values():
        turns.append(asked[question.scene])
        asked[question.scene] += 1
    order = sorted(range(len(turns)), key=turns.__getitem__)
    questions = tuple(distinct.values())
    return [questions[index] for index in order]
