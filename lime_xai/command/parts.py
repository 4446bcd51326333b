"""Files of answers that are given one after the other, timed first: what ``reproduce`` has of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from lime_xai.evaluation.benchmarks.answers import Answer, KeptAnswers, read_answers
from lime_xai.evaluation.benchmarks.asking import Asking, limited
from lime_xai.evaluation.benchmarks.reproduction import plain_sampling
from lime_xai.evaluation.benchmarks.run import check_kept, evaluate
from lime_xai.evaluation.benchmarks.shares import Share, evaluate_share
from lime_xai.evaluation.benchmarks.system import SystemLike
from lime_xai.evaluation.titled import titled_table

from .progress import counting, duration
from .screen import Notices, console


@dataclass(frozen=True)
class Part:
    """What goes into one file of answers."""

    decoding: str
    path: Path
    asking: Asking
    policies: Mapping[str, SystemLike]

    def sampled(self, model: Any) -> AbstractContextManager[None]:
        """Context in which the model decodes as this file says."""
        return plain_sampling(model) if self.decoding == "sampling" else nullcontext()


@dataclass(frozen=True)
class Run:
    """A loaded model with what it is asked."""

    name: str
    model: Any
    processor: Any
    share: Share
    note: Notices


def answers_of(run: Run, parts: Sequence[Part]) -> dict[str, KeptAnswers] | None:
    """Return the answers of all rows; None if other processes have not ended yet."""
    found: dict[str, KeptAnswers | None] = {}
    for part in parts:
        with counting(f"{part.decoding} answers") as progress, part.sampled(run.model):
            given: dict[str, Any] = {"name": run.name, "progress": progress, "note": run.note}
            found[part.decoding] = evaluate_share(
                run.share, run.model, run.processor, part.asking, part.policies, part.path, **given
            )
    if found[parts[-1].decoding] is None:
        return None
    # Every process ends the first file before it begins the last one, so all files are whole now.
    return {part.decoding: found[part.decoding] or read_answers(part.path) for part in parts}


def estimate_parts(run: Run, parts: Sequence[Part]) -> None:
    """Time an answer of each group under each row, keep these answers, and print how long the others will take."""
    table = titled_table("estimate", ("decoding", "policy"))
    for name in ("answers left", "seconds each", "time"):
        table.add_column(name, justify="right")
    total = 0.0
    for part in parts:
        own = run.share.items(part.asking.items)
        there = _timed(run, part, own)
        for key in part.policies:
            seconds = [value for (_, name), value in there.items() if name == key]
            left = sum((item.id, key) not in there for item in own)
            if not seconds:
                continue
            each = median(seconds)
            total += left * each
            table.add_row(part.decoding, key, str(left), f"{each:.2f}", duration(left * each))
    console.print(table)
    of = "" if run.share.of == 1 else f" of process {run.share.number + 1} of {run.share.of}"
    console.print(f"about {duration(total)} left{of}, by the median time of the answers that are there", soft_wrap=True)


def _timed(run: Run, part: Part, own: Sequence[Any]) -> dict[tuple[str, str], float]:
    """Return the seconds of the answers that are there; the first item of each group is answered if it is not."""
    alone = run.share.of == 1
    whole: dict[tuple[str, str], Answer] = {}
    if not alone and part.path.exists():
        with part.sampled(run.model):
            whole = check_kept(part.path, run.model, run.processor, part.asking, part.policies).answers
    waiting = [item for item in own if any((item.id, key) not in whole for key in part.policies)]
    answers = dict(whole)
    if waiting:
        asking = replace(part.asking, items=limited(waiting, 1))
        path = part.path if alone else run.share.part(part.path)
        with counting(f"{part.decoding} answers timed") as progress, part.sampled(run.model):
            given: dict[str, Any] = {"name": run.name, "progress": progress, "note": run.note}
            answers |= evaluate(run.model, run.processor, asking, part.policies, path, **given).answers
    return {key: answer.seconds for key, answer in answers.items() if answer.seconds is not None}
