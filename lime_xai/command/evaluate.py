"""``lime-xai evaluate`` and ``lime-xai score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .benchmarks import (
    Benchmark,
    BenchmarkFiles,
    Parsers,
    ResultJson,
    ResultPlot,
    result_outputs,
    wanted_of,
)
from .common import Calibrated, Device, Dtype, Precision, Threads, set_threads
from .files import Output, check_outputs

ANSWERS = (".jsonl",)
"""Ending of a file of answers."""


def evaluate(
    model: Annotated[str, typer.Option(help="Folder, GGUF file, hub id, or a bundled model: 'scene', 'sound'.")],
    benchmark: Benchmark,
    out: Annotated[
        Path, typer.Option(help="Answers, JSON lines: each is written as it is given, and a later run goes on from it.")
    ],
    file: BenchmarkFiles = None,
    media: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of images or sounds; by default that of the file."),
    ] = None,
    policies: Annotated[
        str,
        typer.Option(
            help="Names, or JSON as policy_to_dict writes it, separated by commas; vanilla is the model alone."
        ),
    ] = "vanilla,contrast",
    calibration: Calibrated = None,
    style: Annotated[str | None, typer.Option(help="Prompt of the benchmark; by default its first.")] = None,
    parser: Parsers = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer; by default the benchmark's.")] = None,
    sample: Annotated[bool, typer.Option(help="Sample instead of taking the best token.")] = False,
    seed: Annotated[int, typer.Option(help="For sampling; each item has a seed of its own, made of this one.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first N items of each group only.")] = None,
    partial: Annotated[bool, typer.Option(help="The files are a part of the official ones.")] = False,
    report: ResultJson = None,
    plot: ResultPlot = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Ask a model the items of a benchmark under policies, and measure its answers."""
    wanted = wanted_of(parser, report, plot)
    check_outputs([Output("--out", out, ANSWERS), *result_outputs(wanted)])
    from .run_evaluate import Asked, Limits, run_evaluate

    set_threads(threads)
    limits = Limits(max_new_tokens, sample, seed, limit, partial)
    asked = Asked(model, benchmark, file or [], media, policies, calibration, style, limits, device, dtype.value)
    run_evaluate(asked, out, wanted)


def score(
    answers: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            dir_okay=False,
            help='What evaluate wrote, or lines {"id": ..., "text": ...} of any system.',
        ),
    ],
    benchmark: Benchmark,
    file: BenchmarkFiles = None,
    parser: Parsers = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this one; by default vanilla, else the first.")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option(help="Measure what all have answered; files may be parts of the official ones."),
    ] = False,
    report: ResultJson = None,
    plot: ResultPlot = None,
    model: Annotated[
        str | None, typer.Option(help="Score every word of the answers with this model; needs --words.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="Scored words to write, JSON lines; a later run goes on from them.")
    ] = None,
    media: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of images or sounds; by default that of the file."),
    ] = None,
    style: Annotated[str | None, typer.Option(help="Prompt of the benchmark that was asked, for --model.")] = None,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Measure finished answers of any system; without --model no model is loaded."""
    wanted = wanted_of(parser, report, plot)
    if (model is None) != (words is None):
        raise typer.BadParameter("--model and --words belong together: the model that scores words, and their file.")
    check_outputs([*result_outputs(wanted), Output("--words", words, ANSWERS)], answers)
    from .run_score import Words, run_score

    set_threads(threads)
    scored = Words(model, words, media, style, device, dtype.value) if model and words else None
    run_score(answers, benchmark, file or [], wanted, against, partial, scored)
