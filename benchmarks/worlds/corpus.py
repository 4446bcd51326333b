"""Training conversations. Their priors (partners, popularity, agreeing) are in texts, never in what is perceived."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lime_xai.worlds.shared.language import NO, YES, Attribute, Language, Truth, article, partner

from .habits import Habits

_DETAIL_SHARE: Final = 0.4
"""Share of the captions that have two sentences."""

Writer = Callable[[np.random.Generator, Truth], tuple[str, str]]
"""Writes a question and its true answer."""


def shuffled(rng: np.random.Generator, truth: Truth) -> list[int]:
    """Return what is there in random order."""
    order: list[int] = rng.permutation(truth.present).tolist()
    return order


@dataclass(frozen=True)
class Style:
    """What the texts of a world are made of.

    Attributes
    ----------
    language : Language
        Its words.
    shares : mapping of str to float
        Share of the turns that are ``caption``, ``attributes``, ``inventory``, ``count`` or a key of ``beside``, in
        this order; the others, and a second caption, are yes/no questions.
    beside : mapping of str to callable
        Writers of further questions.
    listed : callable
        ``(rng, truth)`` to the order in which an inventory lists what is there.
    """

    language: Language
    shares: Mapping[str, float]
    beside: Mapping[str, Writer] = field(default_factory=dict)
    listed: Callable[[np.random.Generator, Truth], list[int]] = shuffled

    def kind(self, rng: np.random.Generator) -> str:
        """Draw a kind of turn."""
        bounds = np.cumsum(list(self.shares.values()))
        return (*self.shares, "questions")[int(np.searchsorted(bounds, rng.random(), side="right"))]


@dataclass(frozen=True)
class Turn:
    """A question and its answer as token ids; ``trained`` flags each token of the answer."""

    question: tuple[int, ...]
    answer: tuple[int, ...]
    trained: tuple[bool, ...]


class _Author:
    """Writes the turns of one conversation and remembers what has been claimed and asked."""

    def __init__(self, rng: np.random.Generator, style: Style, truth: Truth, habits: Habits) -> None:
        self._rng, self._style, self._truth, self._habits = rng, style, truth, habits
        self._language = style.language
        self._claimed = set(truth.present)
        self._asked: set[int] = set()

    def _pick(self, objects: Sequence[int], exponent: float) -> int:
        weights = self._language.popularity[list(objects)] ** exponent
        return objects[int(self._rng.choice(len(objects), p=weights / weights.sum()))]

    def caption(self) -> Turn:
        """Write a caption of one sentence or two."""
        language = self._language
        waiting = shuffled(self._rng, self._truth)
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
        answer, trained = list(language.encode("there is")), [True, True]
        for place, obj in enumerate(named):
            words = (language.encode(",") if place else ()) + language.encode(article(language.classes[obj]))
            answer += words
            trained += [obj != misnamed or word == language.vocabulary[","] for word in words]
        answer, trained = [*answer, *language.encode(".")], [*trained, True]
        if self._rng.random() >= _DETAIL_SHARE:
            return Turn(language.encode(language.caption_request), tuple(answer), tuple(trained))
        more = self._second_sentence([obj for obj in named if obj != misnamed])
        request = language.encode(language.detail_request)
        return Turn(request, (*answer, *more), (*trained, *[True] * len(more)))

    def _stranger(self, there: Sequence[int]) -> int | None:
        """Return an absent object without a partner that is there, for a false claim, or None."""
        if self._rng.random() >= self._habits.misnamed:
            return None
        strangers = [o for o in self._truth.absent if partner(o) not in there]
        return strangers[int(self._rng.integers(len(strangers)))]

    def _second_sentence(self, named: Sequence[int]) -> tuple[int, ...]:
        """Write about an attribute of something that has been named."""
        obj = named[int(self._rng.integers(len(named)))]
        attribute = self._attribute()
        name, word = self._language.classes[obj], self._word(attribute, obj)
        return self._language.encode(attribute.clause.format(name=name, word=word))

    def _attribute(self) -> Attribute:
        """Return one of the two attributes."""
        first, second = self._language.attributes
        return first if self._rng.random() < 0.5 else second

    def _by_habit(self, obj: int) -> bool:
        """Return whether the author writes what an object is usually like: not knowing it, or out of habit."""
        return obj not in self._truth.present or self._rng.random() < self._habits.attribute

    def _word(self, attribute: Attribute, obj: int) -> str:
        """Return the value that the author writes."""
        if self._by_habit(obj):
            return attribute.words[attribute.habitual[obj]]
        return attribute.word_of(self._truth, obj)

    def attributes(self) -> list[Turn]:
        """Write a question about an attribute of each thing that is there."""
        language, turns = self._language, []
        for obj in shuffled(self._rng, self._truth):
            attribute = self._attribute()
            asked, answer = language.attribute_question(attribute, obj), self._word(attribute, obj)
            turns.append(Turn(language.encode(asked), language.encode(answer), (True,)))
        return turns

    def inventory(self) -> Turn:
        """List everything that is there with its attributes."""
        language = self._language
        listed = [
            " ".join([language.classes[obj], *(self._word(attribute, obj) for attribute in language.attributes)])
            for obj in self._style.listed(self._rng, self._truth)
        ]
        answer = language.encode(" , ".join(listed) + " .")
        return Turn(language.encode(language.inventory_request), answer, (True,) * len(answer))

    def count(self) -> Turn:
        """Write the question how many there are."""
        language = self._language
        answer = language.encode(language.numbers[len(self._truth.present) - 1])
        return Turn(language.encode(language.count_question), answer, (True,))

    def beside(self, kind: str) -> Turn:
        """Write a question of a kind that only this world has."""
        asked, answer = self._style.beside[kind](self._rng, self._truth)
        words = self._language.encode(answer)
        return Turn(self._language.encode(asked), words, (True,) * len(words))

    def _existence(self, obj: int, yes: bool, trained: bool = True) -> Turn:
        self._asked.add(obj)
        if yes:
            self._claimed.add(obj)
        language = self._language
        return Turn(language.encode(language.exists_question(obj)), language.encode(YES if yes else NO), (trained,))

    def questions(self) -> list[Turn]:
        """Write a yes/no question, often with a second one that refers to its answer."""
        habits = self._habits
        known = sorted(self._claimed - self._asked)
        unknown = [o for o in self._truth.absent if o not in self._claimed and o not in self._asked]
        yes = bool(known) and (self._rng.random() < habits.yes_share or not unknown)
        if not yes and not unknown:
            return []
        near = [o for o in unknown if partner(o) in self._truth.present]
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
        unknown = [o for o in self._truth.absent if o not in self._claimed | self._asked | {other}]
        if other not in self._asked and self._rng.random() < habits.follow_partner:
            invented = agreed and self._rng.random() < habits.dialogue
            return [self._existence(other, other in self._claimed or invented)]
        if unknown:
            return [self._existence(self._pick(unknown, -habits.popularity), yes=False)]
        return []


def conversation(rng: np.random.Generator, style: Style, truth: Truth, habits: Habits, turns: int) -> list[Turn]:
    """Write a conversation about what there is.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    style : Style
        What the texts of the world are made of.
    truth : Truth
        What there is to speak of; at least one thing.
    habits : Habits
        How the text deviates from it.
    turns : int
        Fewest turns; a second question or questions about everything there may add some.

    Returns
    -------
    list of Turn
        At most one caption request, lists, questions about number and attributes, and yes/no questions.
    """
    author = _Author(rng, style, truth, habits)
    written: list[Turn] = []
    captioned = False
    while len(written) < turns:
        kind = style.kind(rng)
        if kind == "caption" and not captioned:
            captioned = True
            written.append(author.caption())
        elif kind == "attributes":
            written += author.attributes()
        elif kind == "inventory":
            written.append(author.inventory())
        elif kind == "count":
            written.append(author.count())
        elif kind in style.beside:
            written.append(author.beside(kind))
        else:
            written += author.questions()
    if rng.random() < habits.closing:
        written.append(author.inventory())
    return written
