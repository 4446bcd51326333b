"""What ``lime-xai evaluate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.answers import KeptAnswers, changes, check_resumable
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding, check_items, limited
from lime_xai.evaluation.benchmarks.protocol import Protocol, protocol_of
from lime_xai.evaluation.benchmarks.results import conditions_of, results
from lime_xai.evaluation.benchmarks.shares import device_of_process, evaluate_share, share_of_process
from lime_xai.evaluation.benchmarks.written import Written
from lime_xai.policies.calibration import Calibration

from .benchmarks import Wanted, read_files, show_results
from .loading import check_device, find_checkpoint, load_model
from .memory import show_memory_of
from .policies import asking_choice, read_policies, uncalibrated
from .progress import counting
from .run_score import note_changes
from .screen import Notices, console, notice, notices


@dataclass(frozen=True)
class Limits:
    """How long and how many; ``max_new_tokens`` None: as the benchmark says."""

    max_new_tokens: int | None
    sample: bool
    seed: int
    limit: int | None
    partial: bool


@dataclass(frozen=True)
class Asked:
    """What the options say, as given."""

    model: str
    benchmark: str
    files: Sequence[str]
    media: Path | None
    policies: str
    calibration: Path | None
    style: str | None
    limits: Limits
    device: str | None
    dtype: str


def run_evaluate(asked: Asked, out: Path, wanted: Wanted) -> None:
    """Ask the items of a benchmark, print and write the results.

    Everything but the model is read and checked before the model is loaded.

    Parameters
    ----------
    asked : Asked
        Model, benchmark, policies.
    out : Path
        File of answers.
    wanted : Wanted
        Parsers, and files to write, checked before.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    protocol = protocol_of(asked.benchmark)
    for parser in wanted.parsers:
        protocol.check_parser(protocol.parsers[0] if parser is None else parser)
    written = read_policies(asked.policies)
    measured = None if asked.calibration is None else Calibration.load(asked.calibration)
    share, device = share_of_process(), device_of_process(asked.device)
    check_device(device)
    asking, of = asking_of(protocol, asked)
    check_resumable(out, asking.identity())
    found = find_checkpoint(asked.model)
    model, processor = load_model(found, device, asked.dtype)
    policies = asking_choice(written, asked.model, processor, measured)
    for name in uncalibrated(policies):
        notice(f"{name} runs uncalibrated; --calibration FILE subtracts the mean contribution.")
    if share.number == 0:
        show_memory_of(notices, model, processor, asking, policies)
    with counting("answers") as progress:
        said: dict[str, Any] = {"name": asked.model, "progress": progress, "note": Notices()}
        kept = evaluate_share(share, model, processor, asking, policies, out, **said)
    if kept is None:
        console.print(f"{share.part(out)}: process {share.number + 1} of {share.of} has ended", soft_wrap=True)
        return
    console.print(f"answers: {out}", soft_wrap=True)
    _show(kept, asking, list(policies), of, out, wanted)


def asking_of(protocol: Protocol, asked: Asked) -> tuple[Asking, int]:
    """Return what is asked, and how many items the benchmark has."""
    files, limits = read_files(protocol, asked.files), asked.limits
    items = protocol.read(files, asked.media, partial=limits.partial)
    chosen = limited(items, limits.limit)
    check_items(chosen)
    tokens = protocol.tokens if limits.max_new_tokens is None else limits.max_new_tokens
    return Asking(protocol, chosen, files, Decoding(tokens, limits.sample, limits.seed), asked.style), len(items)


def _show(kept: KeptAnswers, asking: Asking, names: Sequence[str], of: int, out: Path, wanted: Wanted) -> None:
    """Measure the answers under the policies that were asked for; print and write."""
    answers = kept.by_policy()
    systems = {name: answers[name] for name in names}
    note_changes(Written(out, systems, kept.header, changes(kept.runs)))
    made = conditions_of(kept.header)
    show_results(
        [results(asking.protocol, asking.items, systems, parser, of=of, conditions=made) for parser in wanted.parsers],
        wanted,
    )
