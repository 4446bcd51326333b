"""The questions of a world that attribution methods are compared on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from lime_xai.worlds import load_world
from lime_xai.worlds.shared.evaluation import EvaluationSet, Question

from .example import Example

SEED: Final = 5
QUESTIONS: Final = 200


@dataclass(frozen=True, eq=False)
class WorldExamples:
    """Closed questions about things that are there, as examples: made one at a time, in a fixed order.

    The explained value is the logit of "yes" minus that of "no", the true region ``World.region``: the tokens of the
    cell that shows the object, or of the time in which the event sounds. The cluster is the scene. Every scene's first
    question comes before any scene's second; no question occurs twice.

    Attributes
    ----------
    processor : object
        Of the world.
    evaluation : EvaluationSet
        Has the pictures or clips.
    questions : tuple of Question
        In order.
    """

    processor: Any
    evaluation: EvaluationSet
    questions: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Example]:
        world = self.evaluation.world
        placeholder = getattr(self.processor, f"{world.modality}_token")
        yes, no = world.answer_tokens(self.processor, (world.language.yes, world.language.no))
        perceived = self.processor.tokenizer.convert_tokens_to_ids(placeholder)
        for question in self.questions:
            medium, scene = self.evaluation.media[question.scene], self.evaluation.scenes[question.scene]
            inputs = world.batch(self.processor, [medium], [question.prompt])
            places = (inputs["input_ids"][0] == perceived).nonzero()[:, 0]
            truth = torch.zeros(inputs["input_ids"].shape[1], dtype=torch.bool)
            truth[places[list(world.region(scene, question.obj))]] = True
            yield Example(dict(inputs), (yes, no), truth, question.scene)


def world_examples(processor: Any, questions: int = QUESTIONS, seed: int = SEED, world: str = "scene") -> WorldExamples:
    """Return the questions of the protocol.

    Parameters
    ----------
    processor : object
        Of the world's model.
    questions : int
        How many.
    seed : int
        Of the evaluation set.
    world : str
        Its name.

    Raises
    ------
    ValueError
        If the set has fewer, or there is no such world.
    """
    evaluation = load_world(world).evaluation_set(seed)
    found = _ordered(evaluation)
    if not 1 <= questions <= len(found):
        raise ValueError(f"questions is {questions}; seed {seed} has 1 to {len(found)} about what is there.")
    return WorldExamples(processor, evaluation, tuple(found[:questions]))


def _ordered(evaluation: EvaluationSet) -> list[Question]:
    """Return the distinct questions about what is there: first every scene's first."""
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
