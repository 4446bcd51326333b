"""Files that a command will write, checked before it computes anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PICTURE = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
"""Endings of pictures; matplotlib chooses the format by them."""


@dataclass(frozen=True)
class Output:
    """A file that an option names.

    Attributes
    ----------
    option : str
        ``--out``, for messages.
    path : Path or None
        None: nothing is written.
    endings : sequence of str
        Those that the file may have.
    """

    option: str
    path: Path | None
    endings: Sequence[str]


def numbered(path: Path, count: int) -> list[Path]:
    """Return ``why-1.png``, ``why-2.png``, ... for ``why.png``; the path itself if there is one file only."""
    if count <= 1:
        return [path]
    return [path.with_name(f"{path.stem}-{index}{path.suffix}") for index in range(1, count + 1)]


def check_outputs(outputs: Sequence[Output], inputs: Sequence[Path] = ()) -> None:
    """Refuse files that could not be written, or that are not meant to be.

    Parameters
    ----------
    outputs : sequence of Output
        What will be written.
    inputs : sequence of Path
        Files that are read, which are not replaced.

    Raises
    ------
    ValueError
        For a folder, an ending of another kind of file, an input, or a file that another option names.
    OSError
        For a folder that is missing or may not be written.
    """
    taken = {path.resolve(): "a file that is read" for path in inputs}
    for output in outputs:
        if output.path is None:
            continue
        _check(output, output.path)
        place = output.path.resolve()
        if place in taken and not _special(output.path):
            raise ValueError(f"{output.option} {output.path} is {taken[place]} too; give another file name.")
        taken[place] = f"the file of {output.option}"


def _special(path: Path) -> bool:
    """Whether a path is a pipe or a device, ``/dev/stdout`` for example, which is written to and not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check(output: Output, path: Path) -> None:
    named, example = f"{output.option} {path}", f"result{output.endings[0]}"
    if path.is_dir():
        raise ValueError(f"{named} is a folder; give a file name, {path / example} for example.")
    if _special(path):
        return
    if path.suffix.lower() not in output.endings:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise ValueError(f"{named} {found}; expected {' or '.join(output.endings)}.")
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{named}: there is no folder {folder}; make it first.")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise PermissionError(f"{named} may not be written; check the permissions of {folder}, or give another name.")
