"""What an attribution will cost: forward passes by the method's own count, seconds by one pass that is timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from lime_xai.attribution.groups import groups_of
from lime_xai.attribution.methods.base import check_cost
from lime_xai.attribution.methods.task import AttributionMethod
from lime_xai.attribution.problem import problems
from lime_xai.attribution.targets import TargetLike, resolve_target
from lime_xai.model.pieces import token_labels
from lime_xai.model.prompt import Prompt

from .opening import synchronised

FEW = 20
"""Passes up to which nothing is timed."""


@dataclass(frozen=True)
class Cost:
    """What one attribution costs.

    Attributes
    ----------
    passes : int
        Forward passes of one row.
    length : int
        Tokens of the row.
    seconds : float
        Passes times the time of one; batched passes take less.
    """

    passes: int
    length: int
    seconds: float

    @property
    def duration(self) -> str:
        """The seconds in a unit for people."""
        for unit, size in (("h", 3600), ("min", 60)):
            if self.seconds >= 2 * size:
                return f"{self.seconds / size:.0f} {unit}"
        return f"{self.seconds:.0f} s"


def estimated(prompt: Prompt, method: AttributionMethod, target: TargetLike) -> Cost | None:
    """Return what an attribution of the sum of a target's tokens will cost; None for methods of few passes.

    Parameters
    ----------
    prompt : Prompt
        One row; it is recorded, as the attribution would do.
    method : AttributionMethod
        Methods that work row by row tell their passes.
    target : int, tuple, str, Tensor or None
        As in ``attribute``.

    Raises
    ------
    ValueError
        If the method would cost more than its limit.
    """
    counted: Any = method
    if not hasattr(method, "passes"):
        return None
    ids = prompt.positions.input_ids
    goal = resolve_target(target, 1, prompt.vocabulary, ids.device, prompt.processor, ids)
    with torch.no_grad():
        recording = prompt.recording(goal.continuation, logits=True)
        if recording.logits is None:
            raise RuntimeError("The prompt was recorded without logits.")
        rows = list(problems(prompt, recording, goal.chosen(recording.logits)))
        labels = token_labels(recording.positions.input_ids, prompt.processor)
        groups = groups_of(rows, None, labels)
        check_cost(counted, rows[0], groups[0])
        passes = int(counted.passes(rows[0], groups[0]))
        if passes <= FEW:
            return None
        synchronised()
        start = time.perf_counter()
        rows[0].values(*rows[0].inputs)
        synchronised()
    return Cost(passes, recording.positions.length, passes * (time.perf_counter() - start))
