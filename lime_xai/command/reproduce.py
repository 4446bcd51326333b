"""``lime-xai reproduce`` and its commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .benchmarks import Benchmark, BenchmarkFiles, Parsers
from .common import Audios, Device, Dtype, Images, Precision, Threads, set_threads
from .ground import EventQuestion, Examples, Kind, Masks

reproduce_app = typer.Typer(
    help="Measure a table or figure of the paper on a model; the paper's cells stand beside the results.",
    no_args_is_help=True,
)


class PaperBenchmark(StrEnum):
    """Benchmarks of the paper's tables."""

    pope = "pope"
    pope_aokvqa = "pope-aokvqa"
    chair = "chair"
    audioqa = "audioqa"
    airbench = "airbench"


_HELP = {
    PaperBenchmark.pope: "POPE on COCO (tables 1 and 7).",
    PaperBenchmark.pope_aokvqa: "POPE on A-OKVQA (tables 7 and 8).",
    PaperBenchmark.chair: "CHAIR (table 2).",
    PaperBenchmark.audioqa: "Audio Hallucination QA (table 3a).",
    PaperBenchmark.airbench: "AIR-Bench foundation (table 3b).",
}

_Model = Annotated[str, typer.Option("--model", help="Folder, hub id, or a bundled model: 'scene', 'sound'.")]
_Out = Annotated[
    Path, typer.Option("--out", help="Folder of the results. The same command goes on from answers in it.")
]
_PaperModel = Annotated[
    str | None, typer.Option(help="Which of the paper's models it is, or 'none'; by default by id and config.")
]
_Estimate = Annotated[bool, typer.Option("--estimate", help="Print how long the run will take, and stop.")]
_Media = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Folder of images or sounds; by default that of the file."),
]
_Limit = Annotated[int | None, typer.Option(min=1, help="Ask the first N items of each group only.")]
_Partial = Annotated[bool, typer.Option("--partial", help="The files are a part of the official ones.")]
_Style = Annotated[str | None, typer.Option(help="Prompt of the benchmark; by default its first.")]
_Tokens = Annotated[int | None, typer.Option(min=1, help="Of an answer; by default the benchmark's.")]
_Rate = Annotated[
    float | None, typer.Option(help="Of the edit; by default the paper's for the model. Small models need larger ones.")
]
_Prompt = Annotated[
    str | None, typer.Option(help="About --image or --audio; by default a world's example, or for cost noise.")
]


def _benchmark(
    context: typer.Context,
    model: _Model,
    out: _Out,
    file: BenchmarkFiles = None,
    media: _Media = None,
    limit: _Limit = None,
    partial: _Partial = False,
    paper_model: _PaperModel = None,
    style: _Style = None,
    parser: Parsers = None,
    max_new_tokens: _Tokens = None,
    seed: Annotated[int, typer.Option(help="For the sampling row.")] = 0,
    estimate: _Estimate = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    from .run_evaluate import Asked, Limits
    from .run_reproduce import Order, run_reproduce

    set_threads(threads)
    limits = Limits(max_new_tokens, False, seed, limit, partial)
    name = str(context.command.name)
    asked = Asked(model, name, file or [], media, "", None, style, limits, device, dtype.value)
    parsers = [None] if parser is None else list(dict.fromkeys(one.strip() for one in parser.split(",")))
    run_reproduce(asked, Order(out, parsers, paper_model, estimate))


for _one, _help in _HELP.items():
    reproduce_app.command(_one.value, help=_help)(_benchmark)


@reproduce_app.command()
def grounding(
    model: _Model,
    out: _Out,
    file: Annotated[Path, typer.Option(help="Questions with their places, or an event list.")],
    kind: Annotated[Kind, typer.Option(help="Form of the file, as in lime-xai ground.")] = Kind.own,
    media: _Media = None,
    masks: Masks = None,
    question: EventQuestion = None,
    limit: Examples = None,
    paper_model: _PaperModel = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 16,
    estimate: _Estimate = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Grounding and reliance before and after an edit (table 4); the definitions are ours."""
    from .run_table4 import GroundingAsked, run_table4

    set_threads(threads)
    asked = GroundingAsked(
        model, file, kind.value, media, masks, question, limit, max_new_tokens, paper_model, estimate, device,
        dtype.value,
    )  # fmt: skip
    run_table4(asked, out)


@reproduce_app.command()
def cost(
    model: _Model,
    out: _Out,
    image: Images = None,
    audio: Audios = None,
    prompt: _Prompt = None,
    paper_model: _PaperModel = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer, 16 by default.")] = None,
    estimate: _Estimate = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Time and memory of a generated token; no files of a benchmark are read."""
    from .cost_prompt import CostPrompt
    from .run_cost import CostAsked, run_cost

    set_threads(threads)
    files = CostPrompt(prompt, image or [], audio or [])
    run_cost(CostAsked(model, files, max_new_tokens, paper_model, device, dtype.value, estimate), out)


@reproduce_app.command()
def figure3(
    model: _Model,
    out: _Out,
    image: Images = None,
    audio: Audios = None,
    prompt: _Prompt = None,
    paper_model: _PaperModel = None,
    learning_rate: _Rate = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of the answer.")] = 16,
    estimate: _Estimate = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Relevance over the optimisation steps of every token of an answer (figure 3)."""
    from .cost_prompt import CostPrompt
    from .run_figure3 import StepsAsked, run_figure3

    set_threads(threads)
    files = CostPrompt(prompt, image or [], audio or [])
    asked = StepsAsked(model, files, max_new_tokens, learning_rate, paper_model, estimate, device, dtype.value)
    run_figure3(asked, out)


@reproduce_app.command()
def figure5(
    model: _Model,
    benchmark: Benchmark,
    out: _Out,
    file: BenchmarkFiles = None,
    media: _Media = None,
    lambdas: Annotated[str, typer.Option(help="Weights of the divergence, separated by commas.")] = "0,0.01,0.1,1,10",
    learning_rate: _Rate = None,
    limit: _Limit = None,
    partial: _Partial = False,
    paper_model: _PaperModel = None,
    style: _Style = None,
    parser: Annotated[str | None, typer.Option(help="How answers are read; by default the benchmark's.")] = None,
    max_new_tokens: _Tokens = None,
    estimate: _Estimate = False,
    device: Device = None,
    dtype: Precision = Dtype.auto,
    threads: Threads = None,
) -> None:
    """Weights of the divergence on keys, values and both (figure 5), on any benchmark, one's own included."""
    from .run_evaluate import Asked, Limits
    from .run_figure5 import SweepAsked, run_figure5

    set_threads(threads)
    limits = Limits(max_new_tokens, False, 0, limit, partial)
    asked = Asked(model, benchmark, file or [], media, "", None, style, limits, device, dtype.value)
    run_figure5(asked, SweepAsked(out, lambdas, learning_rate, parser, paper_model, estimate))
