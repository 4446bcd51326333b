"""What ``lime-xai reproduce grounding`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.evaluation.benchmarks.grounding import GroundingExample, measure_grounding, read_grounding
from lime_xai.evaluation.benchmarks.grounding.examples import check_examples
from lime_xai.evaluation.benchmarks.grounding.measure import example_prompt
from lime_xai.evaluation.benchmarks.grounding.paper import GroundingRow, grounding_rows
from lime_xai.evaluation.benchmarks.grounding.readers import EVENT_QUESTION
from lime_xai.evaluation.benchmarks.grounding.reproduction import GroundingReproduction
from lime_xai.evaluation.benchmarks.grounding.results import GroundingResult
from lime_xai.evaluation.benchmarks.paper import named_model, paper_model
from lime_xai.evaluation.benchmarks.shares import share_of_process
from lime_xai.generation.checks import refusals
from lime_xai.storage.store import write_json

from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory
from .progress import counting, duration
from .reproducing import check_alone, check_folder, item_notes, model_notes
from .screen import Notices, console, notice

VALUES, REPORT = "grounding.json", "reproduction.json"
"""Names of the files in the folder: values of every example, with which a later run goes on, and the tables."""


@dataclass(frozen=True)
class GroundingAsked:
    """What the options say, as given."""

    model: str
    file: Path
    kind: str
    media: Path | None
    masks: Path | None
    question: str | None
    limit: int | None
    max_new_tokens: int
    paper_model: str | None
    estimate: bool
    device: str | None
    dtype: str


@dataclass(frozen=True)
class _Run:
    """A loaded model with what is measured."""

    model: Any
    processor: Any
    examples: Sequence[GroundingExample]
    rows: Sequence[GroundingRow]
    tokens: int
    path: Path

    def measured(self, what: str, most: int | None = None) -> GroundingResult:
        """Return the values that are there after measuring ``most`` further examples, all for None."""
        policies = {row.name: row.policy for row in self.rows}
        with counting(what) as progress:
            return measure_grounding(
                self.model,
                self.processor,
                self.examples,
                policies=policies,
                max_new_tokens=self.tokens,
                out=self.path,
                most=most,
                progress=progress,
                note=Notices(),
            )


def run_table4(asked: GroundingAsked, folder: Path) -> None:
    """Measure grounding and reliance before and after an edit, print and write them beside the paper's cells.

    Everything but the model is read and checked before the model is loaded.

    Parameters
    ----------
    asked : GroundingAsked
        Model and examples.
    folder : Path
        Gets the files; an interrupted run goes on from them.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    named = None if asked.paper_model is None else named_model(asked.paper_model)
    check_alone("grounding", share_of_process())
    check_device(asked.device)
    check_folder(folder)
    question = EVENT_QUESTION if asked.question is None else asked.question
    every = read_grounding(asked.kind, asked.file, media=asked.media, masks=asked.masks, question=question)
    examples = every[: asked.limit]
    check_examples(examples)
    found = find_checkpoint(asked.model)
    config = read_config(found)
    paper = paper_model(asked.model, config) if asked.paper_model is None else named
    model, processor = load_model(found, asked.device, asked.dtype)
    rows = grounding_rows(paper)
    refused = refusals(model, {row.name: row.policy for row in rows})
    kept = [row for row in rows if row.name not in refused]
    folder.mkdir(exist_ok=True)
    run = _Run(model, processor, examples, kept, asked.max_new_tokens, folder / VALUES)
    _estimate(run)
    if asked.estimate:
        return
    values = run.measured("examples")
    notes = [*model_notes(asked.model, config, paper, asked.paper_model), *item_notes(False, asked.limit)]
    dtype = str(model.dtype).removeprefix("torch.")
    notes += [
        f"{len(examples)} of {len(every)} examples of {asked.file.name} ({asked.kind})",
        f"answers of {asked.max_new_tokens} tokens at most, greedy; weights in {dtype}",
    ]
    result = GroundingReproduction(asked.model, paper, rows, refused, values, notes)
    console.print(result.tables())
    for name, reason in list(values.unknown.items())[:3]:
        notice(f"{name} is left out: {reason}.")
    write_json(folder / REPORT, result.to_dict())
    console.print(f"report: {folder / REPORT}", soft_wrap=True)


def _estimate(run: _Run) -> None:
    """Print the memory of an answer, measure one further example, and print how long the others will take."""
    prompt = example_prompt(run.model, run.processor, run.examples[0], notice)
    policies = [(row.name, row.policy) for row in run.rows]
    show_memory(console, run.model, prompt.inputs, policies, run.tokens, f"example {run.examples[0].id}")
    start = time.perf_counter()
    done = len(run.measured("examples timed", 1).rows)
    each = time.perf_counter() - start
    left = len(run.examples) - done
    console.print(
        f"{left} of {len(run.examples)} examples left, about {duration(left * each)}, by the time of one",
        soft_wrap=True,
    )
