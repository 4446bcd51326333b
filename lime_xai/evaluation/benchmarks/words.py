"""Words of free text: tokens in the singular, by parsers with names; and the part of a text that is finished."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, overload

from lime_xai.errors import check_free, unknown_name

Words = Callable[[str, AbstractSet[str]], Sequence[str]]
"""Takes a text and the words that the benchmark knows; returns the text's tokens in order, words in the singular."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class TextParser:
    """How words are taken from free text.

    Attributes
    ----------
    words : callable
        Takes a text and the set of words that the benchmark knows. Returns all tokens of the text in order: words in
        lower case and in the singular, and punctuation marks as tokens of their own, so that two words on both sides
        of a comma are no pair. The known words may be ignored.
    check : callable
        Takes nothing, and raises ``ImportError`` if a package or its data is missing; called before any compute.
    """

    words: Words
    check: Callable[[], None] = _nothing


TEXT_PARSERS: dict[str, TextParser] = {}
"""Every way to take words from free text, by name. The name is part of every result."""


def register_text_parser(name: str, parser: TextParser) -> None:
    """Add a way to take words from free text, a lemmatiser of your own for example.

    A worker process has its own registry: register the parser where it is imported there too.

    Raises
    ------
    ValueError
        If the name is taken, or holds a ``+``, which begins a suffix.
    """
    check_free(f"text parser {name!r}", TEXT_PARSERS.get(name))
    if "+" in name:
        raise ValueError(f"found {name!r}; expected the name of a parser without '+', which begins a suffix.")
    TEXT_PARSERS[name] = parser


def text_parser(name: str) -> TextParser:
    """Return a way to take words from free text.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in TEXT_PARSERS:
        raise unknown_name("text parser", name, TEXT_PARSERS)
    return TEXT_PARSERS[name]


class Names(Sequence[str]):
    """Names that are looked up each time, so that parsers registered later are among them.

    Parameters
    ----------
    names : callable
        Returns them in order.
    """

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """Return one of them."""
        return list(self._names())[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(self._names()))


_END = re.compile(r"[.!?]+[\"'\u201d\u2019)\]]*(?=\s|$)")
"""End of a sentence: its mark, closing quotes and brackets, then a space or nothing. So "2.5" ends none."""


def finished(text: str) -> str:
    """Return a text up to the end of its last finished sentence; empty if none is finished.

    A limit of tokens cuts most answers inside a sentence. Whether the words of that sentence count changes CHAIR by
    several points at 64 tokens. A text without a mark at its end counts as cut. The dot of an abbreviation counts as
    an end.
    """
    ends = [found.end() for found in _END.finditer(text)]
    return text[: ends[-1]] if ends else ""


_TOKEN = re.compile(r"[^\W_]+(?:-[^\W_]+)*|\S")
"""A word, hyphens inside included, or one mark. An apostrophe is a mark: "dog's" is "dog", "'", "s"."""

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "geese": "goose",
    "mice": "mouse",
    "oxen": "ox",
    "feet": "foot",
    "teeth": "tooth",
}


def rules_words(text: str, known: AbstractSet[str]) -> list[str]:
    """Return the tokens of a text; plurals of known words in the singular.

    A word that is known is left as it is ("skis", "bus"). Otherwise these are tried in order, and the first that is
    known is taken: irregular plurals, and the endings -s, -es, -ies, -ves and -men. Every other word is left as it is.
    No part of speech is looked at: "he parks" is a park, if that is known.

    Parameters
    ----------
    text : str
        In any case; tokens are in lower case, except that a known word with capitals is returned as it is known.
    known : set of str
        Words of the benchmark.
    """
    by_lower = _by_lower(frozenset(known))
    return [_singular(token, by_lower) for token in _TOKEN.findall(text.lower())]


@lru_cache(maxsize=64)
def _by_lower(known: frozenset[str]) -> dict[str, str]:
    return {word.lower(): word for word in sorted(known)}


def _singular(token: str, known: dict[str, str]) -> str:
    if token in known:
        return known[token]
    return next((known[one] for one in _singulars(token) if one in known), token)


def _singulars(token: str) -> list[str]:
    found = [_IRREGULAR[token]] if token in _IRREGULAR else []
    if token.endswith("men"):
        found.append(token[:-3] + "man")
    if token.endswith("s") and not token.endswith("ss"):
        found.append(token[:-1])
    if token.endswith("es"):
        found.append(token[:-2])
    if token.endswith("ies"):
        found.append(token[:-3] + "y")
    if token.endswith("ves"):
        found += [token[:-3] + "f", token[:-3] + "fe"]
    return found


NLTK_DATA = ("punkt_tab", "averaged_perceptron_tagger_eng", "wordnet")
"""Data that the parser ``nltk`` reads."""

_WORDNET_CLASSES = {"J": "a", "V": "v", "N": "n", "R": "r"}


@lru_cache(maxsize=1)
def nltk_modules() -> tuple[Any, Any]:
    """Return the package NLTK and a WordNet lemmatiser, after a try of both.

    Raises
    ------
    ImportError
        If the package or its data is missing; says how to get it.
    """
    try:
        nltk: Any = import_module("nltk")
        lemmatiser: Any = import_module("nltk.stem").WordNetLemmatizer()
        lemmatiser.lemmatize(nltk.pos_tag(nltk.word_tokenize("a dog"))[1][0])
    except ImportError as error:
        raise ImportError(
            f"The parser needs NLTK, which is not installed ({error}): pip install nltk; or the parser 'rules'."
        ) from error
    except LookupError as error:
        raise ImportError(
            "The parser needs data of NLTK, which are not there: python -m nltk.downloader "
            f"{' '.join(NLTK_DATA)}; or the parser 'rules'."
        ) from error
    return nltk, lemmatiser


def nltk_words(text: str, known: AbstractSet[str]) -> list[str]:
    """Return the tokens of a text by NLTK: lower case, tokenised, tagged, lemmatised by WordNet for their tag.

    This is what the CHAIR scripts of OPERA, PAI and lmms-eval do. The original of 2018 puts words into the singular
    with the package ``pattern`` instead. ``known`` is not looked at.

    Raises
    ------
    ImportError
        If NLTK or its data is missing.
    """
    nltk, lemmatiser = nltk_modules()
    tagged = nltk.pos_tag(nltk.word_tokenize(text.lower()))
    return [lemmatiser.lemmatize(token, pos=_WORDNET_CLASSES.get(tag[:1], "n")) for token, tag in tagged]


def check_nltk() -> None:
    """Raise ``ImportError`` if NLTK or its data is missing."""
    nltk_modules()


register_text_parser("nltk", TextParser(nltk_words, check_nltk))
register_text_parser("rules", TextParser(rules_words))
