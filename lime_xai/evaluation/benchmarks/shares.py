"""One benchmark, several processes: each answers a share of the items, and the last one to end puts them together.

``accelerate launch`` and ``torchrun`` start the same command several times and tell each process its number. Processes
need nothing from each other while they answer, so nothing is sent between them, and a process that is killed leaves the
others alone:

1. Process r of n answers the items r, r + n, r + 2 n, ... into a file of its own, from which it goes on after a kill.
2. Each process that ends looks whether all shares are there. The one that finds them writes the file that one process
   alone would have written, in the same order, and removes the parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from transformers import PreTrainedModel

from lime_xai.storage.store import DamagedFileError, check_writable, write_text

from .answers import Answer, KeptAnswers, read_answers
from .asking import Asking, Say
from .protocol import Item
from .run import check_kept, evaluate
from .system import SystemLike

Key = tuple[str, str]
"""Of an answer: item and policy."""


@dataclass(frozen=True)
class Share:
    """What one of several processes answers.

    Attributes
    ----------
    number : int
        Of the process, from 0.
    of : int
        Processes.
    """

    number: int
    of: int

    def items(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of this process."""
        return list(items[self.number :: self.of])

    def part(self, out: Path) -> Path:
        """Return the file of this process."""
        return out.with_name(f"{out.stem}.part-{self.number + 1}-of-{self.of}{out.suffix}")

    def every(self) -> list[Share]:
        """Return the shares of all processes."""
        return [Share(number, self.of) for number in range(self.of)]


def share_of_process(environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share of this process, as ``accelerate launch`` and ``torchrun`` say it; all for a process alone.

    Parameters
    ----------
    environment : mapping
        Holds ``RANK`` and ``WORLD_SIZE``.

    Raises
    ------
    ValueError
        If they are no numbers that fit.
    """
    texts = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
    try:
        number, of = map(int, texts)
    except ValueError as error:
        raise ValueError(f"RANK is {texts[0]!r}, WORLD_SIZE {texts[1]!r}; expected numbers.") from error
    if not 0 <= number < of:
        raise ValueError(f"RANK is {number}, WORLD_SIZE {of}; expected a number from 0 to {of - 1}.")
    return Share(number, of)


def device_of_process(device: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return ``cuda:N`` for the N-th process of a machine where ``cuda`` is asked for; anything else as it is."""
    local = environment.get("LOCAL_RANK")
    return device if device != "cuda" or local is None else f"cuda:{int(local)}"


def evaluate_share(
    share: Share,
    model: PreTrainedModel,
    processor: Any,
    asking: Asking,
    policies: Mapping[str, SystemLike],
    out: str | Path,
    *,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
    note: Say | None = None,
) -> KeptAnswers | None:
    """Ask a model the items of a share; put all shares together if they are there.

    Parameters
    ----------
    share : Share
        Of this process.
    model, processor, asking, policies, name, progress, note : object
        As in ``evaluate``; ``asking`` holds the items of all shares.
    out : str or Path
        File of all answers.

    Returns
    -------
    KeptAnswers or None
        What ``out`` holds; None if other processes have not ended yet.

    Raises
    ------
    ValueError, TypeError, OSError
        As ``evaluate``; for shares that were made otherwise.
    """
    if share.of == 1:
        return evaluate(model, processor, asking, policies, out, name=name, progress=progress, note=note)
    path = check_writable(out).resolve()
    order = [(item.id, key) for item in asking.items for key in policies]
    kept = check_kept(path, model, processor, asking, policies) if path.exists() else None
    there = set() if kept is None else set(kept.answers)
    if kept is not None and there >= set(order):
        return kept
    own = replace(
        asking,
        items=[item for item in share.items(asking.items) if any((item.id, key) not in there for key in policies)],
    )
    if own.items:
        evaluate(model, processor, own, policies, share.part(path), name=name, progress=progress, note=note)
    with FileLock(f"{path}.lock"):
        return _together(path, share, order)


def _together(out: Path, share: Share, order: Sequence[Key]) -> KeptAnswers | None:
    """Write the file of all answers if they are there, and remove the parts."""
    files = [path for path in (out, *(one.part(out) for one in share.every())) if path.exists()]
    held = [read_answers(path) for path in files]
    answers: dict[Key, Answer] = {}
    for kept in held:
        answers.update(kept.answers)
    if not set(order) <= answers.keys():
        return None
    known: dict[str, Any] = {}
    for path, kept in zip(files, held, strict=True):
        other = [name for name, settings in kept.policies.items() if known.setdefault(name, settings) != settings]
        if kept.header != held[0].header or other:
            raise DamagedFileError(f"{path} and {files[0]} hold answers that were made otherwise; answer one anew.")
    runs = [run for kept in held for run in kept.runs]
    places = {key: place for place, key in enumerate(order)}
    found = sorted(answers.values(), key=lambda one: places.get((one.id, one.policy), len(order)))
    lines = [held[0].header, *({"run": run} for run in _distinct(runs)), *map(asdict, found)]
    write_text(out, "".join(json.dumps(line) + "\n" for line in lines))
    for one in share.every():
        for path in (one.part(out), Path(f"{one.part(out)}.lock")):
            path.unlink(missing_ok=True)
    return read_answers(out)


def _distinct(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return descriptions of runs that differ in more than their date."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        found.setdefault(json.dumps({**run, "date": None}, sort_keys=True), run)
    return list(found.values())
