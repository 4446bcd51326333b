"""What ``lime-xai reproduce`` does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.answers import KeptAnswers, changes, check_resumable, read_answers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding, limited
from lime_xai.evaluation.benchmarks.paper import PaperModel, named_model, paper_model
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.reproduction import SUBJECTS, Row, plain_sampling, reproduction, rows_of
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.benchmarks.shares import Share, device_of_process, evaluate_share, share_of_process
from lime_xai.evaluation.benchmarks.written import Written
from lime_xai.storage.store import write_json

from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory_of
from .progress import counting, duration
from .reproducing import check_folder, item_notes, model_notes
from .run_evaluate import Asked, asking_of
from .run_score import note_changes
from .screen import Notices, console

REPORT = "reproduction.json"
"""Name of the report in the folder."""


@dataclass(frozen=True)
class Order:
    """What is written, and how it is measured.

    Attributes
    ----------
    folder : Path
        Gets the files.
    parsers : sequence of str or None
        How answers are read; None: the benchmark's default.
    paper_model : str or None
        Name of the paper's model; None: found by id and config.
    estimate : bool
        Whether to stop after the estimate.
    """

    folder: Path
    parsers: Sequence[str | None]
    paper_model: str | None
    estimate: bool


@dataclass(frozen=True)
class Part:
    """What goes into one file of answers."""

    decoding: str
    path: Path
    asking: Asking
    policies: dict[str, Policy | None]

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


def run_reproduce(asked: Asked, order: Order) -> None:
    """Ask the rows of a benchmark, print and write them beside the paper's cells.

    Parameters
    ----------
    asked : Asked
        Model and benchmark; its policies are not read.
    order : Order
        Where results go.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used; all but the model is checked before the model is loaded.
    """
    subject = SUBJECTS[asked.benchmark]
    protocol = protocol_of(subject.protocol)
    for parser in order.parsers:
        protocol.check_parser(protocol.parsers[0] if parser is None else parser)
    named = None if order.paper_model is None else named_model(order.paper_model)
    share, device = share_of_process(), device_of_process(asked.device)
    check_device(device)
    check_folder(order.folder)
    asking, of = asking_of(protocol, asked)
    found = find_checkpoint(asked.model)
    config = read_config(found)
    paper = paper_model(asked.model, config) if order.paper_model is None else named
    parts = _parts(rows_of(subject, paper), asking, asked.limits.seed, order.folder)
    for part, identity in [(part, part.asking.identity()) for part in parts]:  # refuses an unknown prompt
        if order.folder.is_dir():
            check_resumable(part.path, identity)
    model, processor = load_model(found, device, asked.dtype)
    order.folder.mkdir(exist_ok=True)
    run = Run(asked.model, model, processor, share, Notices())
    if share.number == 0:
        show_memory_of(console, model, processor, asking, parts[0].policies)
    _estimate(run, parts)
    if order.estimate:
        return
    kept = _answers(run, parts)
    if kept is None:
        console.print(f"{order.folder}: process {share.number + 1} of {share.of} has ended", soft_wrap=True)
        return
    for part in parts:
        note_changes(Written(part.path, {}, kept[part.decoding].header, changes(kept[part.decoding].runs)))
    notes = _notes(asked, config, paper, order.paper_model)
    measured = [
        reproduction(subject, asking, kept, asked.model, paper, parser, of=of, notes=notes) for parser in order.parsers
    ]
    for one in measured:
        console.print(one.tables())
    files = {part.path.name: {"header": kept[part.decoding].header, "runs": kept[part.decoding].runs} for part in parts}
    path = order.folder / REPORT
    write_json(path, {"reproductions": [one.to_dict() for one in measured], "files": files})
    console.print(f"report: {path}", soft_wrap=True)


def _parts(rows: Sequence[Row], asking: Asking, seed: int, folder: Path) -> list[Part]:
    """Return the two files of answers: the header of a file fixes the decoding."""
    tokens = asking.decoding.max_new_tokens
    decodings = {"greedy": Decoding(tokens), "sampling": Decoding(tokens, True, seed)}
    return [
        Part(
            name,
            folder / f"{name}.jsonl",
            replace(asking, decoding=decoding),
            {row.key: row.policy for row in rows if row.decoding == name},
        )
        for name, decoding in decodings.items()
    ]


def _answers(run: Run, parts: Sequence[Part]) -> dict[str, KeptAnswers] | None:
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


def _estimate(run: Run, parts: Sequence[Part]) -> None:
    """Time an answer of each group under each row, keep these answers, and print how long the others will take."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title="estimate")
    for name in ("decoding", "policy", "answers left", "seconds each", "time"):
        table.add_column(name, justify="left" if name in ("decoding", "policy") else "right")
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
    whole = read_answers(part.path).answers if not alone and part.path.exists() else {}
    waiting = [item for item in own if any((item.id, key) not in whole for key in part.policies)]
    answers = dict(whole)
    if waiting:
        asking = replace(part.asking, items=limited(waiting, 1))
        path = part.path if alone else run.share.part(part.path)
        with counting(f"{part.decoding} answers timed") as progress, part.sampled(run.model):
            given: dict[str, Any] = {"name": run.name, "progress": progress, "note": run.note}
            answers |= evaluate(run.model, run.processor, asking, part.policies, path, **given).answers
    return {key: answer.seconds for key, answer in answers.items() if answer.seconds is not None}


def _notes(asked: Asked, config: Any, paper: PaperModel | None, named: str | None) -> list[str]:
    """Return what the model and the files are, where that is not the paper's setting."""
    limits = asked.limits
    return model_notes(asked.model, config, paper, named) + item_notes(limits.partial, limits.limit)
