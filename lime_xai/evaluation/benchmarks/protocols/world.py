"""The embedded worlds as benchmarks: their scenes are written to files, which are asked like any other benchmark.

So the whole path, from files to tables, runs without a download, and other systems can answer the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import CONFUSION, confusion, harmonic, of_confusion, ratio
from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import write_text
from lime_xai.worlds import World, load_world
from lime_xai.worlds.shared.evaluation import EvaluationSet

FILES = {"questions": "questions.jsonl", "captions": "captions.jsonl"}
"""Names of the files that ``write_world`` makes, by the name that the protocols give them."""

_SPLITS = ("random", "popular", "adversarial")
"""Splits whose questions have one turn."""


def write_world(world: World, folder: Path, seed: int, scenes: int, noise: float | None = None) -> list[Path]:
    """Write scenes of a world as pictures or sounds, with questions about them.

    Questions of the ``dialogue`` split have an earlier turn and are left out. Records of ``questions.jsonl`` are also
    what a benchmark of one's own reads.

    Parameters
    ----------
    world : World
        Draws the scenes.
    folder : Path
        Made if it is not there.
    seed, scenes, noise : int, int, float
        As ``World.evaluation_set`` takes them.

    Returns
    -------
    list of Path
        The two JSON-lines files.
    """
    found = world.evaluation_set(seed, scenes=scenes, noise=noise)
    folder.mkdir(exist_ok=True)
    names = [_write_medium(world, folder, f"{world.name}-{seed}-{index}", one) for index, one in enumerate(found.media)]
    records = {"questions": _questions(world, found, names), "captions": _captions(world, found, names)}
    paths = []
    for name, rows in records.items():
        paths.append(folder / FILES[name])
        write_text(paths[-1], "".join(json.dumps(row) + "\n" for row in rows))
    return paths


def _write_medium(world: World, folder: Path, name: str, medium: Any) -> str:
    """Write one picture, or one sound of 32-bit floats; both are read back as they were."""
    if world.modality == "image":
        medium.save(folder / f"{name}.png")
        return f"{name}.png"
    import soundfile

    from lime_xai.worlds.sound import SAMPLING_RATE

    soundfile.write(folder / f"{name}.wav", medium, SAMPLING_RATE, subtype="FLOAT")
    return f"{name}.wav"


def _questions(world: World, found: EvaluationSet, names: list[str]) -> list[dict[str, Any]]:
    language = world.language
    asked = [question for question in found.questions if question.split in _SPLITS]
    return [
        {
            "id": f"{number}",
            "world": world.name,
            world.modality: names[question.scene],
            "question": language.exists_question(question.obj),
            "answer": language.yes if question.label else language.no,
            "group": question.split,
        }
        for number, question in enumerate(asked, start=1)
    ]


def _captions(world: World, found: EvaluationSet, names: list[str]) -> list[dict[str, Any]]:
    language = world.language
    return [
        {
            "id": name,
            "world": world.name,
            world.modality: name,
            "question": language.caption_request,
            "present": [language.classes[obj] for obj in scene.present],
        }
        for name, scene in zip(names, found.scenes, strict=True)
    ]


def _read(path: Path, media: Path | None) -> tuple[list[Record], list[Item]]:
    """Return the records of a file and their items, without what is true."""
    records = read_records(path)
    folder = path.parent if media is None else media
    items = []
    for record in records:
        try:
            world = load_world(record.take("world", str))
        except ValueError as error:
            raise record.wrong(str(error)) from error
        medium = folder / record.take(world.modality, str)
        where: dict[str, Any] = {"images" if world.modality == "image" else "sounds": (medium,)}
        name, question = record.take("id", str), record.take("question", str)
        items.append(Item(name, question, unit=medium.name, place=record.place, **where))
    check_unique(records, [item.id for item in items], "id")
    return records, items


@register_protocol
class WorldQuestions(Protocol):
    """Closed questions about scenes of an embedded world; ``lime-xai world export`` writes the files."""

    name = "world-questions"
    source = "lime_xai.worlds"
    files: ClassVar[Mapping[str, str]] = {"questions": "questions.jsonl that lime-xai world export has written"}
    prompts: ClassVar[Mapping[str, str]] = {"plain": "{question}"}
    parsers = ("first-word",)
    tokens = 4
    measures: ClassVar[Mapping[str, Measure]] = {
        "accuracy": Measure("high", "share of right answers"),
        "precision": Measure("high", "share of true yes among yes"),
        "recall": Measure("high", "share of yes among the questions about what is there"),
        "f1": Measure("high", "harmonic mean of precision and recall"),
        "yes": Measure(None, "share of yes"),
        "neither": Measure("low", "share of answers that begin with neither yes nor no; they count as wrong"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions; ``partial`` changes nothing, a world has no official length."""
        self.check_files(files)
        records, items = _read(files["questions"], media)
        found = []
        for record, item in zip(records, items, strict=True):
            answer = record.take("answer", str)
            if answer not in ("yes", "no"):
                raise record.wrong(f"'answer' is {answer!r}; expected 'yes' or 'no'")
            found.append(_with(item, record.take("group", str), {"yes": answer == "yes"}))
        return found

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return the cell of the answer; one that is neither yes nor no is wrong, and in no cell."""
        positive = bool(item.truth["yes"])
        word = next(iter(answer.split()), "").strip(".,!").lower()
        if word not in ("yes", "no"):
            return {**dict.fromkeys(CONFUSION, 0.0), "right": 0.0, "neither": 1.0, "missed": float(positive)}
        return {**confusion(positive, word == "yes"), "neither": 0.0, "missed": 0.0}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures; a question about what is there that has neither answer lowers recall."""
        missed = sums["false_negative"] + sums["missed"]
        found = of_confusion({**sums, "false_negative": missed})
        found["yes"] = found.pop("positive")
        return {**found, "neither": ratio(sums["neither"], sums["items"])}


@register_protocol
class WorldCaptions(Protocol):
    """Captions of scenes of an embedded world; ``lime-xai world export`` writes the files."""

    name = "world-captions"
    source = "lime_xai.worlds"
    files: ClassVar[Mapping[str, str]] = {"captions": "captions.jsonl that lime-xai world export has written"}
    prompts: ClassVar[Mapping[str, str]] = {"plain": "{question}"}
    parsers = ("words",)
    tokens = 64
    measures: ClassVar[Mapping[str, Measure]] = {
        "chair_i": Measure("low", "share of the named things that are not there, each once per caption"),
        "chair_s": Measure("low", "share of captions that name a thing which is not there"),
        "recall": Measure("high", "share of the things there that are named"),
        "f1": Measure("high", "harmonic mean of 1 - chair_i and recall"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return a request for a caption of each scene; ``partial`` changes nothing."""
        self.check_files(files)
        records, items = _read(files["captions"], media)
        found = []
        for record, item in zip(records, items, strict=True):
            world, present = record.take("world", str), record.take("present", list[str])
            strange = [name for name in present if name not in load_world(world).language.classes]
            if strange:
                raise record.wrong(f"'present' names {strange[0]!r}, which the {world} world does not have")
            found.append(_with(item, world, {"world": world, "present": present}))
        return found

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return how many things are named, wrongly named, there, and found; each counts once."""
        language = load_world(item.truth["world"]).language
        named = {language.classes[obj] for obj in language.mentions(answer)}
        there = set(item.truth["present"])
        return {
            "named": len(named),
            "wrong": len(named - there),
            "untrue": float(bool(named - there)),
            "found": len(named & there),
            "there": len(there),
        }

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures; NaN where nothing is named or there."""
        chair, recall = ratio(sums["wrong"], sums["named"]), ratio(sums["found"], sums["there"])
        return {
            "chair_i": chair,
            "chair_s": ratio(sums["untrue"], sums["items"]),
            "recall": recall,
            "f1": harmonic(1 - chair, recall),
        }


def _with(item: Item, group: str, truth: Mapping[str, Any]) -> Item:
    return replace(item, group=group, truth=truth)
