"""``lime-xai world`` and ``lime-xai world accept``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Device, Threads, set_threads
from .files import Output, check_outputs
from .screen import console

world_app = typer.Typer(
    help="Measure policies on an embedded world, beside the model without any.", invoke_without_command=True
)


@world_app.callback()
def world(
    context: typer.Context,
    name: Annotated[str, typer.Option("--world", help="Name of the embedded world.")] = "scene",
    seed: Annotated[int, typer.Option(help="Of the scenes; not one used for tuning.")] = 5,
    scenes: Annotated[int, typer.Option(min=2)] = 300,
    policies: Annotated[
        str | None,
        typer.Option(
            help="Names, or JSON as policy_to_dict writes it, separated by commas; by default vanilla, paper_cache, "
            "edit, contrast."
        ),
    ] = None,
    noise: Annotated[float | None, typer.Option(help="Of pictures or clips; by default the world's.")] = None,
    model: Annotated[str, typer.Option(help="Name of a frozen model, or a folder.")] = "bundled",
    out: Annotated[Path | None, typer.Option("--json", help="Report; an interrupted run resumes from it.")] = None,
    tune: Annotated[Path | None, typer.Option(help="Instead choose settings on this seed and write them here.")] = None,
    tuned: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Settings to use; by default the shipped ones.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Of the model, for reweight and constant; measured if there is no such file.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure policies on an embedded world, beside the model without any."""
    if context.invoked_subcommand is not None:
        return
    check_outputs(
        [
            Output("--json", out, (".json",)),
            Output("--tune", tune, (".json",)),
            Output("--calibration", calibration, (".safetensors",)),
        ],
        [] if tuned is None else [tuned],
    )
    from .run_world import run_world

    set_threads(threads)
    run_world(
        console,
        name,
        seed,
        scenes,
        [policies] if policies else None,
        noise,
        model,
        out,
        tune,
        tuned,
        calibration,
        device,
    )


@world_app.command()
def accept(
    models: Annotated[list[str], typer.Argument(help="Names of frozen models, or folders.")],
    name: Annotated[str, typer.Option("--world", help="Name of the embedded world.")] = "scene",
    seed: Annotated[int | None, typer.Option(help="Of the scenes; by default the protocol's for acceptance.")] = None,
    scenes: Annotated[int, typer.Option(min=2)] = 300,
    out: Annotated[Path | None, typer.Option("--json", help="Report; other models in it are kept.")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure models of an embedded world against its criteria; status 1 if one is missed."""
    check_outputs([Output("--json", out, (".json",))])
    from .run_world import run_accept

    set_threads(threads)
    if not run_accept(console, name, models, seed, scenes, out, device):
        raise typer.Exit(1)


@world_app.command()
def export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder to write; made if it is not there.")],
    name: Annotated[str, typer.Option("--world", help="Name of the embedded world.")] = "scene",
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes.")] = 5,
    scenes: Annotated[int, typer.Option(min=1)] = 50,
    noise: Annotated[float | None, typer.Option(help="Of pictures or clips; by default the world's.")] = None,
) -> None:
    """Write scenes of a world as files with questions, for evaluate or any other system."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; give a new folder.")
    if not folder.resolve().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.parent} to make {folder.name} in; make it first.")
    from lime_xai.evaluation.benchmarks.protocols.world import write_world
    from lime_xai.worlds import load_world

    for path in write_world(load_world(name), folder, seed, scenes, noise):
        console.print(f"written: {path}", soft_wrap=True)
