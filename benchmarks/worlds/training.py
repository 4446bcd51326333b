"""Train the model of a world: ``python -m benchmarks.worlds.training --world scene --out DIR --seed 0``.

The recipe makes a model that hallucinates from its text, not from what it sees or hears: the tower is trained on
independent scenes (clips) only and is then frozen; the decoder learns strong priors from text alone; a short
alignment on independent scenes keeps those habits in its text. Aligning without them unlearns the priors.
``--image-cooccurrence 1``, for the scene world, makes the opposite, pictures of pairs under faithful text; shares
between mix the two.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from transformers import PreTrainedModel

from lime_xai.storage.weights import weights_hash

from . import scene, sound
from .optimisation import Checkpoints, Report, recipe_of, run_stage
from .plan import Plan
from .stages import AlignmentStage, Stage, TextStage
from .subject import Subject

CHECKPOINT_EVERY = 200


@dataclass(frozen=True)
class Course:
    """How the model of a world is made: its subject, the kind of its plan, and its stages in order."""

    subject: Subject
    plan: type[Plan]
    stages: tuple[type[Stage], ...]


COURSES = {
    "scene": Course(scene.SUBJECT, scene.ScenePlan, (scene.VisionStage, TextStage, AlignmentStage)),
    "sound": Course(sound.SUBJECT, sound.SoundPlan, (sound.HearingStage, TextStage, AlignmentStage)),
}
"""By name of the world."""


def _silent(stage: str, done: int, steps: int, shown: Mapping[str, float]) -> None:
    """Report nothing."""


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fix what else could change sums: the number of threads and the choice of kernels."""
    deterministic: Any = torch.utils.deterministic  # its attribute is not in the stubs
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # it would fill every new tensor with NaN before it is computed, a twentieth of the time of training on photographs
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = filled


def train(
    folder: Path,
    *,
    world: str = "scene",
    seed: int = 0,
    threads: int = 1,
    plan: Plan | None = None,
    every: int = CHECKPOINT_EVERY,
    report: Report = _silent,
    stop_at: tuple[str, int] | None = None,
) -> PreTrainedModel | None:
    """Run the three stages, resuming from the checkpoints in ``folder``, and save the finished model there.

    Parameters
    ----------
    folder : Path
        Gets ``checkpoints/`` and, at the end, weights, configuration, tokenizer, processor, chat template and
        ``recipe.json``.
    world : str
        A key of ``COURSES``.
    seed : int
        Seed of weights and data; one seed and thread count give one result on one machine.
    threads : int
        CPU threads.
    plan : Plan, optional
        Settings of the stages, of the world's kind; the default makes the shipped model.
    every : int
        Steps between two checkpoints.
    report : callable
        Progress, after each step.
    stop_at : (str, int), optional
        Stage and number of its steps after which to leave, as an interruption would.

    Returns
    -------
    PreTrainedModel or None
        The finished model in evaluation mode; None if stopped before.

    Raises
    ------
    ValueError
        If ``folder`` holds checkpoints of other settings.
    """
    course = COURSES[world]
    plan = plan or course.plan()
    recipe = recipe_of(plan, seed, threads)
    checkpoints = Checkpoints(folder / "checkpoints", every, recipe, tuple(kind.name for kind in course.stages))
    model: Any = course.subject.build_model(seed, plan.size)
    with reproducible(threads):
        for kind in course.stages:
            pause = stop_at[1] if stop_at and stop_at[0] == kind.name else None
            if not run_stage(kind(course.subject, model, plan), seed, checkpoints, report, pause):
                return None
    model.save_pretrained(folder)
    course.subject.build_processor().save_pretrained(folder)
    (folder / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    finished: PreTrainedModel = model.eval()
    return finished


@contextmanager
def shown_progress(console: Console, stages: Sequence[str]) -> Iterator[Report]:
    """Show the progress of stages by name; without a terminal, print a line for every hundred steps."""
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[numbers]}"), console=console) as progress:
        tasks = {name: progress.add_task(name, numbers="", start=False) for name in stages}
        averages: dict[tuple[str, str], float] = {}

        def report(stage: str, done: int, steps: int, shown: Mapping[str, float]) -> None:
            for name, value in shown.items():
                if math.isnan(value):
                    continue
                averages[stage, name] = 0.98 * averages.get((stage, name), value) + 0.02 * value
            numbers = "  ".join(f"{name} {averages.get((stage, name), math.nan):.3f}" for name in shown)
            if not progress.tasks[tasks[stage]].started:
                progress.start_task(tasks[stage])
            progress.update(tasks[stage], completed=done, total=steps, numbers=numbers)
            if not console.is_terminal and (done % 100 == 0 or done == steps):
                console.print(f"{stage} {done}/{steps}  {numbers}", highlight=False)

        yield report


def run_shown(
    training: Callable[..., Path | None], stages: Sequence[str], arguments: argparse.Namespace, plan: Any, *given: Any
) -> None:
    """Train with progress; print where the weights are and the CPU time spent.

    Parameters
    ----------
    training : callable
        Takes a folder, ``given``, and by name ``seed``, ``threads``, ``plan`` and ``report``. Returns a file.
    stages : sequence of str
        Names of the stages.
    arguments : argparse.Namespace
        With ``out``, ``seed`` and ``threads``.
    plan, *given : object
        Handed on to the training.
    """
    console = Console()
    with shown_progress(console, stages) as report:
        path = training(arguments.out, *given, seed=arguments.seed, threads=arguments.threads, plan=plan, report=report)
    console.print(f"{path}; CPU seconds of this process: {time.process_time():.0f}", highlight=False)


def main() -> None:
    """Train and save the model; print its hash and the CPU time spent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worlds.training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and the finished model")
    parser.add_argument("--world", choices=tuple(COURSES), default="scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", choices=tuple(scene.SIZES), default="1m", help="millions of parameters")
    parser.add_argument("--image-cooccurrence", type=float, help="scene world: share of the habit that pictures teach")
    arguments = parser.parse_args()
    course, chosen = COURSES[arguments.world], {}
    if arguments.image_cooccurrence is not None:
        if arguments.world != "scene":
            parser.error("--image-cooccurrence is a setting of the scene world")
        chosen = {"image_cooccurrence": arguments.image_cooccurrence}
    plan = course.plan(size=arguments.size, **chosen)
    console = Console()
    with shown_progress(console, [kind.name for kind in course.stages]) as report:
        model = train(
            arguments.out,
            world=arguments.world,
            seed=arguments.seed,
            threads=arguments.threads,
            plan=plan,
            report=report,
        )
    if model is not None:
        console.print(f"saved to {arguments.out}; CPU seconds of this process: {time.process_time():.0f}")
        console.print(f"sha256 of the weights: {weights_hash(model)}")


if __name__ == "__main__":
    main()
