"""Large JSON files, read one record at a time: COCO's annotations are 450 MB, and several times that as objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from lime_xai.storage.store import DamagedFileError

from .records import Record

_CHUNK = 1 << 20
"""Characters read at a time."""

_LONGEST = 1 << 26
"""Characters of one value at most. Without a bound, a file with an error early on would be read whole to find it."""


def read_arrays(path: Path, names: Collection[str]) -> Iterator[tuple[str, Record]]:
    """Yield the records of arrays in a file that holds one JSON object, without holding the file.

    Parameters
    ----------
    path : Path
        The file.
    names : collection of str
        Keys of the object, each with an array of objects. Other keys are passed over.

    Yields
    ------
    (str, Record)
        The key, and a record, in the order of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is no JSON object, or a key is missing or holds something else; names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    missing = set(names)
    with path.open(encoding="utf-8-sig") as file:
        window = _Window(path, file)
        for key in window.members():
            if window.next_is("["):
                for number, (place, value) in enumerate(window.elements()):
                    if key in names:
                        yield key, _record(f"{place}, {key}[{number}]", value)
                missing.discard(key)
            else:
                window.value()
    if missing:
        expected = ", ".join(map(repr, sorted(missing)))
        raise DamagedFileError(f"{path}: there is no array {expected}; give the official file.")


def _record(place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise DamagedFileError(f"{place}: found {type(value).__name__}; expected a JSON object.")
    return Record(place, value)


class _Window:
    """The part of a file's text that is being decoded."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at = "", 0
        self._line, self._counted = 1, 0  # lines up to the place in the window that they are counted to
        self._decode = json.JSONDecoder().raw_decode

    def place(self) -> str:
        """Return file and line, for errors."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return f"{self._path}, line {self._line}"

    def members(self) -> Iterator[str]:
        """Yield the keys of the file's object; the value of each must be taken before the next."""
        self._take("{")
        while not self.next_is("}"):
            key = self.value()
            if not isinstance(key, str):
                raise self._wrong(f"found {key!r} for a key")
            self._take(":")
            yield key
            self._comma("}")
        self._take("}")
        if self._peek():
            raise self._wrong(f"found {self._peek()!r} after the end of the object")

    def elements(self) -> Iterator[tuple[str, Any]]:
        """Yield the values of an array, each with file and line where it begins."""
        self._take("[")
        while not self.next_is("]"):
            place = self.place()
            yield place, self.value()
            self._comma("]")
        self._take("]")

    def value(self) -> Any:
        """Return a value."""
        self._peek()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Wrong, or cut by the end of the window: more text tells.
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise self._wrong(error.msg) from error
                continue
            # A number at the end of the window may go on.
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return found

    def next_is(self, mark: str) -> bool:
        """Return whether a mark comes next."""
        return self._peek() == mark

    def _comma(self, closing: str) -> None:
        if self.next_is(closing):
            return
        self._take(",")
        if self.next_is(closing):
            raise self._wrong("found a comma before the end")

    def _take(self, mark: str) -> None:
        if not self.next_is(mark):
            raise self._wrong(f"found {self._peek() or 'the end'!r}; expected {mark!r}")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _more(self) -> bool:
        try:
            chunk = self._file.read(_CHUNK)
        except UnicodeDecodeError as error:
            raise DamagedFileError(f"{self._path} is no text in UTF-8 ({error}); give the official file.") from error
        self._line += self._text.count("\n", self._counted, self._at)
        self._text, self._at, self._counted = self._text[self._at :] + chunk, 0, 0
        return bool(chunk)

    def _wrong(self, reason: str) -> DamagedFileError:
        return DamagedFileError(f"{self.place()}: no JSON object of arrays ({reason}); is the file whole?")
