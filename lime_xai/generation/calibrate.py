"""Measuring a calibration on unlabelled prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import ContributionNeed, Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.editing.editor import KVEditor
from lime_xai.model.checks import checked_replayer
from lime_xai.model.exclusive import memory_kept
from lime_xai.model.modalities import Modalities
from lime_xai.model.numbers import check_relevance
from lime_xai.model.prompt import Prompt, PromptLike, read_prompt
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.edit import Edit
from lime_xai.storage.store import check_identity, check_writable
from lime_xai.storage.weights import weights_hash
from lime_xai.stream.contributions import ContributionDirection, RelevanceForm
from lime_xai.values.checking import Count, check_arguments, shown

from .steer import steer


@dataclass(eq=False)
class _Sums:
    """Sums over decoding steps of rows that have not ended."""

    steps: int = 0
    contributions: Tensor | None = None
    gains: dict[str, Tensor] = field(default_factory=dict)

    def add(self, running: Tensor, contributions: Tensor, gains: Mapping[str, Tensor]) -> None:
        self.steps += int(running.sum())
        part = contributions[running].double().sum(0).cpu()
        self.contributions = part if self.contributions is None else self.contributions + part
        for name, gain in gains.items():
            found = gain[running.to(gain.device)].double().sum(0).cpu()
            self.gains[name] = self.gains[name] + found if name in self.gains else found


@dataclass(frozen=True)
class _Recorder(Policy):
    """Changes nothing; sums contributions of perceptual tokens, and the gains that an edit chooses."""

    sums: _Sums
    need: ContributionNeed
    edit: Edit | None
    ends: frozenset[int]

    @property
    def needs(self) -> Needs:
        """The contributions, and what the edit needs."""
        return replace(Needs() if self.edit is None else self.edit.needs, contributions=self.need)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits unchanged."""
        if step.contributions is None:
            raise RuntimeError("The contributions of perceptual tokens were not computed in this step.")
        running = step.state.get("running", torch.ones_like(step.attended[:, 0]))
        if step.index:
            over = [step.positions.input_ids[:, -1] == token for token in self.ends]
            running = running & ~torch.stack(over).any(0) if over else running
        step.state["running"] = running
        gains = {} if self.edit is None else KVEditor(self.edit).edit(step).gains
        self.sums.add(running, step.contributions, gains)
        return step.logits


def calibrate(
    model: PreTrainedModel,
    prompts: Iterable[PromptLike],
    *,
    relevance: RelevanceForm = "direct",
    direction: ContributionDirection = "forward",
    edit: Edit | None = None,
    gains: bool = True,
    modalities: Modalities = None,
    max_new_tokens: Count = 16,
    path: str | Path | None = None,
    progress: bool = True,
) -> Calibration:
    """Average, over the greedy decoding of unlabelled prompts, what ``Reweight`` and ``Constant`` need.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode. It generates as it would without steering.
    prompts : iterable of mapping or Prompt
        What a processor returns for each prompt or batch of prompts; no labels are used.
    relevance : {"direct", "full"}
        Form of the contributions; ``Reweight`` must use the same.
    direction : {"forward", "backward", "auto"}
        As in ``Reweight``; all give the same calibration.
    edit : Edit, optional
        The edit whose gains are averaged; by default ``Edit(modalities=modalities)``.
    gains : bool
        Whether gains are averaged; without them calibration needs no gradients.
    modalities : tuple of str, optional
        Whose contributions are averaged; ``Reweight`` must have the same. None: those of all modalities of the prompt.
    max_new_tokens : int
        Most tokens per prompt.
    path : str or Path, optional
        Written after every prompt. If it exists, its prompts are taken as the first ones given here and skipped, so
        that an interrupted calibration resumes.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        For bad settings, no prompts, a ``path`` that cannot be written, or a file there that is damaged, of another
        model, of other settings, or of prompts in other batches.
    TypeError
        For arguments of another type; if ``edit`` is no ``Edit``.
    NotImplementedError
        If the model fails the adjoint check of the relevance stream, or has no stream.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> prompts = [example(seed=seed)[2] for seed in (901, 902)]
    >>> calibration = lime_xai.calibrate(model, prompts, max_new_tokens=4, progress=False)
    >>> calibration.prompts, calibration.steps
    (2, 8)
    >>> output = lime_xai.steer(model, inputs, lime_xai.Reweight(2.0, calibration), max_new_tokens=4)
    """
    check_arguments(
        calibrate,
        relevance=relevance,
        direction=direction,
        gains=gains,
        modalities=modalities,
        max_new_tokens=max_new_tokens,
        path=path,
        progress=progress,
    )
    _check_prompts(prompts)
    need = ContributionNeed(relevance, direction, modalities)
    if edit is not None and not isinstance(edit, Edit):
        raise TypeError(f"edit is {type(edit).__name__}; expected lime_xai.Edit, whose gains are averaged.")
    checked_replayer(model)
    if path is not None:
        check_writable(path)
    edit = (edit or Edit(modalities=need.modalities)) if gains else None
    wanted = ("gain", "values", "perceptual")
    if edit is not None and ((edit.deltas, edit.edit, edit.positions) != wanted or edit.steps == 0):
        raise ValueError(
            "Gains on values are averaged; give an edit with deltas='gain', edit='values', positions='perceptual' and "
            "some steps."
        )
    described = {"max_new_tokens": max_new_tokens, "edit": None if edit is None else _described(edit)}
    start = Calibration(
        weights_hash(model),
        relevance,
        0,
        0,
        torch.zeros(0, dtype=torch.float32),
        settings=json.dumps(described),
        modalities=need.modalities,
    )
    found = _resumed(path, start, model)
    done = 0 if found is None else found.prompts
    seen = 0
    with Progress(disable=not progress) as bar:
        task = bar.add_task("calibrating", total=len(prompts) if isinstance(prompts, Sized) else None)
        for inputs in prompts:
            prompt = read_prompt(model, inputs)
            before, seen = seen, seen + prompt.positions.input_ids.shape[0]
            if before < done < seen:
                raise ValueError(
                    f"{path} holds {done} prompts, which end inside a batch of those given ({before} to {seen}); give "
                    "the batches that it was measured with, or another file name."
                )
            if before >= done:
                one = _measured(prompt, start, need, edit, max_new_tokens)
                found = one if found is None else found.merged(one)
                found = found if path is None else found.save(path)
            bar.advance(task)
    if found is None:
        raise ValueError("There are no prompts to calibrate on; give at least one.")
    return found


_LATER = {"plateau": 0.0, "kl_budget": None, "modalities": None}
"""Settings that older files do not name, and what they were."""


_IDENTITY = ("weights", "relevance", "settings", "modalities")
"""What a file must agree in to resume from it."""


def _described(edit: Edit) -> dict[str, Any]:
    """Return the settings that decide which gains an edit finds; its direction does not."""
    found = {name: value for name, value in asdict(edit).items() if name not in ("direction", "plausibility")}
    return _without_later(found | {"objective": _without_later(found["objective"])})


def _without_later(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _LATER or value != _LATER[name]}


def _check_prompts(prompts: object) -> None:
    if isinstance(prompts, Mapping | Prompt | str | Tensor) or not isinstance(prompts, Iterable):
        raise TypeError(
            f"prompts is {shown(prompts)}; expected a list of what a processor returns, also for a single prompt."
        )


def _resumed(path: str | Path | None, start: Calibration, model: PreTrainedModel) -> Calibration | None:
    if path is None or not Path(path).exists():
        return None
    found = Calibration.load(path)
    # As JSON, in which a tuple is a list.
    identities = [json.loads(json.dumps({name: getattr(one, name) for name in _IDENTITY})) for one in (found, start)]
    check_identity(path, "a calibration", *identities)
    found.check(model)
    return found


def _measured(
    prompt: Prompt, start: Calibration, need: ContributionNeed, edit: Edit | None, max_new_tokens: int
) -> Calibration:
    """Return the calibration of one batch."""
    model = prompt.model
    end = getattr(model.generation_config, "eos_token_id", None)
    ends = frozenset(() if end is None else [end] if isinstance(end, int) else end)
    sums = _Sums()
    recorder = _Recorder(sums, need, edit, ends)
    with memory_kept(model):  # a conversation of the user's may go on afterwards
        steer(model, prompt, recorder, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
    if sums.contributions is None:
        raise RuntimeError("The model decided no token.")
    gains = {name: (gain / sums.steps).float() for name, gain in sums.gains.items()}
    mean = (sums.contributions / sums.steps).float()
    for name, part in {"contributions": mean, **gains}.items():
        check_relevance(part, f"calibration ({name})")
    rows = prompt.positions.input_ids.shape[0]
    return replace(start, prompts=rows, steps=sums.steps, mean_contribution=mean, gains=gains)
