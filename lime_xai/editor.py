"""The optimisation of deltas for one decoding step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import LRP_METHODS

from .cache import check_differentiable, slots, with_slots
from .deltas import DELTAS, Deltas, LayerShape
from .edit_settings import EditSettings
from .forward_pass import difference_pass, stream_pass
from .modalities import union
from .passes import Pass, cache_pass, edited_slots, precise, sequence_pass
from .step import DecodingStep
from .streaming import StreamEngine
from .updates import Updates


@dataclass(frozen=True)
class EditResult:
    """What an edit did to one step; tensors stay on their device until asked for.

    Attributes
    ----------
    logits : Tensor
        ``[B, V]`` after the last update.
    losses : Tensor
        ``[steps + 1, B]``: the objective before each update and after the last; ``[steps, B]`` in forward direction,
        where the last pass is a plain one.
    divergences : Tensor
        ``[steps + 1, B]``: its KL term, in nats, unweighted.
    share_before, share_after : Tensor or None
        ``[B]``: perceptual share of the absolute relevance; None in forward direction.
    relevance_before : Tensor or None
        ``[B, T]``: relevance of the unedited step; None in forward direction.
    deltas : Deltas
        What was found.
    layers : int
        Number of decoder layers.
    """

    logits: Tensor
    losses: Tensor
    divergences: Tensor
    share_before: Tensor | None
    share_after: Tensor | None
    relevance_before: Tensor | None
    deltas: Deltas
    layers: int

    @property
    def gains(self) -> dict[str, Tensor]:
        """``[B, L, Hkv]`` on the CPU: gains on values by modality; empty for free deltas."""
        return self.deltas.gains(self.layers)


def perceptual_share(relevance: Tensor, perceptual: Tensor, attended: Tensor) -> Tensor:
    """Return the share of absolute relevance on perceptual positions, ``[B]``, between 0 and 1."""
    weight = relevance.abs() * attended
    return (weight * perceptual).sum(-1) / weight.sum(-1).clamp(min=torch.finfo(weight.dtype).tiny)


class KVEditor:
    """Finds deltas of cached keys and values that lower a relevance objective for one step.

    Parameters
    ----------
    settings : EditSettings
        How.

    Examples
    --------
    .. code-block:: python

        editor = KVEditor(EditSettings(steps=2))
        result = editor.edit(step)
    """

    def __init__(self, settings: EditSettings) -> None:
        self.settings = settings

    def edit(self, step: DecodingStep) -> EditResult:
        """Optimise deltas for one step; the step's cache is left alone.

        Parameters
        ----------
        step : DecodingStep
            With ``history`` if the scope is ``sequence``.

        Returns
        -------
        EditResult

        Raises
        ------
        ValueError
            If a layer is out of range or no editable layer holds slots.
        """
        check_differentiable(step.past)
        with torch.inference_mode(False), torch.enable_grad():
            begun = step.begun if step.begun is not None and step.begun.settings is self.settings else None
            deltas = self.build(step) if begun is None else begun.deltas
            update = Updates(deltas, self.settings)
            passes: list[Pass] = []
            for index in range(self.settings.steps):
                if begun is not None and index == 0:
                    objective = self.settings.objective
                    current = difference_pass(step, deltas, begun.logits, begun.owed, objective, differentiate=True)
                else:
                    current = self.evaluate(step, deltas)
                passes.append(current.detached())
                if not update(current):
                    break
            last = self._last(step, deltas)
            passes.append(last)
        first = passes[0]
        masks = step.perceptual.to(last.logits.device), self.counted(step).to(last.logits.device)

        def share(found: Pass) -> Tensor | None:
            return None if found.relevance is None else perceptual_share(found.relevance, *masks)

        return EditResult(
            logits=last.logits.to(step.plain.dtype),
            losses=torch.stack([one.loss for one in passes if one.loss is not None]),
            divergences=torch.stack([one.divergence for one in passes]),
            share_before=share(first),
            share_after=share(last),
            relevance_before=first.relevance,
            deltas=deltas,
            layers=len(step.past.layers),
        )

    def _last(self, step: DecodingStep, deltas: Deltas) -> Pass:
        """Return the pass behind the last update; in forward direction a plain one, without relevance and loss."""
        if self._engine(step) is None:
            return self.evaluate(step, deltas, differentiate=False).detached()
        with torch.no_grad():
            logits = precise(step.logits_with(with_slots(step.past, edited_slots(step, deltas))))
        return Pass(logits, None, None, self.settings.objective.divergence(logits, step.plain.to(logits)))

    def _engine(self, step: DecodingStep) -> StreamEngine | None:
        engine: StreamEngine | None = step.engines.get(self.settings.forward_method or "")
        if engine is None and self.settings.direction == "forward":
            raise RuntimeError("No stream was made for this step; the policy that edits must say forward_method.")
        return engine

    def evaluate(self, step: DecodingStep, deltas: Deltas, differentiate: bool = True) -> Pass:
        """Return logits, relevance, loss and (if asked) the gradients of the loss at the current deltas."""
        settings, counted = self.settings, self.counted(step)
        engine = self._engine(step)
        if engine is not None:
            return stream_pass(step, deltas, engine, settings.objective, counted, differentiate)
        composite = LRP_METHODS[settings.method](second_order=settings.second_order)
        run = cache_pass if settings.scope == "cache" else sequence_pass
        return run(step, deltas, composite, settings.objective, counted, differentiate)

    def counted(self, step: DecodingStep) -> Tensor:
        """Return the positions ``[B, T]`` that count in the objective."""
        return self.settings.counted(step.attended, step.bos)

    def build(self, step: DecodingStep) -> Deltas:
        """Return zero deltas for a step."""
        # In the cache scope the last token's own slot is not part of the past and stays as it is.
        length = step.attended.shape[1] - (1 if self.settings.scope == "cache" else 0)
        return build_deltas(self.settings, step.past, step.attended, step.modalities, length)


def build_deltas(
    settings: EditSettings, past: Cache, attended: Tensor, modalities: Mapping[str, Tensor], length: int
) -> Deltas:
    """Return zero deltas.

    Parameters
    ----------
    settings : EditSettings
        What is edited.
    past : Cache
        Gives the shapes.
    attended : Tensor
        ``[B, T]``.
    modalities : mapping of str to Tensor
        ``[B, T]`` per perceptual modality.
    length : int
        Positions that may change: the first ones.

    Raises
    ------
    ValueError
        If a layer is out of range or no editable layer holds slots.
    """
    inside = torch.arange(attended.shape[1], device=attended.device) < length
    masks = {name: mask & inside for name, mask in modalities.items()}
    if settings.positions == "all":
        masks["text"] = attended & ~union(modalities, attended) & inside
    held = slots(past)
    count = len(past.layers)
    settings.check(count)
    chosen = range(count) if settings.layers is None else [layer % count for layer in settings.layers]
    shapes = {i: LayerShape.of(*held[i], attended.shape[1]) for i in chosen if i in held}
    if not shapes:
        raise ValueError(f"None of the layers {list(chosen)} holds keys and values that could be edited.")
    return DELTAS[settings.deltas](shapes, masks, settings.edit)
