"""The objective read off the relevance stream: its gradient is one backward pass, not a double one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lime_rules.stream_tangents import SlotReading

from .deltas import Deltas
from .objective import RelevanceObjective
from .passes import Pass, gradients_of, precise
from .step import DecodingStep
from .streaming import Flow, StreamEngine


def stream_pass(
    step: DecodingStep,
    deltas: Deltas,
    engine: StreamEngine,
    objective: RelevanceObjective,
    counted: Tensor,
    differentiate: bool,
) -> Pass:
    """Evaluate a ``difference`` objective over the KV cache by one pass in forward direction.

    The loss is what the target is owed by text minus what it is owed by perception. Relevance is linear in its input,
    so one tangent does: text slots with weight 1, perceptual ones with weight -1. Equal to ``cache_pass``.

    Parameters
    ----------
    step : DecodingStep
        The step.
    deltas : Deltas
        Applied to the slots of the past.
    engine : StreamEngine
        Attached, in slot form.
    objective : RelevanceObjective
        Of the form ``difference``.
    counted : Tensor
        ``[B, T]``: positions that count.
    differentiate : bool
        Whether to differentiate the loss.

    Returns
    -------
    Pass
        Without relevance of single positions.
    """
    with torch.set_grad_enabled(differentiate):
        wide = engine.run(difference_flow(step.perceptual, counted, deltas), step.call, step.fork())
        return difference_pass(step, deltas, wide[0][:, -1], wide[1][0, :, -1], objective, differentiate)


def difference_flow(perceptual: Tensor, counted: Tensor, deltas: Deltas) -> Flow:
    """Return the flow whose one tangent is text minus perception, over slots that deltas edit.

    Parameters
    ----------
    perceptual, counted : Tensor
        ``[B, T]``: positions of any perceptual modality, and those that count.
    deltas : Deltas
        Applied to all slots but the newest.
    """
    length = counted.shape[1]
    weights = counted.to(torch.float32) * torch.where(perceptual, -1.0, 1.0)

    def edit(layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, SlotReading]:
        return deltas.reading(layer, keys, values, length - keys.shape[2])

    return Flow(weights[:, None], torch.zeros_like(weights[:, :1]), edit=edit)


def difference_pass(
    step: DecodingStep,
    deltas: Deltas,
    logits: Tensor,
    owed: Tensor,
    objective: RelevanceObjective,
    differentiate: bool,
) -> Pass:
    """Evaluate a ``difference`` objective from what the logits ``[B, V]`` are owed by text minus perception.

    Parameters
    ----------
    step : DecodingStep
        Gives the plain logits.
    deltas : Deltas
        Differentiated for.
    logits, owed : Tensor
        ``[B, V]``, with their graph if gradients are wanted.
    objective : RelevanceObjective
        Of the form ``difference``.
    differentiate : bool
        Whether to differentiate the loss.
    """
    logits, owed = precise(logits), precise(owed)
    reference = step.plain.to(logits)
    lack = (objective.direction(logits.detach(), reference) * owed).sum(-1)
    divergence = objective.divergence(logits, reference)
    loss = lack + objective.kl_weight * divergence
    result = Pass(logits, None, loss, divergence)
    if not differentiate:
        return result
    return replace(result, gradients=gradients_of(loss, deltas))
