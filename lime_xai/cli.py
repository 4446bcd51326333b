"""Command line: ``lime-xai`` and ``python -m lime_xai``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

app = typer.Typer(
    help="Relevance and steering of multimodal language models.", no_args_is_help=True, add_completion=False
)
world_app = typer.Typer(
    help="Measure policies on an embedded world, beside the model without any.", invoke_without_command=True
)
app.add_typer(world_app, name="world")
console = Console()

Model = Annotated[str, typer.Argument(help="Path, hub id, or 'scene' for the bundled model.")]
Prompt = Annotated[str, typer.Option(help="What the user says.")]
Images = Annotated[list[Path] | None, typer.Option("--image", exists=True, help="Image file; repeatable.")]
Audios = Annotated[list[Path] | None, typer.Option("--audio", exists=True, help="Sound file; repeatable.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default torch's choice.")]


def _threads(count: int | None) -> None:
    if count is not None:
        torch.set_num_threads(count)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("relevance.png"),
    scenes: Annotated[int, typer.Option(min=4, help="Scenes of the small measurement.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 7,
    threads: Threads = 2,
) -> None:
    """Show the bundled model hallucinate, why, and what steering changes."""
    from .demo import run_demo

    _threads(threads)
    run_demo(console, out, scenes, seed)


@app.command()
def attribute(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    target: Annotated[str | None, typer.Option(help="Phrase to explain; by default the model's next token.")] = None,
    method: Annotated[
        str, typer.Option(help="attnlrp, cplrp, gradient_input or another name in lime_xai.BASELINES.")
    ] = "attnlrp",
    out: Annotated[Path | None, typer.Option(help="PNG to write.")] = None,
    save: Annotated[Path | None, typer.Option(help="Safetensors file to write.")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Show how much each input token counts for an answer."""
    from .attribution import attribute as attribute_model
    from .loading import load_model, make_inputs
    from .report import relevance_text

    _threads(threads)
    network, processor = load_model(model, device)
    inputs, pictures = make_inputs(processor, prompt, image or (), audio or ())
    found = attribute_model(network, inputs.to(network.device), target, method, per_token=False, processor=processor)
    said = processor.tokenizer.decode(found.target_ids[0])
    console.print(f"target {said!r}, logit {float(found.logits[0]):.3f}, residual {float(found.residual[0]):+.3f}")
    console.print("shares: " + ", ".join(f"{name} {float(value[0]):.3f}" for name, value in found.shares.items()))
    console.print(relevance_text(found))
    if out is not None:
        found.plot(image=pictures[0] if len(pictures) == 1 else None).savefig(out, dpi=150)
        console.print(f"picture: {out}")
    if save is not None:
        found.save(save)
        console.print(f"tensors: {save}")


@app.command()
def steer(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    policy: Annotated[str, typer.Option(help="Name, or JSON as policy_to_dict writes it.")] = "edit",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 64,
    sample: Annotated[bool, typer.Option(help="Sample instead of taking the best token.")] = False,
    seed: Annotated[int, typer.Option(help="For sampling.")] = 0,
    trace: Annotated[bool, typer.Option(help="Print the trace, token by token.")] = False,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Answer a prompt with and without a policy."""
    from .loading import load_model, make_inputs
    from .policies import as_policies, policy_from_dict
    from .steering import steer as steer_model

    _threads(threads)
    chosen = policy_from_dict(_policy_json(policy)) if policy.lstrip().startswith("{") else as_policies(policy)[0]
    network, processor = load_model(model, device)
    inputs, _ = make_inputs(processor, prompt, image or (), audio or ())
    inputs = inputs.to(network.device)
    length = inputs["input_ids"].shape[1]
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": sample}
    torch.manual_seed(seed)
    plain = network.generate(**inputs, **settings)
    torch.manual_seed(seed)
    output = steer_model(network, inputs, chosen, **settings)
    for name, sequence in (("plain", plain), ("steered", output.sequences)):
        console.print(
            f"[bold]{name}[/bold]: {processor.tokenizer.decode(sequence[0, length:], skip_special_tokens=True)}"
        )
    if trace:
        console.print(output.trace.table(tokenizer=processor.tokenizer))


def _policy_json(text: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--policy is no valid JSON ({error}); give a name or what policy_to_dict writes.") from error
    return data


@app.command()
def audit(model: Model) -> None:
    """List the modules of a model's decoder with their rules, and what none covers."""
    from .attribution import audit as audit_model
    from .loading import load_model

    network, _ = load_model(model)
    report = audit_model(network)
    console.print(report.summary(), highlight=False)
    raise typer.Exit(0 if report.complete else 1)


@world_app.callback()
def world(
    context: typer.Context,
    name: Annotated[str, typer.Option("--world", help="Name of the embedded world.")] = "scene",
    seed: Annotated[int, typer.Option(help="Of the scenes; not one used for tuning.")] = 5,
    scenes: Annotated[int, typer.Option(min=2)] = 300,
    policies: Annotated[
        str | None, typer.Option(help="Names, separated by commas; by default vanilla, paper_cache, edit, contrast.")
    ] = None,
    noise: Annotated[float | None, typer.Option(help="Pixel noise; by default the world's.")] = None,
    model: Annotated[str, typer.Option(help="Name of a frozen model, or a folder.")] = "bundled",
    out: Annotated[Path | None, typer.Option("--json", help="Report; an interrupted run resumes from it.")] = None,
    tune: Annotated[Path | None, typer.Option(help="Instead choose settings on this seed and write them here.")] = None,
    tuned: Annotated[
        Path | None, typer.Option(exists=True, help="Settings to use; by default the shipped ones.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Of the model, for reweight and constant; measured if there is no such file.")
    ] = None,
    threads: Threads = 2,
) -> None:
    """Measure policies on an embedded world, beside the model without any."""
    if context.invoked_subcommand is not None:
        return
    from .evaluation.command import run_world

    _threads(threads)
    run_world(
        console,
        name,
        seed,
        scenes,
        policies.split(",") if policies else None,
        noise,
        model,
        out,
        tune,
        tuned,
        calibration,
    )


@world_app.command()
def accept(
    models: Annotated[list[str], typer.Argument(help="Names of frozen models, or folders.")],
    seed: Annotated[int | None, typer.Option(help="Of the scenes; by default the protocol's for acceptance.")] = None,
    scenes: Annotated[int, typer.Option(min=2)] = 300,
    out: Annotated[Path | None, typer.Option("--json", help="Report; other models in it are kept.")] = None,
    threads: Threads = 2,
) -> None:
    """Measure models of the scene world against their targets; status 1 if one is missed."""
    from .evaluation.command import run_accept

    _threads(threads)
    if not run_accept(console, models, seed, scenes, out):
        raise typer.Exit(1)


@app.command()
def compare(
    methods: Annotated[
        str, typer.Option(help="Names, separated by commas; the first is what others are held against.")
    ],
    model: Annotated[str, typer.Option(help="Name of a frozen model of the scene world, or a folder.")] = "bundled",
    metrics: Annotated[str | None, typer.Option(help="Names, separated by commas; by default all.")] = None,
    replacement: Annotated[str, typer.Option(help="mean, blur or zero; several separated by commas.")] = "mean,blur",
    questions: Annotated[int, typer.Option(min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Of the scenes; not one used for tuning.")] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Report; an interrupted run resumes from it.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Means and intervals.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Table for booktabs.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Figure, PNG or PDF.")] = None,
    threads: Threads = 2,
) -> None:
    """Compare attribution methods on questions about the scene world."""
    from .comparison.command import run_compare

    _threads(threads)
    names = None if metrics is None else metrics.split(",")
    files = {"json": out, "csv": table, "latex": latex, "plot": plot}
    run_compare(console, model, methods.split(","), names, replacement.split(","), questions, seed, files)


def main() -> None:
    """Run the command line; errors of input are one line, not a traceback."""
    try:
        app()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        raise SystemExit(2) from error
