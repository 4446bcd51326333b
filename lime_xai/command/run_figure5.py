"""What ``lime-xai reproduce figure5`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.answers import KeptAnswers, changes, check_resumable
from lime_xai.evaluation.benchmarks.asking import Asking
from lime_xai.evaluation.benchmarks.paper import named_model, paper_model
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.reproduction import SUBJECTS
from lime_xai.evaluation.benchmarks.results import Results, conditions_of, results
from lime_xai.evaluation.benchmarks.shares import device_of_process, share_of_process
from lime_xai.evaluation.benchmarks.sweep import PANELS, Sweep, sweep_policies
from lime_xai.evaluation.benchmarks.written import Written
from lime_xai.storage.store import write_json

from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory_of
from .parts import Part, Run, answers_of, estimate_parts
from .reproducing import check_folder, item_notes, list_notes, model_notes, save_both
from .run_evaluate import Asked, asking_of
from .run_figure3 import paper_setting, setting_note
from .run_score import note_changes
from .screen import Notices, console

ANSWERS, REPORT, FIGURE = "figure5.jsonl", "figure5.json", "figure5"
"""Names of the files in the folder."""

MAIN = ("accuracy", "f1")
"""Measures that are drawn first."""

NOTE = "which lambdas, and which benchmark the paper's figure 5 shows, the source does not say"


@dataclass(frozen=True)
class SweepAsked:
    """What the options say beside the benchmark, as given."""

    folder: Path
    lambdas: str
    learning_rate: float | None
    parser: str | None
    paper_model: str | None
    estimate: bool


def run_figure5(asked: Asked, order: SweepAsked) -> None:
    """Ask a benchmark in the paper's setting with other weights of the divergence, on keys, values and both.

    Everything but the model is read and checked before the model is loaded.

    Parameters
    ----------
    asked : Asked
        Model and benchmark, one of the paper's or any other; its policies are not read.
    order : SweepAsked
        What is varied, and where results go.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    subject = SUBJECTS.get(asked.benchmark)
    protocol = protocol_of(asked.benchmark if subject is None else subject.protocol)
    protocol.check_parser(protocol.parsers[0] if order.parser is None else order.parser)
    lambdas = read_lambdas(order.lambdas)
    named = None if order.paper_model is None else named_model(order.paper_model)
    share, device = share_of_process(), device_of_process(asked.device)
    check_device(device)
    check_folder(order.folder)
    asking, of = asking_of(protocol, asked)
    found = find_checkpoint(asked.model)
    config = read_config(found)
    paper = paper_model(asked.model, config) if order.paper_model is None else named
    setting = paper_setting(paper, order.learning_rate)
    policies: dict[str, Policy | None] = {**sweep_policies(setting, lambdas)}
    identity, path = asking.identity(), order.folder / ANSWERS  # refuses an unknown prompt
    if order.folder.is_dir():
        check_resumable(path, identity)
    model, processor = load_model(found, device, asked.dtype)
    order.folder.mkdir(exist_ok=True)
    run = Run(asked.model, model, processor, share, Notices())
    part = Part("greedy", path, asking, policies)
    if share.number == 0:
        show_memory_of(console, model, processor, asking, {"paper's setting": setting})
    estimate_parts(run, [part])
    if order.estimate:
        return
    kept = answers_of(run, [part])
    if kept is None:
        console.print(f"{order.folder}: process {share.number + 1} of {share.of} has ended", soft_wrap=True)
        return
    measured = _measured(asking, kept["greedy"], list(policies), path, order.parser, of)
    notes = [*model_notes(asked.model, config, paper, order.paper_model), setting_note(setting), NOTE]
    notes += item_notes(asked.limits.partial, asked.limits.limit)
    shown = sorted(protocol.measures, key=lambda name: name not in MAIN) if subject is None else subject.shown
    _show(Sweep(measured, setting, lambdas, list(shown)[:PANELS], [*notes, measured.caption]), order.folder)


def read_lambdas(text: str) -> list[float]:
    """Return the weights that an option lists.

    Raises
    ------
    ValueError
        For text that is no list of numbers.
    """
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--lambdas is {text!r}; expected numbers separated by commas, 0,0.1,1 for example."
        ) from error


def _measured(asking: Asking, kept: KeptAnswers, names: list[str], path: Path, parser: str | None, of: int) -> Results:
    answers = kept.by_policy()
    systems = {name: answers[name] for name in names}
    note_changes(Written(path, systems, kept.header, changes(kept.runs)))
    made = conditions_of(kept.header)
    return results(asking.protocol, asking.items, systems, parser, of=of, conditions=made)


def _show(sweep: Sweep, folder: Path) -> None:
    """Print the measures, write them and the figure."""
    console.print(sweep.found.tables())
    report: dict[str, Any] = sweep.to_dict()
    write_json(folder / REPORT, report)
    place = folder / FIGURE
    save_both(sweep.plot(), place)
    console.print(f"figure: {place}.pdf, .png, numbers: {place}.csv, report: {folder / REPORT}", soft_wrap=True)
    list_notes(sweep.about)
