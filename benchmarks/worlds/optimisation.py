"""The optimisation loop of one stage: deterministic, checkpointed, resumable to the bit."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .plan import Plan
from .stages import Stage

Report = Callable[[str, int, int, Mapping[str, float]], None]
"""Called after every step with the stage's name, steps done, steps in all, and the numbers worth showing."""


_COMMON = ("seed", "threads", "size", "image_cooccurrence")
"""Settings of every stage; those of a single one begin with its name."""


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a stage is saved.

    Attributes
    ----------
    folder : Path
        One file per stage.
    every : int
        Steps between two checkpoints within a stage.
    recipe : dict
        What the checkpoints are made with; a stage refuses to resume from one made with other settings of its own
        or of a stage before it.
    stages : tuple of str
        Names of the stages in order.
    """

    folder: Path
    every: int
    recipe: dict[str, Any]
    stages: tuple[str, ...]

    def path(self, stage: str) -> Path:
        """Return the file of a stage."""
        return self.folder / f"{stage}.pt"

    def relevant(self, stage: str) -> dict[str, Any]:
        """Return the settings that decide what a stage makes."""
        before = self.stages[: self.stages.index(stage) + 1]
        return {k: v for k, v in self.recipe.items() if k in _COMMON or k.startswith(before)}

    def load(self, stage: str) -> dict[str, Any] | None:
        """Return the checkpoint of a stage, or None where there is none.

        Raises
        ------
        ValueError
            If it was made with another recipe.
        """
        path = self.path(stage)
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, weights_only=True)
        wanted = self.relevant(stage)
        if state["recipe"] != wanted:
            differing = sorted(k for k in wanted if state["recipe"].get(k) != wanted[k])
            raise ValueError(
                f"{path} was made with other settings ({', '.join(differing)}); "
                f"train into an empty folder or delete the checkpoints"
            )
        return state

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write a checkpoint; a run cut off while writing leaves the earlier one intact."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.path(stage).with_suffix(".partial")
        torch.save({**state, "recipe": self.relevant(stage)}, unfinished)
        os.replace(unfinished, self.path(stage))


def learning_rate(step: int, stage: Stage, highest: float) -> float:
    """Return the rate of a step: a linear rise, then half a cosine down to ``stage.final * highest``."""
    rise = min(1.0, (step + 1) / max(1.0, stage.warm_up * stage.steps))
    fall = stage.final + (1 - stage.final) * 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    return highest * rise * fall


def run_stage(stage: Stage, seed: int, checkpoints: Checkpoints, report: Report, stop_at: int | None = None) -> bool:
    """Train a stage from its checkpoint, if it has one, to its end.

    Every step draws its batch from a generator seeded by (seed, stage, step): nothing but weights and
    optimiser need be saved for a resumed run to equal an uninterrupted one.

    Parameters
    ----------
    stage : Stage
        What to train.
    seed : int
        Seed of the run.
    checkpoints : Checkpoints
        Where to save.
    report : callable
        Progress, after each step.
    stop_at : int, optional
        Leave after this many steps of the stage, as an interruption would.

    Returns
    -------
    bool
        Whether the stage is complete.
    """
    number = checkpoints.stages.index(stage.name)
    groups: list[dict[str, Any]] = [{"params": list(ps), "highest": r} for r, ps in stage.parameters()]
    trained = [p for group in groups for p in group["params"]]
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=stage.weight_decay)
    done = 0
    if (saved := checkpoints.load(stage.name)) is not None:
        stage.model.load_state_dict(saved["model"])
        stage.auxiliary().load_state_dict(saved["auxiliary"])
        optimiser.load_state_dict(saved["optimiser"])
        done = int(saved["step"])
    while done < stage.steps and done != stop_at:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(done, stage, group["highest"])
        loss, shown = stage.loss(np.random.default_rng((seed, number, done)))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        done += 1
        if done % checkpoints.every == 0 or done == stage.steps:
            state = {"model": stage.model.state_dict(), "auxiliary": stage.auxiliary().state_dict()}
            checkpoints.save(stage.name, {**state, "optimiser": optimiser.state_dict(), "step": done})
        report(stage.name, done, stage.steps, shown)
    return done >= stage.steps


def recipe_of(plan: Plan, seed: int, threads: int) -> dict[str, Any]:
    """Return the settings that decide the weights, for comparison with those of a checkpoint."""
    return {**asdict(plan), "seed": seed, "threads": threads}
