"""What ``lime-xai reproduce cost`` does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lime_xai.evaluation.benchmarks.paper import PaperModel, named_model, paper_model
from lime_xai.evaluation.cost.measure import (
    FEWEST,
    expected_seconds,
    measured_peak,
    measured_times,
    tried,
)
from lime_xai.evaluation.cost.paper import CostRow, cost_rows
from lime_xai.evaluation.cost.peak import peak_is_known
from lime_xai.evaluation.cost.result import CostResult
from lime_xai.generation.checks import refusals
from lime_xai.storage.store import write_json

from .cost_prompt import CostPrompt, cost_inputs
from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory
from .progress import counting, duration
from .reproducing import check_folder, model_notes
from .screen import console, notice

REPORT = "cost.json"
"""Name of the report in the folder."""

TOKENS = 16
"""Of an answer by default."""


@dataclass(frozen=True)
class CostAsked:
    """What the options say, as given."""

    model: str
    prompt: CostPrompt
    tokens: int | None
    paper_model: str | None
    device: str | None
    dtype: str
    estimate: bool


def run_cost(asked: CostAsked, folder: Path) -> None:
    """Measure time and memory of the policies in turn, print and write them beside the paper's.

    Parameters
    ----------
    asked : CostAsked
        Model and prompt.
    folder : Path
        Gets the report.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    tokens = TOKENS if asked.tokens is None else asked.tokens
    if tokens < FEWEST:
        raise ValueError(
            f"--max-new-tokens is {tokens}; the cost of a token needs answers of {FEWEST} tokens at least."
        )
    named = None if asked.paper_model is None else named_model(asked.paper_model)
    check_device(asked.device)
    check_folder(folder)
    found = find_checkpoint(asked.model)
    config = read_config(found)
    paper = paper_model(asked.model, config) if asked.paper_model is None else named
    importing, start = time.process_time(), time.perf_counter()
    model, processor = load_model(found, asked.device, asked.dtype)
    loading = importing + time.perf_counter() - start  # what another process needs before it answers
    inputs, what = cost_inputs(asked.model, model, processor, asked.prompt)
    folder.mkdir(exist_ok=True)
    every = cost_rows(paper)
    refused = refusals(model, {row.name: row.policy for row in every})
    rows = [row for row in every if row.name not in refused]
    show_memory(console, model, inputs, [(row.name, row.policy) for row in rows], tokens, what)
    _estimate(model, rows, inputs, tokens, loading)
    if asked.estimate:
        return
    notes = model_notes(asked.model, config, paper, asked.paper_model)
    times = measured_times(model, rows, inputs, tokens)
    peaks = _peaks(asked, paper, model, rows, inputs, tokens)
    where = f"{_machine(model.device)}, {str(model.dtype).removeprefix('torch.')}"
    title = f"cost of a token, {asked.model}, {where}"
    notes = [*notes, f"{what}; answers of {tokens} tokens, whatever they say", _how(model.device, bool(peaks))]
    result = CostResult(title, paper, every, times, peaks, refused, notes)
    console.print(result.tables())
    path = folder / REPORT
    write_json(path, result.to_dict())
    console.print(f"report: {path}", soft_wrap=True)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"


def _how(device: torch.device, peaks: bool) -> str:
    if device.type == "cuda":
        return "whole answers take turns; peak: what tensors take on the device, weights included"
    memory = "peak: resident memory of a process of its own, with weights, Python and all libraries"
    return "answers take turns token by token; " + (memory if peaks else "peak memory is not known on this system")


def _apart(device: torch.device) -> bool:
    """Whether each peak needs a process of its own."""
    return device.type == "cpu" and peak_is_known(device)


def _estimate(model: Any, rows: Sequence[CostRow], inputs: dict[str, Any], tokens: int, loading: float) -> None:
    """Time a short answer of each row and print how long the measurement will take."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title="estimate")
    for name in ("row", "first token", "next token", "time"):
        table.add_column(name, justify="left" if name == "row" else "right")
    total = 0.0
    for name, short in tried(model, rows, inputs).items():
        once = expected_seconds(short, tokens)
        times = short.whole + once * (1 + peak_is_known(model.device)) + (loading if _apart(model.device) else 0.0)
        total += times
        table.add_row(name, f"{short.first:.2f} s", f"{short.tokens[-1]:.2f} s", duration(times))
    console.print(table)
    console.print(f"about {duration(total)} left, by a short answer of each row", soft_wrap=True)


def _peaks(
    asked: CostAsked,
    paper: PaperModel | None,
    model: Any,
    rows: Sequence[CostRow],
    inputs: dict[str, Any],
    tokens: int,
) -> dict[str, int]:
    """Return peak memory by row; empty where it is not known."""
    if not peak_is_known(model.device):
        notice(f"Peak memory is not known for {model.device} on this system; times only.")
        return {}
    found: dict[str, int] = {}
    with counting("peaks") as progress:
        for index, row in enumerate(rows):
            progress(index, len(rows))
            if _apart(model.device):
                found[row.name] = _peak_apart(asked, paper, row, tokens)
            else:
                found[row.name] = measured_peak(model, row, inputs, tokens)
        progress(len(rows), len(rows))
    return found


def _peak_apart(asked: CostAsked, paper: PaperModel | None, row: CostRow, tokens: int) -> int:
    """Return the peak memory of a row, measured in a process of its own.

    Raises
    ------
    RuntimeError
        If that process ends without a result.
    """
    order = {
        "model": asked.model,
        "text": asked.prompt.text,
        "images": list(map(str, asked.prompt.images)),
        "audios": list(map(str, asked.prompt.audios)),
        "tokens": tokens,
        "paper": None if paper is None else paper.name,
        "row": row.name,
        "device": asked.device,
        "dtype": asked.dtype,
        "threads": torch.get_num_threads(),
    }
    command = [sys.executable, "-m", "lime_xai.command.run_cost", json.dumps(order)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"The process that measures the memory of {row.name!r} failed: {last}")
    return int(done.stdout.strip().splitlines()[-1])


def _print_peak(order: dict[str, Any]) -> None:
    """Answer once and print the peak memory meanwhile: what ``_peak_apart`` runs."""
    torch.set_num_threads(order["threads"])
    model, processor = load_model(find_checkpoint(order["model"]), order["device"], order["dtype"])
    files = [[Path(path) for path in order[name]] for name in ("images", "audios")]
    inputs, _ = cost_inputs(order["model"], model, processor, CostPrompt(order["text"], *files))
    paper = None if order["paper"] is None else named_model(order["paper"])
    row = next(row for row in cost_rows(paper) if row.name == order["row"])
    print(measured_peak(model, row, inputs, order["tokens"]))


if __name__ == "__main__":
    _print_peak(json.loads(sys.argv[1]))
