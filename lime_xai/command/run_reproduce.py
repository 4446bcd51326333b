"""What ``lime-xai reproduce`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.answers import changes, check_resumable
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.paper import PaperModel, named_model, paper_model
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.reproduction import SUBJECTS, Row, reproduction, rows_of
from lime_xai.evaluation.benchmarks.shares import device_of_process, share_of_process
from lime_xai.evaluation.benchmarks.written import Written
from lime_xai.storage.store import write_json

from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory_of
from .parts import Part, Run, answers_of, estimate_parts
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
    estimate_parts(run, parts)
    if order.estimate:
        return
    kept = answers_of(run, parts)
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


def _notes(asked: Asked, config: Any, paper: PaperModel | None, named: str | None) -> list[str]:
    """Return what the model and the files are, where that is not the paper's setting."""
    limits = asked.limits
    return model_notes(asked.model, config, paper, named) + item_notes(limits.partial, limits.limit)
