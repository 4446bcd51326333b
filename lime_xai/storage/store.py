"""Files that are written whole, files from which an interrupted measurement resumes, and files that are damaged.

Reports of ``world`` and ``compare``, calibrations and tuned settings resume in the same way:

1. A file says what was measured: its identity (model, settings, seeds), beside the results.
2. Before anything is computed, ``check_writable`` refuses a path that cannot be written, and ``check_identity`` a file
   of another identity.
3. Results that the file holds are kept, and only the missing ones are computed.
4. After every result the file is written whole: ``replacing`` writes a draft beside it and renames the draft. A kill at
   any moment leaves the earlier file or the new one.

All files are read through ``read_json`` and ``read_tensors``. Whatever is wrong with one is a ``DamagedFileError``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lime_xai.values.checking import checked

if TYPE_CHECKING:
    from torch import Tensor

_DIGEST = "sha256"
"""Key of the metadata of a safetensors file: hash of the rest."""


class DamagedFileError(ValueError):
    """A file that does not hold what it should; the message names the file and what to do."""


@contextmanager
def holding(path: str | Path, what: str, advice: str = "give another file name") -> Iterator[None]:
    """Context in which a wrong value is an error about a file.

    Parameters
    ----------
    path : str or Path
        The file that was read.
    what : str
        What it should be, with its article ("a calibration").
    advice : str
        What to do.

    Raises
    ------
    DamagedFileError
        In place of a ``TypeError`` or ``ValueError`` of the checks inside.
    """
    try:
        yield
    except DamagedFileError:
        raise
    except (TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} is not {what}: {str(error).rstrip('.')}; {advice}.") from error


def check_writable(path: str | Path) -> Path:
    """Refuse a path at which no file can be written.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    ValueError
        If its folder is not there or may not be written, or if it is a folder itself.
    """
    path = Path(path)
    if _is_stream(path):
        return path
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{path.parent} is no folder, and {path.name} cannot be written there; make it first.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{path} may not be written; give a file in a folder of your own.")
    return path


def _is_stream(path: Path) -> bool:
    """Whether a path is neither a file nor a folder: a pipe, ``/dev/stdout``."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Context that gives a draft to write, which takes the place of ``path`` at the end.

    Parameters
    ----------
    path : str or Path
        The file; it is unchanged if the context is left by an exception.

    Yields
    ------
    Path
        The draft, in the same folder, so that renaming it is atomic. A path that exists and is no regular file (a pipe,
        ``/dev/stdout``) is written directly; a link is followed.

    Raises
    ------
    ValueError
        As ``check_writable``.
    """
    path = check_writable(path)
    if _is_stream(path):
        yield path
        return
    path = path.resolve()
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


def write_text(path: str | Path, text: str) -> None:
    """Write text, whole."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write data as JSON, whole."""
    write_text(path, json.dumps(data, indent=1) + "\n")


def read_json(path: str | Path, what: str = "a JSON file", kind: Any = dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Parameters
    ----------
    path : str or Path
        The file.
    what : str
        What it should be, with its article; for the error.
    kind : object
        Of the object, as ``lime_xai.values.checking.checked`` takes it: a ``TypedDict``, say.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it holds something else, or NaN, which JSON does not have.
    """
    path = Path(path)
    if path.is_dir():
        raise DamagedFileError(f"{path} is a folder; give the name of a file.")
    try:
        data = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_not_in_json)
    except (ValueError, RecursionError) as error:  # also of the decoder of UTF-8
        raise DamagedFileError(f"{path} is no JSON ({error}); give another file name.") from error
    if not isinstance(data, dict):
        raise DamagedFileError(
            f"{path} holds a JSON {type(data).__name__}, expected an object; give another file name."
        )
    with holding(path, what):
        checked("it", data, kind)
    return data


def _not_in_json(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], key: str, description: Mapping[str, Any]) -> None:
    """Write tensors and what describes them as a safetensors file, whole.

    Parameters
    ----------
    path : str or Path
        The file.
    tensors : mapping of str to Tensor
        By name.
    key : str
        Of the description in the metadata.
    description : mapping
        JSON-ready.
    """
    from safetensors.torch import save_file  # imports torch, which the command line does without until it must

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description)
    with replacing(path) as draft:
        save_file(plain, draft, metadata={key: text, _DIGEST: _digest(plain, text)})


def read_tensors(path: str | Path, key: str, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what ``write_tensors`` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    key : str
        Of the description.
    what : str
        What it should be, with its article, and what writes it ("a calibration of lime_xai"); for the error.

    Returns
    -------
    description : dict
    tensors : dict of str to Tensor

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is something else, or its content is not what was written. A file without a hash, of an earlier version,
        is taken as it is.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}; expected {what}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:  # a folder is an OSError
        raise DamagedFileError(
            f"{path} is no safetensors file, or it is damaged ({error}); expected {what}: write it again."
        ) from error
    with holding(path, what, "write it again"):
        if key not in metadata:
            raise ValueError(f"its metadata lack {key!r}")
        found = checked("its description", json.loads(metadata[key], parse_constant=_not_in_json), dict[str, Any])
        if metadata.get(_DIGEST, hash_now := _digest(tensors, metadata[key])) != hash_now:
            raise ValueError("its content is not what was written, some bytes have changed")
    return found, tensors


def holds(path: str | Path, key: str) -> bool:
    """Whether a file is one of ``write_tensors`` with this key; whether it is whole, ``read_tensors`` says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, "pt") as file:
            return key in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


@contextmanager
def weights_read(path: str | Path) -> Iterator[None]:
    """Context in which another library reads the weights of a model.

    Raises
    ------
    DamagedFileError
        In place of an error of safetensors, which names no file.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is damaged ({error}); copy or download the model again.") from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 of a description and of tensors with their names, shapes and types."""
    import torch

    found = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # NumPy has no bfloat16
    return found.hexdigest()


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
