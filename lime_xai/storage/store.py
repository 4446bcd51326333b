"""Files that are written whole, and files from which an interrupted measurement resumes.

Reports of ``world`` and ``compare``, calibrations and tuned settings resume in the same way:

1. A file says what was measured: its identity (model, settings, seeds), beside the results.
2. Before anything is computed, ``check_identity`` refuses a file of another identity.
3. Results that the file holds are kept, and only the missing ones are computed.
4. After every result the file is written whole: ``replacing`` writes a draft beside it and renames the draft. A kill at
   any moment leaves the earlier file or the new one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context that gives a draft to write, which takes the place of ``path`` at the end.

    Parameters
    ----------
    path : Path
        The file; it is unchanged if the context is left by an exception.

    Yields
    ------
    Path
        The draft, in the same folder, so that renaming it is atomic. A path that exists and is no regular file (a pipe,
        ``/dev/stdout``) is written directly; a link is followed.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    draft = path.with_name(f"{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a write names no file: "No space left"
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write data as JSON, whole."""
    with replacing(path) as draft:
        draft.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); give another file name.") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a JSON {type(data).__name__}, expected an object; give another file name.")
    return data


def check_identity(path: str | Path, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to resume from a file of another measurement.

    Parameters
    ----------
    path : str or Path
        Named in the error.
    what : str
        What the file holds ("a report"), named in the error.
    found : mapping
        The identity in the file.
    wanted : mapping
        What is asked for; compared as JSON, key by key.

    Raises
    ------
    ValueError
        Naming the keys that differ, with both values.
    """
    expected = json.loads(json.dumps(wanted))
    other = {key: found.get(key) for key in expected if found.get(key) != expected[key]}
    if other:
        there = {key: expected[key] for key in other}
        raise ValueError(f"{path} holds {what} with {other}, asked for was {there}; give another file name.")


def number(value: float, digits: int = 8) -> float | None:
    """Return a number as a JSON value of some digits; None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
