"""What ``lime-xai world`` and ``lime-xai world accept`` do: progress, resuming, writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from lime_xai.evaluation.policies.acceptance import acceptance, acceptance_table, as_json
from lime_xai.evaluation.policies.calibrations import world_calibration
from lime_xai.evaluation.policies.registry import CALIBRATED, Measured, Tuned
from lime_xai.evaluation.policies.rows import read_rows
from lime_xai.evaluation.policies.tuning import TUNED, tune_policies
from lime_xai.evaluation.policies.world import WorldReport, measure_policies
from lime_xai.printing import foreign
from lime_xai.storage.store import check_identity, check_writable, read_json, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import World, load_world
from lime_xai.worlds.shared.criteria import KIND_NAMES
from lime_xai.worlds.shared.models import load_frozen, protocol, recipe
from lime_xai.worlds.shared.world import BUNDLED

from .loading import check_device
from .policies import read_policies, untuned, world_choice
from .screen import notice, notices

POLICIES = ("vanilla", "paper_cache", "edit", "contrast")
"""Measured unless others are named."""


def run_world(
    console: Console,
    name: str,
    seed: int,
    scenes: int,
    names: Sequence[str] | None = None,
    noise: float | None = None,
    model_name: str = BUNDLED,
    out: Path | None = None,
    tune: Path | None = None,
    tuned: Path | None = None,
    calibration: Path | None = None,
    device: str | None = None,
) -> None:
    """Measure (or tune) policies on a world and print the table.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    name, seed, scenes, noise : str, int, int, float
        World and evaluation set.
    names : sequence of str, optional
        Policies as ``read_policies`` takes them; by default ``POLICIES``, and for tuning all that have settings.
    model_name : str
        A frozen model's name or a folder.
    out : Path, optional
        JSON report, written after every policy; rows it already has are kept if it is of the same set.
    tune : Path, optional
        Choose the settings of those of ``names`` that have any on ``seed`` instead, and write them here; others that
        the file holds are kept.
    tuned : Path, optional
        Settings to use instead of the shipped ones.
    calibration : Path, optional
        Of the model, for policies that need one; measured on a tuning seed if there is no such file.
    device : str, optional
        Of the model, one that ``check_device`` accepts; by default the CPU.

    Raises
    ------
    ValueError
        For unknown names, or a report of another evaluation set in ``out``.
    """
    check_device(device)
    writable(out, tune, calibration)
    world = load_world(name)
    written = read_policies(names or POLICIES)
    tuning, names = names and list(written), list(written)
    model, processor = load_frozen(world, model_name)
    model.to(device or "cpu")
    if tune is not None:
        names = list(TUNED) if tuning is None else [name for name in TUNED if name in tuning]
        if not names:
            raise ValueError(
                f"None of {', '.join(tuning or ())} has settings to choose; some of {', '.join(TUNED)} have."
            )
    wants = calibration is not None and set(names) & set(CALIBRATED)
    measured = world_calibration(world, model, processor, calibration) if wants and calibration else None
    if tune is not None:
        held = _settings_held(tune, seed, scenes)
        found = tune_policies(
            world,
            model,
            processor,
            seed=seed,
            scenes=scenes,
            names=None if tuning is None else names,
            calibration=measured,
            say=console.print,
        )
        write_json(tune, held | found)
        console.print(f"settings chosen on seed {seed}: {tune}")
        return
    settings = read_json(tuned, "a file of tuned settings", Tuned) if tuned else None
    policies = world_choice(world, written, processor, settings, measured)
    if usual := untuned(world, written, settings):
        notice(
            f"no settings of {', '.join(usual)} have been chosen on the {name} world; measured with the usual "
            f"ones. {world.tuning_advice}"
        )
    report = _report(
        world,
        model,
        processor,
        policies,
        out,
        seed=seed,
        scenes=scenes,
        noise=world.default_noise if noise is None else noise,
        model_name=Path(model_name).name,
    )
    console.print(report.tables())


def _report(
    world: World,
    model: Any,
    processor: Any,
    policies: Mapping[str, Measured],
    out: Path | None,
    *,
    model_name: str,
    **drawn: Any,
) -> WorldReport:
    """Measure policies, with progress; the report is written after each, and resumes from the one in ``out``."""
    identity = {"world": world.name, "model": model_name, "weights": weights_hash(model), **drawn}
    done = read_rows(out, identity, list(policies)) if out is not None and out.exists() else {}
    with Progress(console=notices) as progress:
        task = progress.add_task("policies", total=len({"vanilla", *policies}))

        def note(report: WorldReport) -> None:
            progress.update(task, completed=len(report.policies))
            if out is not None:
                write_json(out, report.to_dict())

        return measure_policies(
            world, model, processor, policies, model_name=model_name, done=done, progress=note, **drawn
        )


def writable(*paths: Path | None) -> None:
    """Refuse files that could not be written at the end."""
    for path in paths:
        if path is not None:
            check_writable(path)


def _settings_held(tune: Path, seed: int, scenes: int) -> dict[str, Any]:
    """Return the settings that a file holds; an empty mapping if there is none."""
    held: dict[str, Any] = read_json(tune, "a file of tuned settings", Tuned) if tune.exists() else {}
    if held:
        check_identity(tune, "settings", held, {"seed": seed, "scenes": scenes})
    return held


def run_accept(
    console: Console,
    world_name: str,
    names: Sequence[str],
    seed: int | None = None,
    scenes: int = 300,
    out: Path | None = None,
    device: str | None = None,
) -> bool:
    """Measure models of a world against its criteria and print a table for each.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    world_name : str
        Of the world.
    names : sequence of str
        Frozen models or folders.
    seed, scenes : int
        Of the evaluation set; by default the protocol's seed for acceptance.
    out : Path, optional
        JSON report by model name; rows of other models in it are kept.
    device : str, optional
        Of the models, one that ``check_device`` accepts; by default the CPU.

    Returns
    -------
    bool
        Whether every criterion of every model is met.
    """
    check_device(device)
    writable(out)
    reports = read_json(out, "a report", dict[str, dict[str, Any]]) if out is not None and out.exists() else {}
    passed, world = True, load_world(world_name)
    loaded = {name: (*load_frozen(world, name), recipe(world, name)) for name in names}
    seed = protocol(world).seeds["acceptance"][0] if seed is None else seed
    evaluation = world.evaluation_set(seed, scenes=scenes)
    for name, (model, processor, made) in loaded.items():
        kind, weights = world.kind(made), weights_hash(model)
        with notices.status(foreign(f"measuring {name}")):
            rows = acceptance(model.to(device or "cpu"), processor, evaluation, kind)
        console.print(acceptance_table(f"{name}: {KIND_NAMES[kind]}, seed {seed}, {scenes} scenes", rows))
        parameters = sum(p.numel() for p in model.parameters())
        console.print(f"{parameters:,} parameters; sha256 {weights}", soft_wrap=True)
        if not any(criterion.binds(kind) for criterion in world.criteria):
            console.print(f"No criterion of the {world.name} world binds yet: the values are only reported.")
        passed = passed and all(row.verdict != "miss" for row in rows)
        reports[Path(name).name] = {
            "world": world.name,
            "weights": weights,
            "parameters": parameters,
            "kind": kind,
            "seed": seed,
            "scenes": scenes,
            "noise": evaluation.noise,
            "rows": as_json(rows),
        }
        if out is not None:
            write_json(out, reports)
    return passed
