"""Measuring a calibration on unlabelled prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.progress import Progress
from torch import Tensor
from transformers import PreTrainedModel

from .calibration import Calibration, model_fingerprint
from .checks import check_model
from .edit_settings import EditSettings
from .editor import KVEditor
from .owing import OwingDirection, check_owing
from .policies.edit import Edit
from .steering import steer
from .step import DecodingStep


@dataclass
class _Sums:
    """Sums over decoding steps of rows that have not ended."""

    steps: int = 0
    owed: Tensor | None = None
    gains: dict[str, Tensor] = field(default_factory=dict)

    def add(self, running: Tensor, owed: Tensor, gains: Mapping[str, Tensor]) -> None:
        self.steps += int(running.sum())
        part = owed[running].double().sum(0).cpu()
        self.owed = part if self.owed is None else self.owed + part
        for name, gain in gains.items():
            found = gain[running.to(gain.device)].double().sum(0).cpu()
            self.gains[name] = self.gains[name] + found if name in self.gains else found


class _Recorder:
    """A policy that changes nothing and sums what the stream, and an edit, find."""

    idle = False

    def __init__(
        self, sums: _Sums, relevance: str, direction: OwingDirection, edit: EditSettings | None, ends: frozenset[int]
    ) -> None:
        self.sums, self.stream, self.stream_direction, self.edit, self.ends = sums, relevance, direction, edit, ends
        self.needs_past = edit is not None
        self.needs_history = edit is not None and edit.scope == "sequence"
        self.forward_method = None if edit is None else edit.forward_method
        self.direction = None if edit is None else edit.direction

    def step(self, step: DecodingStep) -> Tensor:
        if step.owed is None:
            raise RuntimeError("The relevance stream did not run in this step.")
        running = step.state.get("running", torch.ones_like(step.attended[:, 0]))
        if step.index:
            over = [step.input_ids[:, -1] == token for token in self.ends]
            running = running & ~torch.stack(over).any(0) if over else running
        step.state["running"] = running
        gains: Mapping[str, Tensor] = {}
        if self.edit is not None:
            gains = KVEditor(self.edit).edit(step).gains
        self.sums.add(running, step.owed, gains)
        return step.logits


def calibrate(
    model: PreTrainedModel,
    prompts: Iterable[Mapping[str, Any]],
    *,
    relevance: Literal["slot", "input"] = "slot",
    direction: OwingDirection = "forward",
    edit: EditSettings | None = None,
    gains: bool = True,
    max_new_tokens: int = 16,
    path: str | Path | None = None,
    progress: bool = True,
) -> Calibration:
    """Average, over the greedy decoding of unlabelled prompts, what ``Reweight`` and ``Constant`` need.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode. It generates as it would without steering.
    prompts : iterable of mapping
        What a processor returns for each prompt or batch of prompts; no labels are used.
    relevance : {"slot", "input"}
        Form of the relevance stream; ``Reweight`` must use the same.
    direction : {"forward", "backward", "auto"}
        As in ``Reweight``; all give the same calibration.
    edit : EditSettings, optional
        The edit whose gains are averaged; by default ``Edit()``.
    gains : bool
        Whether gains are averaged at all; without them calibration needs no gradients.
    max_new_tokens : int
        Most tokens per prompt.
    path : str or Path, optional
        Written after every prompt. If it exists, its prompts are taken as the first ones given here and skipped, so
        that an interrupted calibration goes on.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        For bad settings, no prompts, or a file of another model or of other settings in ``path``.
    NotImplementedError
        If the relevance stream cannot be trusted on the model.

    Examples
    --------
    .. code-block:: python

        calibration = lime_xai.calibrate(model, prompts, path="llava.safetensors")
        lime_xai.steer(model, inputs, lime_xai.Reweight(2.0, calibration))
    """
    check_owing(relevance, direction)
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; expected at least 1.")
    check_model(model)
    edit = (edit or Edit()) if gains else None
    wanted = ("gain", "values", "perceptual")
    if edit is not None and ((edit.deltas, edit.edit, edit.positions) != wanted or edit.steps == 0):
        raise ValueError(
            "Gains on values are averaged; give an edit with deltas='gain', edit='values', positions='perceptual' and "
            "some steps."
        )
    described = {"max_new_tokens": max_new_tokens, "edit": None if edit is None else _described(edit)}
    start = Calibration(model_fingerprint(model), relevance, 0, 0, torch.zeros(0), settings=json.dumps(described))
    found = _resumed(path, start)
    done = 0 if found is None else found.prompts
    seen = 0
    with Progress(disable=not progress) as bar:
        task = bar.add_task("calibrating", total=len(prompts) if isinstance(prompts, Sized) else None)
        for inputs in prompts:
            rows = next(value.shape[0] for value in inputs.values() if isinstance(value, Tensor))
            seen += rows
            if seen > done:
                one = _measured(model, inputs, rows, start, direction, edit, max_new_tokens)
                found = one if found is None else found.merged(one)
                found = found if path is None else found.save(path)
            bar.advance(task)
    if found is None:
        raise ValueError("There are no prompts to calibrate on; give at least one.")
    return found


_LATER = {"plateau": 0.0, "kl_budget": None}
"""Settings that older files do not name, and what they were."""


def _described(edit: EditSettings) -> dict[str, Any]:
    """Return the settings that decide which gains an edit finds; its direction does not."""
    found = {name: value for name, value in asdict(edit).items() if name not in ("direction", "plausibility")}
    return {name: value for name, value in found.items() if name not in _LATER or value != _LATER[name]}


def _resumed(path: str | Path | None, start: Calibration) -> Calibration | None:
    if path is None or not Path(path).exists():
        return None
    found = Calibration.load(path)
    for what in ("fingerprint", "relevance", "settings"):
        there, asked = getattr(found, what), getattr(start, what)
        if there != asked:
            raise ValueError(
                f"{path} holds a calibration with {what} {there}, asked for was {asked}; give another file."
            )
    return found


def _measured(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    rows: int,
    start: Calibration,
    direction: OwingDirection,
    edit: EditSettings | None,
    max_new_tokens: int,
) -> Calibration:
    """Return the calibration of one batch."""
    end = getattr(model.generation_config, "eos_token_id", None)
    ends = frozenset(() if end is None else [end] if isinstance(end, int) else end)
    sums = _Sums()
    recorder = _Recorder(sums, start.relevance, direction, edit, ends)
    steer(model, inputs, recorder, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
    if sums.owed is None:
        raise RuntimeError("The model decided no token.")
    gains = {name: (gain / sums.steps).float() for name, gain in sums.gains.items()}
    baseline = (sums.owed / sums.steps).float()
    return replace(start, prompts=rows, steps=sums.steps, baseline=baseline, gains=gains)
