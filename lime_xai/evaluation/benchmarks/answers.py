"""The file of answers: one JSON line per answer, written as it is given; an interrupted run goes on from it.

1. The first line, the header, holds what decides the answers: the benchmark with the hashes of its files, the prompt,
   the decoding, the model by the hash of its weights. A run with another header is refused.
2. A line ``{"run": ...}`` follows, with what describes a run: settings of the policies, versions, device, date. A
   later run adds such a line if it has further policies, or other versions or another device.
3. Every other line is an answer, ``{"id": ..., "policy": ..., "text": ...}``. It is written by one call and flushed to
   the disk. A kill loses the answer in work; a line that it cut off has no line feed and is removed by the next run.

Two processes cannot write one file: a lock is held on ``FILE.lock``. The system releases it when a process ends, also
when it is killed, so no lock is left behind; the empty file stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lime_xai.storage.store import DamagedFileError, check_identity, check_writable, write_text

from .records import Record

FORMAT = "answers of lime_xai, 1"
"""Of the header, by which a file of answers is known."""


@dataclass(frozen=True)
class Answer:
    """What was answered to an item.

    Attributes
    ----------
    id : str
        Of the item.
    policy : str
        Name of the policy, or of the system that wrote it.
    text : str
        As written, without special tokens.
    tokens : int or None
        That were generated, one that ends the answer included; None if it is not known.
    finished : bool or None
        Whether the model ended it; False if it was cut at the limit of tokens, None if it is not known.
    seconds : float or None
        That it took.
    media : tuple of str
        SHA-256 of the files that were given, images before sounds.
    """

    id: str
    policy: str
    text: str
    tokens: int | None = None
    finished: bool | None = None
    seconds: float | None = None
    media: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeptAnswers:
    """What a file of answers holds.

    Attributes
    ----------
    header : dict
        Its first line.
    runs : list of dict
        What describes the runs that wrote it.
    answers : dict of (str, str) to Answer
        By item and policy, in the order of the file.
    size : int
        Bytes of the whole lines.
    torn : bool
        Whether a line that was cut off follows them.
    """

    header: dict[str, Any]
    runs: list[dict[str, Any]]
    answers: dict[tuple[str, str], Answer]
    size: int
    torn: bool

    @property
    def policies(self) -> dict[str, Any]:
        """Settings of all policies by name."""
        return {name: settings for run in self.runs for name, settings in run["policies"].items()}

    def by_policy(self) -> dict[str, dict[str, Answer]]:
        """Return the answers of each policy by the items' names."""
        found: dict[str, dict[str, Answer]] = {}
        for answer in self.answers.values():
            found.setdefault(answer.policy, {})[answer.id] = answer
        return found


def read_answers(path: Path) -> KeptAnswers:
    """Return what a file of answers holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is no file of answers; for a line that is damaged, or an answer that is there twice; names the line. A
        last line that was cut off is no damage.
    """
    data = path.read_bytes()
    size = data.rfind(b"\n") + 1
    lines = [_object(path, number, line) for number, line in enumerate(data[:size].split(b"\n")[:-1], start=1)]
    if not lines or lines[0].data.get("format") != FORMAT:
        raise DamagedFileError(f"{path} is no file of answers; give another file name.")
    runs: list[dict[str, Any]] = []
    answers: dict[tuple[str, str], Answer] = {}
    places: dict[tuple[str, str], str] = {}
    for record in lines[1:]:
        if "run" in record.data:
            runs.append(_run(record))
            continue
        answer = _answer(record)
        key = answer.id, answer.policy
        if key in places:
            raise record.wrong(f"the answer of {key[1]!r} to {key[0]!r} was there before ({places[key]}).")
        if not any(answer.policy in run["policies"] for run in runs):
            raise record.wrong(f"no line before it describes the policy {answer.policy!r}.")
        places[key], answers[key] = record.place, answer
    return KeptAnswers(lines[0].data, runs, answers, size, torn=size < len(data))


def _object(path: Path, number: int, line: bytes) -> Record:
    place = f"{path}, line {number}"
    try:
        value = json.loads(line)
    except ValueError as error:  # also of the decoder of UTF-8
        first = "; is it a file of answers?" if number == 1 else "; delete the line to answer its item again."
        raise DamagedFileError(f"{place}: no JSON ({error}){first}") from error
    if not isinstance(value, dict):
        raise DamagedFileError(f"{place}: found {type(value).__name__}; expected a JSON object.")
    return Record(place, value)


def _run(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record.take("run", dict[str, Any])
    Record(record.place, found).take("policies", dict[str, Any])
    return found


def _answer(record: Record) -> Answer:
    kinds: dict[str, Any] = {"id": str, "policy": str, "text": str, "tokens": int, "finished": bool, "seconds": float}
    values = {name: record.take(name, kind) for name, kind in kinds.items()}
    return Answer(**values, media=tuple(record.take("media", list[str])))


def check_resumable(path: str | Path, identity: Mapping[str, Any], policies: Mapping[str, Any] | None = None) -> None:
    """Refuse a file that cannot be written, or that holds answers made otherwise.

    Parameters
    ----------
    path : str or Path
        The file; it need not be there.
    identity : mapping
        A part of the header, what is known before a model is loaded for example.
    policies : mapping, optional
        Settings of policies by name.

    Raises
    ------
    ValueError
        Naming what differs.
    DamagedFileError
        As ``read_answers``.
    """
    path = check_writable(path)
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"{path} is no regular file; answers are added to a file from which a run can go on.")
    _check_same(path, read_answers(path), identity, policies or {})


def _check_same(path: Path, kept: KeptAnswers, identity: Mapping[str, Any], policies: Mapping[str, Any]) -> None:
    check_identity(path, "answers", kept.header, identity)
    known = kept.policies
    check_identity(
        path, "answers of policies", known, {name: settings for name, settings in policies.items() if name in known}
    )


class AnswerFile:
    """A file of answers that is open for writing; ``answer_file`` opens one."""

    def __init__(self, path: Path, kept: KeptAnswers) -> None:
        self.path, self.kept = path, kept
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        if kept.torn:
            os.ftruncate(self._descriptor, kept.size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def add(self, answer: Answer) -> None:
        """Write an answer; it is on the disk when this returns.

        Raises
        ------
        OSError
            If it cannot be written, on a full disk for example; the answers before it are unharmed.
        """
        self._append(asdict(answer))
        self.kept.answers[answer.id, answer.policy] = answer

    def add_run(self, run: dict[str, Any]) -> None:
        """Write a line that describes a run."""
        self._append({"run": run})
        self.kept.runs.append(run)

    def _append(self, data: Mapping[str, Any]) -> None:
        line = (json.dumps(data) + "\n").encode("ascii")
        start = os.fstat(self._descriptor).st_size
        try:
            while line:  # a disk that gets full takes a part
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # a part of a line that stays is removed by the next run
                os.ftruncate(self._descriptor, start)
            reason = f"{error.strerror}: {len(self.kept.answers)} answers are kept; the same command goes on from them"
            raise OSError(error.errno, reason, str(self.path)) from error


@contextmanager
def answer_file(
    path: str | Path, identity: Mapping[str, Any], policies: Mapping[str, Any], setting: Mapping[str, Any]
) -> Iterator[AnswerFile]:
    """Context in which answers are added to a file that no other process writes.

    Parameters
    ----------
    path : str or Path
        The file; a new one is made, and one that is there goes on.
    identity : mapping
        What decides the answers, JSON-ready.
    policies : mapping of str to object
        Settings by name, JSON-ready. Those that the file lacks are added.
    setting : mapping
        Versions, device and what else describes a run. If ``date`` alone differs from the last run, no line is added.

    Raises
    ------
    ValueError
        If another process writes the file, or it holds answers made otherwise.
    DamagedFileError
        As ``read_answers``.
    """
    path = check_writable(path).resolve()
    try:
        held = FileLock(f"{path}.lock", timeout=0).acquire()
    except Timeout as error:
        raise ValueError(f"{path} is being written by another process; wait for it, or give another file.") from error
    with held:
        if not path.exists():
            lines = {"format": FORMAT, **identity}, {"run": {"policies": dict(policies), **setting}}
            write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        kept = read_answers(path)
        _check_same(path, kept, identity, policies)
        file = AnswerFile(path, kept)
        try:
            _note_run(file, policies, setting)
            yield file
        finally:
            file.close()


def _note_run(file: AnswerFile, policies: Mapping[str, Any], setting: Mapping[str, Any]) -> None:
    """Write a line about this run if it differs from the last one in more than its date."""
    runs, known = file.kept.runs, file.kept.policies
    further = {name: settings for name, settings in policies.items() if name not in known}
    last = runs[-1] if runs else {}
    asked = json.loads(json.dumps(setting))
    if further or any(last.get(name) != value for name, value in asked.items() if name != "date"):
        file.add_run({"policies": further, **asked})


def changes(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what differs between the runs that wrote a file: the values in their order, by name."""
    names = dict.fromkeys(name for run in runs for name in run if name not in ("policies", "date"))
    found = {name: [json.dumps(run.get(name), sort_keys=True) for run in runs] for name in names}
    return {
        name: list(map(json.loads, dict.fromkeys(values))) for name, values in found.items() if len(set(values)) > 1
    }
