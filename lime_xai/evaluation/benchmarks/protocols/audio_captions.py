"""Audio hallucination, generative part: objects that captions of sounds name (Kuan et al., Interspeech 2024)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.records import Record, check_count, check_unique, read_records
from lime_xai.evaluation.benchmarks.words import TEXT_PARSERS, Names, TextParser, text_parser
from lime_xai.evaluation.bootstrap import Floats

CLIPS = 957
"""Sounds of the official test split."""

QUESTIONS = (
    "Describe the audio.",
    "What do you hear?",
    "What can be inferred from the audio?",
    "This is a sound of",
    "Generate audio caption:",
)
"""The five prompts of the official ``generative_tasks/inference.py``; measures are over all of them."""

OBJECTS = "objects"
"""Parser for answers that are lists of objects already."""


@register_protocol
class AudioCaptions(Protocol):
    """Objects that captions of a sound name, against those of its label.

    Each sound is described after each of the five official prompts. A prompt is a group of items.

    The official script measures lists of objects, and says nothing of how they are taken from a caption. So no parser
    is the official one:

    - ``objects``: an answer is a JSON array of strings, taken from the caption by a tool of yours. Measures are then
      those of the official script.
    - ``rules`` and others of ``words.TEXT_PARSERS``: objects are the labels of all sounds in the file, found as whole
      words in the singular, the longest first. An object that no sound's label has is not seen.

    An answer that names nothing has CHAIR and Hal of -1, and these are averaged in, as in the official script: silence
    makes both better. So ``named`` and ``chair_named`` are beside them.
    """

    name = "audio-captions"
    source = "Kuan et al., Interspeech 2024, arXiv:2406.08402; github.com/kuan2jiu99/audio-hallucination"
    files: ClassVar[Mapping[str, str]] = {
        "labels": "JSON lines of huggingface.co/datasets/kuanhuggingface/audiocaps_hallucination, "
        "with youtube_id, label, and the file's path as audio"
    }
    prompts: ClassVar[Mapping[str, str]] = {"plain": "{question}"}
    parsers: ClassVar[Sequence[str]] = Names(lambda: [*sorted(TEXT_PARSERS, key=lambda name: name != "rules"), OBJECTS])
    tokens = 128
    measures: ClassVar[Mapping[str, Measure]] = {
        "chair": Measure("low", "mean share of named objects which are not there, -1 where nothing is named (ECHO)"),
        "cover": Measure("high", "mean share of the objects there that are named"),
        "hal": Measure("low", "mean of 1 for captions with an object that is not there, -1 where nothing is named"),
        "chair_named": Measure("low", "as chair, over captions that name something"),
        "named": Measure("high", "share of captions that name something"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return five items for each sound; parameters and errors are those of ``Protocol.read``."""
        self.check_files(files)
        path = files["labels"]
        records = read_records(path)
        check_count(path, len(records), CLIPS, partial)
        ids = [record.take("youtube_id", str) for record in records]
        check_unique(records, ids, "sound")
        labels = [_labels(record) for record in records]
        # One string for all items: it has a hash, which a list does not have.
        known = "\n".join(sorted({label for found in labels for label in found}))
        folder = path.parent if media is None else media
        return [
            Item(
                id=f"{clip}/{number}",
                question=question,
                sounds=(folder / _file(record),),
                group=question,
                truth={"objects": there, "known": known},
                unit=clip,
                place=record.place,
            )
            for clip, record, there in zip(ids, records, labels, strict=True)
            for number, question in enumerate(QUESTIONS, start=1)
        ]

    def check_package(self, parser: str) -> None:
        """Refuse a parser whose package or data is missing (ImportError)."""
        if parser != OBJECTS:
            text_parser(parser).check()

    def count(self, item: Item, answer: str, parser: str) -> dict[str, float]:
        """Return the caption's CHAIR, Cover and Hal, which add up to means, and whether it names anything.

        Raises
        ------
        ValueError
            For an answer that is no list of objects, if the parser expects one.
        """
        there = set(item.truth["objects"])
        if parser == OBJECTS:
            said = _listed(item, answer)
        else:
            labels = _labels_read(item.truth["known"], text_parser(parser))
            said, there = labels.found(answer), {labels.same[label] for label in there}
        absent = len(said - there) / len(said) if said else 0.0
        return {
            "chair": absent if said else -1.0,
            "cover": len(said & there) / len(there),
            "hal": float(absent > 0) if said else -1.0,
            "chair_named": absent,
            "named": float(bool(said)),
        }

    def values(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return means over captions."""
        means = {name: ratio(sums[name], sums["items"]) for name in ("chair", "cover", "hal", "named")}
        return {**means, "chair_named": ratio(sums["chair_named"], sums["named"])}


def _labels(record: Record) -> list[str]:
    found: list[str] = record.take("label", list[str])
    if not found or any(not label.strip() or "\n" in label for label in found):
        raise record.wrong(f"found the label {found}; expected a list of objects, none of them empty")
    return found


def _file(record: Record) -> str:
    """Return the path of a sound: text, or what the column holds undecoded, an object with ``path``."""
    if isinstance(record.data.get("audio"), dict):
        record = Record(f"{record.place}, audio", record.data["audio"])
        return str(record.take("path", str))
    return str(record.take("audio", str))


def _listed(item: Item, answer: str) -> set[str]:
    try:
        found = json.loads(answer)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(
            f"{item.place}: the answer to {item.id!r} is {answer[:80]!r}; the parser {OBJECTS!r} expects a JSON array "
            "of strings. Read captions with another parser."
        )
    return set(found)


@dataclass(frozen=True)
class _Labels:
    """Labels of all sounds as a parser reads them.

    Attributes
    ----------
    parser : TextParser
        The parser.
    words : frozenset of str
        Their single words.
    phrases : dict of tuple of str to str
        The labels by their tokens.
    same : dict of str to str
        The label that stands for each: two that differ in case only, for example, are one object.
    """

    parser: TextParser
    words: frozenset[str]
    phrases: Mapping[tuple[str, ...], str]
    same: Mapping[str, str]

    def found(self, text: str) -> set[str]:
        """Return the labels that a text names; where two begin at one word, the longer one."""
        tokens = tuple(self.parser.words(text, self.words))
        longest = max(map(len, self.phrases))
        found: set[str] = set()
        place = 0
        while place < len(tokens):
            sizes = range(min(longest, len(tokens) - place), 0, -1)
            size = next((size for size in sizes if tokens[place : place + size] in self.phrases), 0)
            if size:
                found.add(self.phrases[tokens[place : place + size]])
            place += size or 1
        return found


@lru_cache(maxsize=8)
def _labels_read(known: str, parser: TextParser) -> _Labels:
    labels = known.split("\n")
    words = frozenset(word for label in labels for word in label.lower().split())
    phrases: dict[tuple[str, ...], str] = {}
    same = {label: phrases.setdefault(tuple(parser.words(label, words)), label) for label in labels}
    return _Labels(parser, words, phrases, same)
