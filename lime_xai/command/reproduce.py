"""``lime-xai reproduce``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .benchmarks import BenchmarkFiles, Parsers
from .common import Audios, Device, Dtype, Images, Precision, Threads, set_threads


class PaperBenchmark(StrEnum):
    """What of the paper can be measured."""

    pope = "pope"
    pope_aokvqa = "pope-aokvqa"
    chair = "chair"
    audioqa = "audioqa"
    airbench = "airbench"
    cost = "cost"


def reproduce(
    context: typer.Context,
    benchmark: Annotated[PaperBenchmark, typer.Argument(help="Of the paper; pope is POPE on COCO.")],
    model: Annotated[str, typer.Option(help="Folder, hub id, or a bundled model: 'scene', 'sound'.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the results: greedy.jsonl, sampling.jsonl and reproduction.json, with which a later run "
            "goes on; cost.json."
        ),
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
    image: Images = None,
    audio: Audios = None,
    prompt: Annotated[
        str | None, typer.Option(help="Of cost, about --image or --audio; by default a world's example, or noise.")
    ] = None,
    estimate: Annotated[bool, typer.Option(help="Time an answer of each row, print the run's time, stop.")] = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Ask a benchmark of the paper as its tables do, and print the paper's cells beside the results.

    cost measures time and memory of a generated token, and reads no files of a benchmark.
    """
    _check_options(context, benchmark.value)
    set_threads(threads)
    if benchmark is PaperBenchmark.cost:
        from .cost_prompt import CostPrompt
        from .run_cost import CostAsked, run_cost

        files = CostPrompt(prompt, image or [], audio or [])
        run_cost(CostAsked(model, files, max_new_tokens, paper_model, device, dtype.value, estimate), out)
        return
    from .run_evaluate import Asked, Limits
    from .run_reproduce import Order, run_reproduce

    limits = Limits(max_new_tokens, False, seed, limit, partial)
    asked = Asked(model, benchmark.value, file or [], media, "", None, style, limits, device, dtype.value)
    parsers = [None] if parser is None else list(dict.fromkeys(name.strip() for name in parser.split(",")))
    run_reproduce(asked, Order(out, parsers, paper_model, estimate))


_OF_ITEMS = ("file", "media", "limit", "partial", "style", "parser", "seed")
_OF_COST = ("image", "audio", "prompt")


def _check_options(context: typer.Context, benchmark: str) -> None:
    """Refuse options that do nothing for a benchmark."""
    foreign = _OF_ITEMS if benchmark == PaperBenchmark.cost.value else _OF_COST
    sources = {name: context.get_parameter_source(name) for name in foreign}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        names = ", ".join(f"--{name}" for name in given)
        raise typer.BadParameter(f"{names} has no effect on {benchmark}; leave it out.")
