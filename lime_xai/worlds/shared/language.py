"""The words of a world: names, attributes, requests and questions, and the vocabulary that they are written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
USER, ASSISTANT = "user:", "assistant:"
YES, NO = "yes", "no"


class Truth(Protocol):
    """What there is to perceive: a scene, or the events of a clip."""

    @property
    def present(self) -> tuple[int, ...]:
        """Class indices of what is there, in order."""
        ...

    @property
    def absent(self) -> tuple[int, ...]:
        """Class indices of what is not there, ascending."""
        ...

    def value_of(self, attribute: str, obj: int) -> int:
        """Return the value of an attribute, an index into its words, of something that is there."""
        ...


def partner(obj: int) -> int:
    """Return the class that the training text habitually names together with class ``obj``."""
    return obj ^ 1


def drawn_pairs(
    rng: np.random.Generator, pairs: int, together: float, popularity: Sequence[float] | None = None
) -> list[int]:
    """Draw one or two pairs of partners.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    pairs : int
        Number of pairs to draw from.
    together : float
        Probability that both members of a chosen pair are there.
    popularity : sequence of float, optional
        Probability of each pair; by default all are alike.

    Returns
    -------
    list of int
        Class indices.
    """
    count = 1 if rng.random() < 0.45 else 2
    objects: list[int] = []
    for pair in rng.choice(pairs, count, replace=False, p=popularity).tolist():
        first = 2 * pair + int(rng.integers(2))
        objects += [first, partner(first)] if rng.random() < together else [first]
    return objects


def article(name: str) -> str:
    """Return ``name`` with its indefinite article, such as ``"an umbrella"``."""
    return ("an " if name[0] in "aeiou" else "a ") + name


@dataclass(frozen=True)
class Attribute:
    """Something that everything in a world has one of several values of.

    Attributes
    ----------
    name : str
        ``"colour"``, for example.
    words : tuple of str
        Its values.
    habitual : tuple of int
        For each class the value that the training text usually gives it.
    question, clause : str
        With ``{name}`` for the class, and in the clause ``{word}`` for the value.
    plural : str
        ``"colours"``, for example.
    """

    name: str
    words: tuple[str, ...]
    habitual: tuple[int, ...]
    question: str
    clause: str
    plural: str


@dataclass(frozen=True, eq=False)
class Language:
    """The words of a world.

    Attributes
    ----------
    classes : tuple of str
        Names; 2k and 2k + 1 are partners.
    popularity : numpy.ndarray
        How often the training text speaks of each class, shape [C].
    attributes : (Attribute, Attribute)
        What the text tells of a class beside its name.
    numbers : tuple of str
        Answers to how many there are.
    exists, count_question, caption_request, detail_request, inventory_request : str
        What is asked; ``exists`` has ``{name}`` for the class with its article.
    vocabulary : mapping of str to int
        Word to token id.
    """

    classes: tuple[str, ...]
    popularity: NDArray[np.float64]
    attributes: tuple[Attribute, Attribute]
    numbers: tuple[str, ...]
    exists: str
    count_question: str
    caption_request: str
    detail_request: str
    inventory_request: str
    vocabulary: Mapping[str, int]

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of lower-case words separated by spaces (KeyError for an unknown word)."""
        return tuple(self.vocabulary[word] for word in text.split())

    def exists_question(self, obj: int) -> str:
        """Return the yes/no question about a class."""
        return self.exists.format(name=article(self.classes[obj]))

    def attribute_question(self, attribute: Attribute, obj: int) -> str:
        """Return the question about the value of an attribute of a class."""
        return attribute.question.format(name=self.classes[obj])

    def mentions(self, caption: str) -> tuple[int, ...]:
        """Return the class of every mention of one in a caption, in order, repetitions included."""
        words = caption.replace(EOS, " ").replace(",", " ").replace(".", " ").lower().split()
        return tuple(self.classes.index(word) for word in words if word in self.classes)

    def caption_text(self, objects: Sequence[int]) -> str:
        """Return the caption that names classes in this order."""
        return "there is " + " , ".join(article(self.classes[o]) for o in objects) + " ."
