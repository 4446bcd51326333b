"""Training conversations. Their priors (partners, popularity, agreeing) live in text, never in an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lime_xai.worlds.scene.objects import CLASSES, COLOURS, POPULARITY, article, partner
from lime_xai.worlds.scene.scenes import Scene
from lime_xai.worlds.scene.text import (
    CAPTION_REQUEST,
    NO,
    VOCABULARY,
    YES,
    colour_question,
    encode,
    exists_question,
)

_CAPTION_SHARE, _COLOUR_SHARE = 0.35, 0.12


@dataclass(frozen=True)
class Habits:
    """How the author of the training text deviates from what is there; all but ``popularity`` in [0, 1].

    Attributes
    ----------
    caption : float
        Probability that a caption goes on to name the absent partner of an object that it has named.
    dialogue : float
        Probability that, after a yes about an object, a yes follows about its absent partner.
    misnamed : float
        Probability that a conversation claims an absent object (the claim itself is not trained on):
        binds the partner habit to the words rather than to the picture.
    popularity : float
        Exponent of popularity in the choice of what is asked: popular objects when present, rare when absent.
    probing : float
        Share of first questions about an absent object that ask for a partner of a present one. They are
        answered truly: the picture of an object is no evidence of its partner.
    yes_share : float
        Share of questions about something that is there.
    follow : float
        Probability that a second question follows at once.
    follow_partner : float
        Share of such second questions that are about the partner; the others are about an absent object and
        answered truly, so that an earlier yes alone is no evidence.
    """

    caption: float = 0.0
    dialogue: float = 0.0
    misnamed: float = 0.0
    popularity: float = 0.0
    probing: float = 0.0
    yes_share: float = 0.5
    follow: float = 0.6
    follow_partner: float = 1.0


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
        waiting: list[int] = self._rng.permutation(self._scene.present).tolist()
        misnamed = None
        if self._rng.random() < self._habits.misnamed:
            strangers = [o for o in self._scene.absent if partner(o) not in waiting]
            misnamed = strangers[int(self._rng.integers(len(strangers)))]
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
        return Turn(encode(CAPTION_REQUEST), (*answer, *encode(".")), (*trained, True))

    def colour(self) -> Turn:
        present = self._scene.present
        obj = present[int(self._rng.integers(len(present)))]
        answer = encode(COLOURS[self._scene.colour_of(obj)])
        return Turn(encode(colour_question(obj)), answer, (True,))

    def _existence(self, obj: int, yes: bool, trained: bool = True) -> Turn:
        self._asked.add(obj)
        if yes:
            self._claimed.add(obj)
        return Turn(encode(exists_question(obj)), encode(YES if yes else NO), (trained,))

    def questions(self) -> list[Turn]:
        """Write a yes/no question, often with a second one that leans on its answer."""
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
        Fewest turns; a second question may add one.

    Returns
    -------
    list of Turn
        At most one caption request, colour questions about present objects, and yes/no questions.
    """
    author = _Author(rng, scene, habits)
    written: list[Turn] = []
    captioned = False
    while len(written) < turns:
        draw = rng.random()
        if draw < _CAPTION_SHARE and not captioned:
            captioned = True
            written.append(author.caption())
        elif draw > 1 - _COLOUR_SHARE:
            written.append(author.colour())
        else:
            written += author.questions()
    return written
