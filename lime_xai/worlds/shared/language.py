"""The words of a world: names, attributes, requests and questions, and the vocabulary that they are written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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

    def value_of(self, attribute: str, obj: int) -> int | None:
        """Return the value of an attribute, an index into its words, of something that is there, or None."""
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

    def word_of(self, truth: Truth, obj: int) -> str:
        """Return the word for the value that something has (ValueError if it has none)."""
        value = truth.value_of(self.name, obj)
        if value is None:
            raise ValueError(f"thing {obj} has no {self.name}; expected one of {', '.join(self.words)}")
        return self.words[value]


@dataclass(frozen=True, eq=False)
class Language:
    """The words of a world.

    Attributes
    ----------
    classes : tuple of str
        Names; 2k and 2k + 1 are partners.
    popularity : numpy.ndarray
        How often the training text speaks of each class, shape [C].
    attributes : tuple of Attribute
        What the text tells of a class beside its name; none where nothing is asked but names.
    numbers : tuple of str
        Answers to how many there are.
    exists, count_question, caption_request, detail_request, inventory_request : str
        What is asked; ``exists`` has ``{name}`` for the class with its article.
    vocabulary : mapping of str to int
        Word to token id; empty where a tokenizer of word pieces writes the text.
    yes, no : str
        The answers to ``exists``.
    """

    classes: tuple[str, ...]
    popularity: NDArray[np.float64]
    attributes: tuple[Attribute, ...]
    numbers: tuple[str, ...]
    exists: str
    count_question: str
    caption_request: str
    detail_request: str
    inventory_request: str
    vocabulary: Mapping[str, int]
    yes: str = YES
    no: str = NO

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

    def partner(self, obj: int) -> int:
        """Return the class that a language habitually names together with class ``obj``; here 2k and 2k + 1."""
        return partner(obj)

    def caption_begun(self, named: Sequence[int], following: int) -> str:
        """Return what a prompt goes on with: a caption that has named some classes, before the word of another.

        Parameters
        ----------
        named : sequence of int
            Classes that the caption has named.
        following : int
            The class whose name would come next, after the article that is its own.
        """
        return " there is " + " , ".join([*(article(self.classes[o]) for o in named), self.article_of(following)])

    def article_of(self, obj: int) -> str:
        """Return the indefinite article of a class."""
        return article(self.classes[obj]).split()[0]


def object_tokens(processor: Any, language: Language) -> tuple[int, ...]:
    """Return the token ids of the names of classes that are words of a word-level tokenizer, in their order."""
    return tuple(processor.tokenizer.convert_tokens_to_ids(list(language.classes)))
