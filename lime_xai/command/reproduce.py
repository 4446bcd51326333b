"""``lime-xai reproduce``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .benchmarks import BenchmarkFiles, Parsers
from .common import Device, Dtype, Precision, Threads, set_threads


class PaperBenchmark(StrEnum):
    """Benchmarks of the paper that can be asked."""

    pope = "pope"
    pope_aokvqa = "pope-aokvqa"
    chair = "chair"
    audioqa = "audioqa"
    airbench = "airbench"


def reproduce(
    benchmark: Annotated[PaperBenchmark, typer.Argument(help="Of the paper; pope is POPE on COCO.")],
    model: Annotated[str, typer.Option(help="Folder, hub id, or a bundled model: 'scene', 'sound'.")],
    out: Annotated[
        Path, typer.Option(help="Folder of greedy.jsonl, sampling.jsonl and reproduction.json; a later run goes on.")
    ],
    file: BenchmarkFiles = None,
    media: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of images or sounds; by default that of the file."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first N items of each group only.")] = None,
    partial: Annotated[bool, typer.Option(help="The files are a part of the official ones.")] = False,
    paper_model: Annotated[
        str | None, typer.Option(help="Which of the paper's models it is, or 'none'; by default by id and config.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="Prompt of the benchmark; by default its first.")] = None,
    parser: Parsers = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer; by default the benchmark's.")] = None,
    seed: Annotated[int, typer.Option(help="For the sampling row.")] = 0,
    estimate: Annotated[bool, typer.Option(help="Time an answer of each row, print the run's time, stop.")] = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Ask a benchmark of the paper as its tables do, and print the paper's cells beside the results.

    Not here: the paper's grounding and reliance (table 4) and its cost.
    """
    from .run_evaluate import Asked, Limits
    from .run_reproduce import Order, run_reproduce

    set_threads(threads)
    limits = Limits(max_new_tokens, False, seed, limit, partial)
    asked = Asked(model, benchmark.value, file or [], media, "", None, style, limits, device, dtype.value)
    parsers = [None] if parser is None else list(dict.fromkeys(name.strip() for name in parser.split(",")))
    run_reproduce(asked, Order(out, parsers, paper_model, estimate))
