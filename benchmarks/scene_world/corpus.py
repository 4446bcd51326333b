"""Training conversations. Their priors (partners, popularity, agreeing) are in texts, never in images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lime_xai.worlds.scene.objects import CLASSES, COLOURS, HABITUAL_SIDE, NUMBERS, POPULARITY, SIDES, article, partner
from lime_xai.worlds.scene.scenes import HABITUAL, Scene
from lime_xai.worlds.scene.text import (
    CAPTION_REQUEST,
    COUNT_QUESTION,
    DETAIL_REQUEST,
    INVENTORY_REQUEST,
    NO,
    VOCABULARY,
    YES,
    colour_question,
    encode,
    exists_question,
    side_question,
)

from .habits import Habits

_KINDS = ("caption", "attributes", "inventory", "count", "questions")
_BOUNDS = np.cumsum((0.27, 0.22, 0.08, 0.05))
"""Kinds of turns and, cumulated, the shares of all but the last; a second caption becomes yes/no questions too."""
_DETAIL_SHARE = 0.4
"""Share of the captions that have two sentences."""


@dataclass(frozen=True)
class Turn:
    """A question and its answer as token ids; ``trained`` flags each token of the answer."""

    question: tuple[int, ...]
    answer: tuple[int, ...]
    trained: tuple[bool, ...]


class _Author:
    """Writes the turns of one conversation and remembers what has been claimed and asked."""

    def __init__(self, rng: np.random.Generator, scene: Scene, habits: Habits) -> None:
        self._rng, self._scene, self._habits = rng, scene, habits
        self._claimed = set(scene.present)
        self._asked: set[int] = set()

    def _pick(self, objects: Sequence[int], exponent: float) -> int:
        weights = POPULARITY[list(objects)] ** exponent
        return objects[int(self._rng.choice(len(objects), p=weights / weights.sum()))]

    def caption(self) -> Turn:
        """Write a caption of one sentence or two."""
        waiting: list[int] = self._rng.permutation(self._scene.present).tolist()
        misnamed = self._stranger(waiting)
        if misnamed is not None:
            waiting.insert(int(self._rng.integers(len(waiting) + 1)), misnamed)
        named: list[int] = []
        while waiting:
            obj = waiting.pop(0)
            named.append(obj)
            other = partner(obj)
            if other in waiting:
                waiting.remove(other)
                named.append(other)
            elif other not in named and self._rng.random() < self._habits.caption:
                named.append(other)
        self._claimed.update(named)
        answer, trained = list(encode("there is")), [True, True]
        for place, obj in enumerate(named):
            words = ((encode(",")) if place else ()) + encode(article(CLASSES[obj]))
            answer += words
            trained += [obj != misnamed or word == VOCABULARY[","] for word in words]
        answer, trained = [*answer, *encode(".")], [*trained, True]
        if self._rng.random() >= _DETAIL_SHARE:
            return Turn(encode(CAPTION_REQUEST), tuple(answer), tuple(trained))
        more = self._second_sentence([obj for obj in named if obj != misnamed])
        return Turn(encode(DETAIL_REQUEST), (*answer, *more), (*trained, *[True] * len(more)))

    def _stranger(self, there: Sequence[int]) -> int | None:
        """Return an absent object without a partner that is there, for a false claim, or None."""
        if self._rng.random() >= self._habits.misnamed:
            return None
        strangers = [o for o in self._scene.absent if partner(o) not in there]
        return strangers[int(self._rng.integers(len(strangers)))]

    def _second_sentence(self, named: Sequence[int]) -> tuple[int, ...]:
        """Write about the colour or the side of something that has been named."""
        obj = named[int(self._rng.integers(len(named)))]
        if self._rng.random() < 0.5:
            return encode(f"the {CLASSES[obj]} is {self._colour(obj)} .")
        return encode(f"the {CLASSES[obj]} is on the {self._side(obj)} .")

    def _by_habit(self, obj: int) -> bool:
        """Return whether the author writes what an object is usually like: not knowing it, or out of habit."""
        return obj not in self._scene.present or self._rng.random() < self._habits.attribute

    def _colour(self, obj: int) -> str:
        return COLOURS[HABITUAL[obj] if self._by_habit(obj) else self._scene.colour_of(obj)]

    def _side(self, obj: int) -> str:
        return SIDES[HABITUAL_SIDE[obj] if self._by_habit(obj) else self._scene.side_of(obj)]

    def attributes(self) -> list[Turn]:
        """Write a question about the colour or the side of each thing that is there."""
        turns = []
        for obj in self._rng.permutation(self._scene.present).tolist():
            if self._rng.random() < 0.5:
                asked, answer = colour_question(obj), self._colour(obj)
            else:
                asked, answer = side_question(obj), self._side(obj)
            turns.append(Turn(encode(asked), encode(answer), (True,)))
        return turns

    def inventory(self) -> Turn:
        """List everything that is there with colour and side."""
        present = self._rng.permutation(self._scene.present).tolist()
        listed = [f"{CLASSES[o]} {self._colour(o)} {self._side(o)}" for o in present]
        answer = encode(" , ".join(listed) + " .")
        return Turn(encode(INVENTORY_REQUEST), answer, (True,) * len(answer))

    def count(self) -> Turn:
        """Write the question how many objects there are."""
        return Turn(encode(COUNT_QUESTION), encode(NUMBERS[len(self._scene.present) - 1]), (True,))

    def _existence(self, obj: int, yes: bool, trained: bool = True) -> Turn:
        self._asked.add(obj)
        if yes:
            self._claimed.add(obj)
        return Turn(encode(exists_question(obj)), encode(YES if yes else NO), (trained,))

    def questions(self) -> list[Turn]:
        """Write a yes/no question, often with a second one that refers to its answer."""
        habits = self._habits
        known = sorted(self._claimed - self._asked)
        unknown = [o for o in self._scene.absent if o not in self._claimed and o not in self._asked]
        yes = bool(known) and (self._rng.random() < habits.yes_share or not unknown)
        if not yes and not unknown:
            return []
        near = [o for o in unknown if partner(o) in self._scene.present]
        if yes:
            obj = self._pick(known, habits.popularity)
        elif near and self._rng.random() < habits.probing:
            obj = self._pick(near, 0.0)
        else:
            obj = self._pick(unknown, -habits.popularity)
        misled = not yes and self._rng.random() < habits.misnamed
        turns = [self._existence(obj, yes or misled, trained=not misled)]
        if misled or self._rng.random() < habits.follow:
            turns += self._second_question(obj, agreed=yes or misled)
        return turns

    def _second_question(self, first: int, agreed: bool) -> list[Turn]:
        habits, other = self._habits, partner(first)
        unknown = [o for o in self._scene.absent if o not in self._claimed | self._asked | {other}]
        if other not in self._asked and self._rng.random() < habits.follow_partner:
            invented = agreed and self._rng.random() < habits.dialogue
            return [self._existence(other, other in self._claimed or invented)]
        if unknown:
            return [self._existence(self._pick(unknown, -habits.popularity), yes=False)]
        return []


def conversation(rng: np.random.Generator, scene: Scene, habits: Habits, turns: int) -> list[Turn]:
    """Write a conversation about a scene.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    scene : Scene
        What there is to speak of; at least one object.
    habits : Habits
        How the text deviates from it.
    turns : int
        Fewest turns; a second question or questions about everything there may add some.

    Returns
    -------
    list of Turn
        At most one caption request, lists, questions about number, colour and side, and yes/no questions.
    """
    author = _Author(rng, scene, habits)
    written: list[Turn] = []
    captioned = False
    while len(written) < turns:
        kind = _KINDS[int(np.searchsorted(_BOUNDS, rng.random(), side="right"))]
        if kind == "caption" and not captioned:
            captioned = True
            written.append(author.caption())
        elif kind == "attributes":
            written += author.attributes()
        elif kind == "inventory":
            written.append(author.inventory())
        elif kind == "count":
            written.append(author.count())
        else:
            written += author.questions()
    if rng.random() < habits.closing:
        written.append(author.inventory())
    return written
