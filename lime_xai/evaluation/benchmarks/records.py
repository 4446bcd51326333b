"""Records of official files: JSON lines or one JSON array, with the place of each record for errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.storage.store import DamagedFileError
from lime_xai.values.checking import checked


@dataclass(frozen=True)
class Record:
    """A JSON object of a file.

    Attributes
    ----------
    place : str
        File and line, or file and number in the array, for errors.
    data : dict
        The object.
    """

    place: str
    data: dict[str, Any]

    def take(self, name: str, kind: Any) -> Any:
        """Return a value of this record.

        Parameters
        ----------
        name : str
            Its key.
        kind : type
            What it must be, as ``values.checking.checked`` takes it.

        Raises
        ------
        DamagedFileError
            If it is missing or another kind; names file and line.
        """
        if name not in self.data:
            raise self.wrong(f"there is no {name!r}; it has {', '.join(map(repr, self.data)) or 'nothing'}")
        if type(self.data[name]) is kind and kind in (int, str):
            return self.data[name]  # without the general check: COCO has a million such values
        try:
            return checked(name, self.data[name], kind)
        except (TypeError, ValueError) as error:
            raise self.wrong(str(error)) from error

    def optional(self, name: str, kind: Any) -> Any:
        """Return a value of this record, None where its key is missing or null; parameters and errors of ``take``."""
        return None if self.data.get(name) is None else self.take(name, kind)

    def wrong(self, reason: str) -> DamagedFileError:
        """Return an error about this record."""
        return DamagedFileError(f"{self.place}: {reason}")


def read_text(path: Path, advice: str = "give the official file") -> str:
    """Return the text of a file in UTF-8, without the mark at its beginning that some editors write.

    Parameters
    ----------
    path : Path
        The file.
    advice : str
        What to do if it is something else.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is no text in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path} is no text in UTF-8 ({error}); {advice}.") from error


def read_records(path: Path) -> list[Record]:
    """Return the records of a file of JSON lines, or of one JSON array of objects.

    Parameters
    ----------
    path : Path
        The file; a first character other than ``[`` means JSON lines. Empty lines are skipped.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is neither, or has no record; names the line.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        found = [_record(f"{path}, record {number}", value) for number, value in enumerate(_array(path, text), start=1)]
    else:
        # Not splitlines(): it also cuts at characters that JSON allows inside a string, U+2028 for example.
        lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
        found = [_record(f"{path}, line {number}", _line(path, number, line)) for number, line in lines]
    if not found:
        raise DamagedFileError(f"{path} has no records; expected JSON lines, or one JSON array.")
    return found


def _array(path: Path, text: str) -> list[Any]:
    try:
        found: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}, line {error.lineno}: no JSON ({error.msg}); is the file whole?") from error
    return found


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}, line {number}: no JSON ({error.msg}); is the file whole?") from error


def _record(place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise DamagedFileError(f"{place}: found {type(value).__name__}; expected a JSON object.")
    return Record(place, value)


def check_count(path: Path, found: int, expected: int, partial: bool) -> None:
    """Refuse a file of another length than the official one.

    A file of another length belongs to another release: answers would be measured against labels of other questions.

    Parameters
    ----------
    path : Path
        The file.
    found, expected : int
        Records.
    partial : bool
        Whether fewer are meant.

    Raises
    ------
    DamagedFileError
        With both numbers.
    """
    if found == expected or (partial and found < expected):
        return
    advice = "" if found > expected else "; if a part of it is meant, say so (partial=True, --partial)"
    raise DamagedFileError(f"{path} has {found} records; the official file has {expected}{advice}.")


def check_unique(records: Sequence[Record], ids: Iterable[str], what: str) -> None:
    """Refuse records of which two have one name.

    Raises
    ------
    DamagedFileError
        Naming the second of them.
    """
    names = list(ids)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not twice:
        return
    places = [record.place for record, name in zip(records, names, strict=True) if name == twice[0]]
    raise DamagedFileError(f"{places[1]}: {what} {twice[0]!r} was there before ({places[0]}); expected each once.")
