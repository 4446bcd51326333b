"""What is said about photographs: requests, answers, captions, and what the language model itself takes for granted.

No text here has a habit that we put in. Which objects belong together, which are named most, and which colour an
object usually has, is what SmolLM2 itself finds most probable without a picture: ``priors.json``, written by
``python -m benchmarks.photographs priors``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from lime_xai.storage.store import read_json
from lime_xai.worlds.shared.language import Attribute, Language, article

from .catalogue import CLASSES
from .placed import SIDES
from .scenes import MOST
from .tints import TINTS

CAPTION_REQUEST: Final = "What is in the picture?"
DETAIL_REQUEST: Final = "Describe the picture in two sentences."
COUNT_QUESTION: Final = "How many objects are in the picture?"
EXISTS: Final = "Is there {name} in the picture?"
NUMBERS: Final = ("one", "two", "three", "four", "five", "six")[:MOST]
"""Small letters, as colours and sides have them: "Orange" and "Purple" are two tokens of SmolLM2, "orange" is one."""
PRIORS: Final = Path(__file__).with_name("priors.json")


class NamePriors(TypedDict):
    """What SmolLM2 finds most probable among names, without a picture or sound.

    Attributes
    ----------
    model : str
        SHA-256 of its weights.
    pairs : list of [str, str]
        Every class in one pair; how they are chosen says ``priors.paired``.
    popularity : dict of str to float
        Probability of each name as the first one of a caption, among all names.
    """

    model: str
    pairs: list[tuple[str, str]]
    popularity: dict[str, float]


class Priors(NamePriors):
    """What SmolLM2 finds most probable without a picture.

    Attributes
    ----------
    colours, sides : dict of str to str
        The most probable answer to the question about each class.
    """

    colours: dict[str, str]
    sides: dict[str, str]


@dataclass(frozen=True, eq=False)
class PhotoLanguage(Language):
    """The words of photographs.

    Attributes
    ----------
    partners : tuple of int
        For each class the one that it is paired with.
    """

    partners: tuple[int, ...] = ()

    def partner(self, obj: int) -> int:
        """Return the class that is paired with class ``obj``."""
        return self.partners[obj]

    def caption_text(self, objects: Sequence[int]) -> str:
        """Return the caption that names classes in this order: "There is a dog, a cup and a lemon."."""
        *most, last = (article(self.classes[obj]) for obj in objects)
        return f"There is {', '.join(most)} and {last}." if most else f"There is {last}."

    def caption_begun(self, named: Sequence[int], following: int) -> str:
        """Return a caption that has named some classes, up to and with the article of the next one."""
        said = ", ".join(article(self.classes[obj]) for obj in named)
        return f"There is {said} and {self.article_of(following)}" if said else f"There is {self.article_of(following)}"

    def premise(self, named: int) -> str:
        """Return the beginning of an answer that takes for granted that a class is there."""
        return f"Next to the {self.classes[named]}, there is"


def colour_attribute(habitual: Sequence[int]) -> Attribute:
    """Return the attribute of tinted objects; its values are ``tints.TINTS``."""
    return Attribute(
        "colour", TINTS, tuple(habitual), "What colour is the {name}?", "the {name} is {word} .", "colours"
    )


def side_attribute(habitual: Sequence[int]) -> Attribute:
    """Return the attribute of objects that are not in the middle; its values are ``scenes.SIDES``."""
    return Attribute("side", SIDES, tuple(habitual), "Where is the {name}?", "the {name} is on the {word} .", "sides")


def language_of(priors: Priors) -> PhotoLanguage:
    """Return the words of photographs with what a language model takes for granted.

    Raises
    ------
    ValueError
        If the priors are about other classes, or a class is in no pair or in two.
    """
    check_classes("colours", priors["colours"], CLASSES)
    partners, popularity = partners_of(priors["pairs"], CLASSES), popularity_of(priors["popularity"], CLASSES)
    return PhotoLanguage(
        classes=CLASSES,
        popularity=popularity,
        attributes=(
            colour_attribute([TINTS.index(priors["colours"][name]) for name in CLASSES]),
            side_attribute([SIDES.index(priors["sides"][name]) for name in CLASSES]),
        ),
        numbers=NUMBERS,
        exists=EXISTS,
        count_question=COUNT_QUESTION,
        caption_request=CAPTION_REQUEST,
        detail_request=DETAIL_REQUEST,
        inventory_request=CAPTION_REQUEST,
        vocabulary={},
        yes="Yes",
        no="No",
        partners=partners,
    )


def partners_of(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> tuple[int, ...]:
    """Return for each class the index of the one it is paired with.

    Raises
    ------
    ValueError
        If a class is in no pair or in two, or a pair names another class.
    """
    check_classes("pairs", [name for pair in pairs for name in pair], classes)
    partners = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return tuple(classes.index(partners[name]) for name in classes)


def popularity_of(found: Mapping[str, float], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each class among the first names of captions, [classes]; the sum is one.

    Raises
    ------
    ValueError
        If the probabilities are those of other classes.
    """
    check_classes("popularity", found, classes)
    popularity = np.array([found[name] for name in classes], np.float64)
    shares: NDArray[np.float64] = popularity / popularity.sum()
    return shares


def check_classes(what: str, names: Iterable[str], classes: Sequence[str]) -> None:
    """Refuse priors that do not name each class once.

    Raises
    ------
    ValueError
        Names the classes that differ.
    """
    found = sorted(names)
    if found != sorted(classes):
        wrong = sorted(set(found) ^ set(classes)) or "a class twice"
        raise ValueError(f"the {what} of the priors do not fit the {len(classes)} classes: {wrong}; write them again")


def single_tokens(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Return the token id of each word, written as it stands, with its space if it has one before it.

    Raises
    ------
    ValueError
        If a word is more than one token.
    """
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    long = [word for word, ids in zip(words, pieces, strict=True) if len(ids) != 1]
    if long:
        raise ValueError(f"the tokenizer splits {', '.join(map(repr, long))}; expected one token each")
    return [ids[0] for ids in pieces]


def read_priors(path: Path = PRIORS) -> Priors:
    """Return what ``python -m benchmarks.photographs priors`` wrote."""
    found: Any = read_json(path, "priors of a language model", Priors)
    return cast(Priors, found)
