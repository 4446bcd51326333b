"""Objects of COCO as captions name them: synonyms, pairs of words, and what both stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from lime_xai.evaluation.benchmarks.records import read_text
from lime_xai.evaluation.benchmarks.words import TextParser
from lime_xai.storage.store import DamagedFileError

_PAIRS = (
    "motor bike",
    "motor cycle",
    "air plane",
    "traffic light",
    "street light",
    "traffic signal",
    "stop light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "suit case",
    "sports ball",
    "baseball bat",
    "baseball glove",
    "tennis racket",
    "wine glass",
    "hot dog",
    "cell phone",
    "mobile phone",
    "teddy bear",
    "hair drier",
    "potted plant",
    "laptop computer",
    "home plate",
    "train track",
)
_ANIMALS = (
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "animal",
    "cub",
)

PAIRS: Mapping[str, str] = {
    **{pair: pair for pair in _PAIRS},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
    "wine glas": "wine glass",  # what the first lemmatiser made of "wine glasses"
}
"""Pairs of words that are one object, and the word that each is read as (Rohrbach et al. 2018, ``utils/chair.py``).

A "baby elephant" is an elephant and no person, a "train track" is no train, a "home plate" is no plate.
"""


@dataclass(frozen=True)
class Vocabulary:
    """Words of a synonyms file.

    Attributes
    ----------
    node_of : mapping of str to str
        The class of each word.
    known : frozenset of str
        Single words in lower case that words of a text are compared with: all single synonyms, and the words of pairs.
    """

    node_of: Mapping[str, str]
    known: frozenset[str]


@lru_cache(maxsize=8)
def vocabulary(synonyms: str) -> Vocabulary:
    """Return the words of a synonyms file's text.

    A line is a class: its name, then its synonyms, all separated by a comma and one space. Nothing else is stripped
    between them: the official file has two words with a space too many (" motor bike", " cheesecake") and one with a
    capital ("iPhone"), which the official script can therefore not find. Numbers are comparable only if nothing else
    finds them.
    """
    classes = [line.strip().split(", ") for line in synonyms.split("\n") if line.strip()]
    node_of = {word: words[0] for words in classes for word in words}
    parts = {part for text in (*node_of, *PAIRS, *PAIRS.values()) for part in text.split(" ")}
    return Vocabulary(node_of, frozenset(part for part in parts if part and part == part.lower()))


def read_synonyms(path: Path) -> str:
    """Return the text of a synonyms file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is no text, is empty, or has a word in two classes; names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}; CHAIR needs data/synonyms.txt of github.com/LisaAnne/Hallucination."
        )
    text = read_text(path, "give the official synonyms.txt")
    class_of: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.strip().split(", ") if line.strip() else []
        for word in words:
            if not word.strip():
                raise DamagedFileError(f"{path}, line {number}: an empty word; expected words separated by ', '.")
            earlier, place = class_of.setdefault(word, (words[0], number))
            if earlier != words[0]:
                raise DamagedFileError(
                    f"{path}, line {number}: {word!r} is a word of {words[0]!r}, and of {earlier!r} in line {place}; "
                    "expected one class."
                )
    if not class_of:
        raise DamagedFileError(f"{path} is empty; expected a class a line, its synonyms separated by ', '.")
    return text


@dataclass(frozen=True)
class Mentions:
    """Objects that a text names.

    Attributes
    ----------
    nodes : tuple of str
        Class of each mention, in order: an object that is named twice is there twice.
    tokens : int
        Tokens of the text, punctuation included, a pair counted once: the length that scripts report.
    """

    nodes: tuple[str, ...]
    tokens: int


@lru_cache(maxsize=1 << 16)
def mentions(text: str, synonyms: str, parser: TextParser) -> Mentions:
    """Return the objects of COCO that a text names (Rohrbach et al. 2018).

    1. The parser gives tokens in the singular.
    2. From left to right, a pair of ``PAIRS`` becomes one word.
    3. "seat" is left out of a text with a toilet: the seat of a toilet is no chair.
    4. Words of the synonyms file become their class.

    Parameters
    ----------
    text : str
        A caption or an answer.
    synonyms : str
        Text of the synonyms file.
    parser : TextParser
        How words are taken.
    """
    words = vocabulary(synonyms)
    tokens = _paired(parser.words(text, words.known))
    kept = [token for token in tokens if token != "seat"] if "toilet" in tokens else tokens
    return Mentions(tuple(words.node_of[token] for token in kept if token in words.node_of), len(tokens))


def _paired(tokens: Sequence[str]) -> list[str]:
    found: list[str] = []
    taken = False
    for one, two in pairwise((*tokens, "")):
        if taken:
            taken = False
            continue
        pair = PAIRS.get(f"{one} {two}")
        taken = pair is not None
        found.append(one if pair is None else pair)
    return found
