"""Answers that any system wrote, read from a file: nothing but the item's name and the text is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .answers import FORMAT, Answer, changes, read_answers
from .asking import file_hash
from .protocol import Item, Protocol
from .records import Record, check_unique, read_records

ID_KEYS = ("id", "question_id")
"""Keys under which a record names its item; the first that is there counts."""

TEXT_KEYS = ("text", "answer")
"""Keys under which a record holds the answer; the first that is there counts."""


@dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes
    ----------
    path : Path
        The file.
    systems : dict of str to dict of str to Answer
        Answers by system and item. Systems are policies in a file of ``evaluate``; else the file's name is the only
        one.
    header : dict or None
        Of a file of ``evaluate``.
    changed : dict of str to list
        What differs between the runs that wrote it.
    """

    path: Path
    systems: dict[str, dict[str, Answer]]
    header: dict[str, Any] | None = None
    changed: dict[str, list[Any]] | None = None


def read_written(path: Path) -> Written:
    """Return the answers of a file: one of ``evaluate``, or JSON lines ``{"id": ..., "text": ...}`` of any system.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        Naming the line that holds no answer, or one that was there before.
    """
    if path.is_file() and _is_ours(path):
        kept = read_answers(path)
        return Written(path, kept.by_policy(), kept.header, changes(kept.runs))
    records = read_records(path)
    found = [Answer(_id(record), path.stem, _text(record)) for record in records]
    check_unique(records, [answer.id for answer in found], "the answer to")
    return Written(path, {path.stem: {answer.id: answer for answer in found}})


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    try:
        header = json.loads(first)
    except ValueError:  # no JSON lines; the reader of records says what is wrong
        return False
    return isinstance(header, dict) and header.get("format") == FORMAT


def _id(record: Record) -> str:
    name = next((key for key in ID_KEYS if key in record.data), ID_KEYS[0])
    return str(record.take(name, str | int))


def _text(record: Record) -> str:
    name = next((key for key in TEXT_KEYS if key in record.data), TEXT_KEYS[0])
    text: str = record.take(name, str)
    return text


def check_benchmark(written: Written, protocol: Protocol, files: dict[str, Path]) -> None:
    """Refuse a file of ``evaluate`` whose answers are to other questions.

    Raises
    ------
    ValueError
        Naming benchmark and files.
    """
    if written.header is None:
        return
    header = written.header
    if header.get("benchmark") != protocol.name:
        raise ValueError(
            f"{written.path} holds answers of {header.get('benchmark')}, asked for is {protocol.name}; give its files."
        )
    hashes = {name: file_hash(path) for name, path in files.items()}
    other = [name for name, value in hashes.items() if header.get("files", {}).get(name) != value]
    if other:
        raise ValueError(
            f"{written.path} holds answers to other files than {', '.join(str(files[name]) for name in other)}; give "
            "the files that were asked, unchanged."
        )


def together(files: Sequence[Written]) -> dict[str, dict[str, Answer]]:
    """Return the answers of all systems of several files.

    Raises
    ------
    ValueError
        If two systems have one name.
    """
    found: dict[str, dict[str, Answer]] = {}
    for written in files:
        for name, answers in written.systems.items():
            own = written.header is not None and len(files) > 1
            label = f"{written.path.stem}: {name}" if own else name
            if label in found:
                raise ValueError(f"Two files hold answers of {label}; give the files names of their own.")
            found[label] = {key: replace(answer, policy=label) for key, answer in answers.items()}
    return found


def answered(
    items: Sequence[Item], systems: dict[str, dict[str, Answer]], *, partial: bool
) -> tuple[list[Item], dict[str, int]]:
    """Return the items that every system answered, and how many each left out.

    Parameters
    ----------
    items : sequence of Item
        Of the benchmark.
    systems : dict of str to dict of str to Answer
        Answers by system and item.
    partial : bool
        Whether items may be left out; otherwise every system must have answered all.

    Raises
    ------
    ValueError
        For an answer to no item; for an item without an answer unless ``partial``, and if no item has one of each.
    """
    names = {item.id for item in items}
    for system, answers in systems.items():
        strange = [name for name in answers if name not in names]
        if strange:
            raise ValueError(
                f"{system} answers {len(strange)} items that the benchmark does not have, {strange[0]!r} for example; "
                f"its items are named like {items[0].id!r}."
            )
    left = {system: sum(item.id not in answers for item in items) for system, answers in systems.items()}
    chosen = [item for item in items if all(item.id in answers for answers in systems.values())]
    if not chosen or (not partial and any(left.values())):
        missing = ", ".join(f"{system} lacks {count}" for system, count in left.items() if count)
        raise ValueError(
            f"Of {len(items)} items, {missing}; answer them, or measure what all have answered (--partial)."
            if chosen
            else f"Of {len(items)} items, none was answered by all systems ({missing})."
        )
    return chosen, left
