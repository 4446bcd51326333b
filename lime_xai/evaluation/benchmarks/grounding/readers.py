"""Files of examples with known places: a user's own, CLEVR-XAI, and event lists in the form of DCASE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lime_xai.attribution.events import Event
from lime_xai.errors import unknown_name
from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records, read_text
from lime_xai.storage.store import DamagedFileError, read_json

from .examples import GroundingExample
from .regions import BoxRegion, MaskRegion, Region, TimeRegion

EVENT_QUESTION: Final = "Is there a sound of {event}?"
"""Asked about each kind of event of a list, which has no questions; ours, with spaces in place of underscores."""

COLUMNS: Final = ("filename", "onset", "offset", "event_label")
"""Of an event list, separated by tabs."""


@dataclass(frozen=True)
class Source:
    """Where examples are read from.

    Attributes
    ----------
    file : Path
        Questions, or events.
    media : Path or None
        Folder of pictures or sounds; None: the reader's own default.
    masks : Path or None
        Folder of masks, for CLEVR-XAI.
    question : str
        Asked about each event of a list; ``{event}`` stands for its name.
    """

    file: Path
    media: Path | None = None
    masks: Path | None = None
    question: str = EVENT_QUESTION


def read_grounding(
    kind: str,
    file: str | Path,
    *,
    media: str | Path | None = None,
    masks: str | Path | None = None,
    question: str = EVENT_QUESTION,
) -> list[GroundingExample]:
    """Return the examples of a file.

    Parameters
    ----------
    kind : {"own", "clevr-xai", "events"}
        Its form; the functions in ``READERS`` describe them.
    file : str or Path
        Questions, or events.
    media : str or Path, optional
        Folder of pictures or sounds; by default that of the file, for ``clevr-xai`` the folder ``images`` in it.
    masks : str or Path, optional
        Folder of the masks of ``clevr-xai``, which needs it; others have none.
    question : str
        For ``events``: what is asked; ``{event}`` stands for the name of the event.

    Raises
    ------
    ValueError
        For an unknown kind, and for a folder of masks that is missing or not used.
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the file is not what it should be; names file and line.
    """
    if kind not in READERS:
        raise unknown_name("kind of file", kind, READERS)
    if (masks is not None) != (kind == "clevr-xai"):
        found = (
            "needs the folder of its masks; give masks=" if masks is None else "has no folder of masks; leave it out"
        )
        raise ValueError(f"{kind} {found} (--masks).")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    folder = None if media is None else Path(media)
    return READERS[kind](Source(path, folder, None if masks is None else Path(masks), question))


def own_examples(source: Source) -> list[GroundingExample]:
    """Read questions of a user's own: JSON lines, or one JSON array of objects.

    Each has ``question``, and one of these pairs:

    - ``image`` with ``mask``, a path of an image of the picture's size in two colours, one of them black;
    - ``image`` with ``box``, ``[x0, y0, x1, y1]`` in pixels of the upright picture;
    - ``audio`` with ``events``, ``[[onset, offset, label], ...]`` in seconds.

    ``answer`` : text whose logit is attributed; without it, the first token that the model would choose. ``id`` : text
    or whole number, each once; by default the number of the record, from 1. Paths are relative to the folder of media.
    Other keys are not looked at.
    """
    folder = source.file.parent if source.media is None else source.media
    records = read_records(source.file)
    found = [_own(record, number, folder) for number, record in enumerate(records, start=1)]
    check_unique(records, (example.id for example in found), "id")
    return found


def _own(record: Record, number: int, folder: Path) -> GroundingExample:
    given = [name for name in ("mask", "box", "events") if record.data.get(name) is not None]
    media = [name for name in ("image", "audio") if record.data.get(name) is not None]
    if len(given) != 1 or media != (["audio"] if given == ["events"] else ["image"]):
        found = ", ".join(map(repr, (*media, *given))) or "none of these"
        raise record.wrong(f"found {found}; expected 'image' with one of 'mask' and 'box', or 'audio' with 'events'")
    identity, answer = record.optional("id", int | str), record.optional("answer", str)
    return GroundingExample(
        id=str(number if identity is None else identity),
        question=_text(record, "question", record.take("question", str)),
        medium=folder / record.take(media[0], str),
        region=_region(record, given[0], folder),
        answer=None if answer is None else _text(record, "answer", answer),
        place=record.place,
    )


def _text(record: Record, name: str, text: str) -> str:
    if not text.strip():
        raise record.wrong(f"{name} is {text!r}; expected text")
    return text


def _region(record: Record, name: str, folder: Path) -> Region:
    if name == "mask":
        return MaskRegion(folder / record.take("mask", str))
    if name == "box":
        box = _numbers(record, "box", record.take("box", list[Any]), 4)
        return BoxRegion((box[0], box[1], box[2], box[3]))
    rows = record.take("events", list[Any])
    events = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3 or not isinstance(row[2], str):
            raise record.wrong(f"events has {row!r}; expected [onset, offset, label], seconds and text")
        start, stop = _numbers(record, "events", row[:2], 2)
        events.append(_event(record.place, start, stop, row[2]))
    if not events:
        raise record.wrong("events is empty; give at least one [onset, offset, label]")
    return TimeRegion(tuple(events))


def _numbers(record: Record, name: str, values: Sequence[Any], count: int) -> list[float]:
    known = [
        float(one)
        for one in values
        if isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)
    ]
    if len(values) != count or len(known) != count:
        raise record.wrong(f"{name} has {list(values)!r}; expected {count} numbers")
    return known


def _event(place: str, start: float, stop: float, name: str) -> Event:
    if not (0 <= start < stop and name.strip()):
        raise DamagedFileError(
            f"{place}: an event {name!r} lasts from {start:g} to {stop:g}; expected 0 <= onset < offset in seconds, "
            "and a label."
        )
    return Event(start, stop, name)


def clevr_xai_examples(source: Source) -> list[GroundingExample]:
    """Read CLEVR-XAI: ``CLEVR-XAI_simple_questions.json`` or that of complex questions, with a folder of masks.

    Form, as ``eval/eval.py`` of the official repository reads and writes it:

    - the file is an object with ``questions``, each with ``question_index``, ``question``, ``answer`` and ``image``,
      the name of a picture without ``.png``;
    - a folder such as ``ground_truth_simple_questions_single_object`` has a mask ``{question_index}.npy`` per question.
      A mask covers the whole picture; those of the release have 128 x 128 pixels. Masks in one single file are
      pickled, which can run code, and are not read.

    Questions without a mask have no object that they are about (the official code writes none), and are left out.
    The answer of the file is attributed.

    Source: https://github.com/ahmedmagdiosman/clevr-xai; Arras et al. 2022.
    """
    media = source.file.parent / "images" if source.media is None else source.media
    masks = source.masks
    if masks is None or not masks.is_dir():
        raise FileNotFoundError(
            f"There is no folder {masks}; expected one with a mask QUESTION_INDEX.npy per question."
        )
    records = _questions(source.file)
    indices = [record.take("question_index", int) for record in records]
    check_unique(records, map(str, indices), "question_index")
    found = []
    for record, index in zip(records, indices, strict=True):
        mask = masks / f"{index}.npy"
        if mask.is_file():
            found.append(
                GroundingExample(
                    id=str(index),
                    question=_text(record, "question", record.take("question", str)),
                    medium=media / f"{record.take('image', str)}.png",
                    region=MaskRegion(mask, stretched=True),
                    answer=_written(record),
                    place=record.place,
                )
            )
    if not found:
        raise DamagedFileError(f"{masks} has no mask of the {len(records)} questions of {source.file}, 0.npy say.")
    return found


def _written(record: Record) -> str:
    """Return an answer as text; counts are written as numbers, and truth values as yes and no, as in CLEVR."""
    answer = record.take("answer", str | int | bool)
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer)


def _questions(path: Path) -> list[Record]:
    """Return the questions of a file, which is one JSON object."""
    given = read_json(path, "a file of questions of CLEVR").get("questions")
    if not isinstance(given, list) or not given:
        raise DamagedFileError(f"{path}: expected one JSON object with a list 'questions', as in CLEVR.")
    found = [Record(f"{path}, question {number}", value) for number, value in enumerate(given, start=1)]
    for record in found:
        if not isinstance(record.data, dict):
            raise record.wrong(f"found {type(record.data).__name__}; expected a JSON object")
    return found


def event_examples(source: Source) -> list[GroundingExample]:
    """Read an event list in the form of DCASE 2019 task 4 (``dataset/metadata/validation/validation.csv``).

    Text in UTF-8 with the first line ``filename onset offset event_label``, separated by tabs, and a line per event;
    onset and offset are seconds. A line whose last three fields are empty is a sound without events, and is left out.

    There is an example for each kind of event of each sound: the question asks for it, and the region is the time of
    all its events in the sound. Examples of one sound are drawn together in the bootstrap. Which clips and what
    question the paper's table 4 has is not known; the question is ours.

    Source: https://github.com/turpaultn/DCASE2019_task4 (README, "Strong annotations").
    """
    if "{event}" not in source.question:
        raise ValueError(f"question is {source.question!r}; write {{event}} where the name of the event goes.")
    folder = source.file.parent if source.media is None else source.media
    found: dict[tuple[str, str], list[Event]] = {}
    places: dict[tuple[str, str], str] = {}
    for place, row in _rows(source.file):
        name, label = row["filename"], row["event_label"]
        if not any(row[column] for column in COLUMNS[1:]):
            continue
        event = _event(place, _seconds(place, row, "onset"), _seconds(place, row, "offset"), label)
        if event in found.setdefault((name, label), []):
            raise DamagedFileError(f"{place}: the same event of {name} was there before; expected each once.")
        found[name, label].append(event)
        places.setdefault((name, label), place)
    if not found:
        raise DamagedFileError(f"{source.file} has no events.")
    return [
        GroundingExample(
            id=f"{name}, {label}",
            question=source.question.replace("{event}", label.replace("_", " ")),
            medium=folder / name,
            region=TimeRegion(tuple(events)),
            place=places[name, label],
        )
        for (name, label), events in found.items()
    ]


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the place and the fields of every line below the first."""
    lines = read_text(path, "give a list of events").split("\n")
    first = tuple(lines[0].rstrip("\r").split("\t"))
    if first != COLUMNS:
        raise DamagedFileError(
            f"{path}, line 1: found the columns {', '.join(map(repr, first))}; expected {', '.join(COLUMNS)}, "
            "separated by tabs. Lists without times (weak labels) say nothing of places."
        )
    found = []
    for number, line in enumerate(lines[1:], start=2):
        fields = [field.strip() for field in line.rstrip("\r").split("\t")]
        if fields == [""]:
            continue
        if len(fields) != len(COLUMNS) or not fields[0]:
            raise DamagedFileError(
                f"{path}, line {number}: found {len(fields)} fields; expected {len(COLUMNS)}, separated by tabs."
            )
        found.append((f"{path}, line {number}", dict(zip(COLUMNS, fields, strict=True))))
    return found


def _seconds(place: str, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DamagedFileError(f"{place}: {name} is {row[name]!r}; expected seconds.")
    return value


READERS: Final[Mapping[str, Callable[[Source], list[GroundingExample]]]] = {
    "own": own_examples,
    "clevr-xai": clevr_xai_examples,
    "events": event_examples,
}
"""By kind of file."""
