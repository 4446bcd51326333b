"""AMBER, generative part: objects that descriptions name, against annotated ones (Wang et al. 2023)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from lime_xai.errors import check_free, unknown_name
from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.records import Record, check_count, check_unique, read_records, read_text
from lime_xai.evaluation.benchmarks.words import Names, Words, nltk_modules, rules_words
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import DamagedFileError

DESCRIPTIONS = 1004
"""Images of the official file."""

SIMILAR = 0.8
"""Cosine of two words' vectors above which they are taken for one another."""


def _never(one: str, other: str) -> bool:
    return False


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class NounParser:
    """How nouns are taken from a description, and which of two are taken for one another.

    Attributes
    ----------
    nouns : callable
        Takes a text and the words that AMBER knows; returns nouns in order. Those that AMBER does not know may be
        among them.
    similar : callable
        Takes a noun and a word of the annotations; returns whether they are taken for one another although they are
        neither equal nor associated. By default never.
    check : callable
        Takes nothing, and raises ``ImportError`` if a package or its data is missing; called before any compute.
    """

    nouns: Words
    similar: Callable[[str, str], bool] = _never
    check: Callable[[], None] = _nothing


NOUN_PARSERS: dict[str, NounParser] = {}
"""Every way to read a description, by name. The name is part of every result."""


def register_noun_parser(name: str, parser: NounParser) -> None:
    """Add a way to read descriptions, with vectors of your own for example.

    A worker process has its own registry: register the parser where it is imported there too.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    check_free(f"noun parser {name!r}", NOUN_PARSERS.get(name))
    NOUN_PARSERS[name] = parser


def nltk_nouns(text: str, known: AbstractSet[str]) -> list[str]:
    """Return the nouns of a text by NLTK, lemmatised by WordNet; capitals are kept, as the official script does.

    Raises
    ------
    ImportError
        If NLTK or its data is missing.
    """
    nltk, lemmatiser = nltk_modules()
    return [lemmatiser.lemmatize(word) for word, tag in nltk.pos_tag(nltk.word_tokenize(text)) if tag.startswith("NN")]


@lru_cache(maxsize=1)
def _vectors() -> Any:
    try:
        return import_module("spacy").load("en_core_web_lg")
    except (ImportError, OSError) as error:
        raise ImportError(
            f"The parser 'official' needs spaCy with its vectors, which are not there ({error}): pip install spacy; "
            "python -m spacy download en_core_web_lg; or the parser 'rules', which compares no vectors."
        ) from error


@lru_cache(maxsize=1 << 16)
def spacy_similar(one: str, other: str) -> bool:
    """Return whether the vectors of spaCy's ``en_core_web_lg`` have a cosine above 0.8.

    Raises
    ------
    ImportError
        If spaCy or this model is missing. Another model gives other numbers, so none is tried.
    """
    vectors = _vectors()
    return bool(vectors(one).similarity(vectors(other)) > SIMILAR)


def _check_official() -> None:
    nltk_modules()
    _vectors()


register_noun_parser("official", NounParser(nltk_nouns, spacy_similar, _check_official))
register_noun_parser("rules", NounParser(rules_words))


@dataclass(frozen=True)
class Relations:
    """What ``relation.json`` holds.

    Attributes
    ----------
    of : mapping of str to list of str
        Words that may stand for an annotated word.
    words : frozenset of str
        All of both: nothing else in a description is looked at.
    """

    of: Mapping[str, Sequence[str]]
    words: frozenset[str]


@lru_cache(maxsize=8)
def relations(text: str) -> Relations:
    """Return the associations of a ``relation.json``'s text."""
    of: dict[str, list[str]] = json.loads(text)
    return Relations(of, frozenset(of).union(*of.values()))


@register_protocol
class AmberGenerative(Protocol):
    """Objects that descriptions name, against those annotated as there, and those that models typically make up.

    Parsers are those of ``NOUN_PARSERS``, your own included. ``official``: NLTK's nouns, and spaCy's vectors
    ``en_core_web_lg`` for words that the annotations lack. ``rules``: words of the vocabulary whatever their part of
    speech, and no vectors, so more words count as hallucinated than with ``official``; it needs no package, and its
    numbers are comparable only with one another.

    The items' truth holds the annotated words, the safe words, and the text of ``relation.json``, one string that all
    items share.
    """

    name = "amber-generative"
    source = "Wang et al. 2023, arXiv:2311.07397; github.com/junyangwang0410/AMBER"
    files: ClassVar[Mapping[str, str]] = {
        "query": "data/query/query_generative.json",
        "annotations": "data/annotations.json",
        "relation": "data/relation.json",
        "safe_words": "data/safe_words.txt",
    }
    prompts: ClassVar[Mapping[str, str]] = {"plain": "{question}"}
    parsers: ClassVar[Sequence[str]] = Names(lambda: NOUN_PARSERS)
    tokens = 512
    measures: ClassVar[Mapping[str, Measure]] = {
        "chair": Measure("low", "share of named objects which are not there, each naming counted"),
        "cover": Measure("high", "share of the annotated objects that are named"),
        "hal": Measure("low", "share of descriptions that name an object which is not there"),
        "cog": Measure("low", "share of the objects that models typically make up which are named"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return an item for each image; parameters and errors are those of ``Protocol.read``."""
        self.check_files(files)
        queries = read_records(files["query"])
        check_count(files["query"], len(queries), DESCRIPTIONS, partial)
        ids = [record.take("id", int) for record in queries]
        check_unique(queries, map(str, ids), "id")
        annotated = _annotations(files["annotations"])
        text = _read_relations(files["relation"])
        safe = _safe_words(files["safe_words"])
        folder = files["query"].parent if media is None else media
        return [
            Item(
                id=str(number),
                question=record.take("query", str),
                images=(folder / record.take("image", str),),
                truth={**_truth(record, number, annotated, relations(text)), "safe": safe, "relation": text},
                unit=str(number),
                place=record.place,
            )
            for number, record in zip(ids, queries, strict=True)
        ]

    def check_package(self, parser: str) -> None:
        """Refuse a parser whose package or data is missing (ImportError)."""
        NOUN_PARSERS[parser].check()

    def count(self, item: Item, answer: str, parser: str) -> dict[str, float]:
        """Return named objects, those that are not there, and how many annotated words of each kind are named.

        Each noun that AMBER knows is compared in this order (``inference.py``):

        1. A safe word counts as named, and as nothing else.
        2. A word of an object that is there covers it.
        3. A word of a typical absent object hits it. A similar one hits it too, whether or not an equal one did.
        4. A word similar to that of an object that is there covers it.
        5. Every noun that 1, 2 and 4 leave is not there.
        """
        if parser not in NOUN_PARSERS:
            raise unknown_name("noun parser", parser, NOUN_PARSERS)
        read, related = NOUN_PARSERS[parser], relations(item.truth["relation"])
        there, absent = _Annotated(item.truth["truth"], related.of), _Annotated(item.truth["hallu"], related.of)
        nouns = [noun for noun in read.nouns(answer, related.words) if noun in related.words]
        hallucinated = 0
        for noun in nouns:
            if noun in item.truth["safe"] or there.name(noun):
                continue
            absent.name(noun)
            absent.resemble(noun, read.similar)
            hallucinated += not there.resemble(noun, read.similar)
        return {
            "nouns": len(nouns),
            "hallucinated": hallucinated,
            "hallucinating": float(hallucinated > 0),
            "there": there.size,
            "covered": len(there.named),
            "absent": absent.size,
            "hit": len(absent.named),
        }

    def values(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return CHAIR, Cover, Hal and Cog as ratios of sums over all descriptions."""
        return {
            "chair": ratio(sums["hallucinated"], sums["nouns"]),
            "cover": ratio(sums["covered"], sums["there"]),
            "hal": ratio(sums["hallucinating"], sums["items"]),
            "cog": ratio(sums["hit"], sums["absent"]),
        }


class _Annotated:
    """Annotated words of one kind, with the words that may stand for them, and which of them were named.

    Words are looked for in the order of the official script: the associations of all annotated words, then these
    words themselves; the first one found decides. A word that is annotated twice counts twice, and only the first of
    the two can be named by the word itself.
    """

    def __init__(self, words: Sequence[str], of: Mapping[str, Sequence[str]]) -> None:
        associated = [(other, place) for place, word in enumerate(words) for other in of[word]]
        self._words = [*associated, *((word, place) for place, word in enumerate(words))]
        self.size = len(words)
        self.named: set[int] = set()

    def name(self, noun: str) -> bool:
        """Note the first annotated word that a noun is a word of, and return whether there is one."""
        return self._note(lambda word: word == noun)

    def resemble(self, noun: str, similar: Callable[[str, str], bool]) -> bool:
        """Note the first annotated word that has a word similar to a noun, and return whether there is one."""
        return self._note(lambda word: similar(noun, word))

    def _note(self, fits: Callable[[str], bool]) -> bool:
        place = next((place for word, place in self._words if fits(word)), None)
        if place is not None:
            self.named.add(place)
        return place is not None


def _annotations(path: Path) -> dict[int, Record]:
    records = read_records(path)
    ids = [record.take("id", int) for record in records]
    check_unique(records, map(str, ids), "id")
    return dict(zip(ids, records, strict=True))


def _truth(query: Record, number: int, annotated: Mapping[int, Record], related: Relations) -> dict[str, list[str]]:
    if number not in annotated:
        raise query.wrong(f"id {number} has no annotation; give the annotations of the same release")
    record = annotated[number]
    if record.take("type", str) != "generative":
        raise record.wrong(f"found type {record.data['type']!r} for a description; expected 'generative'")
    found: dict[str, list[str]] = {}
    for name in ("truth", "hallu"):
        found[name] = record.take(name, list[str])
        if not found[name]:
            raise record.wrong(f"{name!r} is empty; expected words")
        unknown = [word for word in found[name] if word not in related.of]
        if unknown:
            raise record.wrong(f"{unknown[0]!r} of {name!r} is not in relation.json; give that of the same release")
    return found


def _read_relations(path: Path) -> str:
    text = read_text(path)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}, line {error.lineno}: no JSON ({error.msg}); is the file whole?") from error
    if not isinstance(found, dict) or not found:
        raise DamagedFileError(f"{path}: expected an object of words, each with a list of words.")
    record = Record(str(path), found)
    for word in found:
        record.take(word, list[str])
    return text


def _safe_words(path: Path) -> list[str]:
    found = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not found:
        raise DamagedFileError(f"{path} has no words; expected one a line.")
    return found
