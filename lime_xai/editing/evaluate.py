"""Evaluating the objective of a step: over the cache, over the sequence, or by the relevance stream."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lime_rules import TransformerComposite
from lime_rules.stream.tangents import KVScaling
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.cache import detach_inference, slots, with_slots
from lime_xai.model.continuation import check_history
from lime_xai.model.decoder_call import merged
from lime_xai.model.gradients import (
    DifferentiableCall,
    at_least_float32,
    differentiable,
    forward_sequence,
    relevance_of,
)
from lime_xai.stream.engine import StreamEngine, StreamState

from .deltas import Deltas
from .objective import RelevanceObjective
from .settings import ObjectiveMasks


@dataclass(frozen=True, eq=False)
class ObjectiveValue:
    """One evaluation of the objective.

    Attributes
    ----------
    logits : Tensor
        ``[B, V]``.
    relevance : Tensor or None
        ``[B, T]``; None where only the difference between text and perception was computed.
    loss : Tensor or None
        ``[B]``; None if it was not evaluated.
    divergence : Tensor
        ``[B]``: KL divergence from the plain prediction, in nats.
    gradients : tuple of Tensor
        Of the summed loss, one per parameter of the deltas; empty if they were not computed.
    """

    logits: Tensor
    relevance: Tensor | None
    loss: Tensor | None
    divergence: Tensor
    gradients: tuple[Tensor, ...] = ()

    def detached(self) -> ObjectiveValue:
        """Return the value without its graph and gradients."""
        relevance = None if self.relevance is None else self.relevance.detach()
        loss = None if self.loss is None else self.loss.detach()
        return ObjectiveValue(self.logits.detach(), relevance, loss, self.divergence.detach())


def gradients_of(loss: Tensor, deltas: Deltas) -> tuple[Tensor, ...]:
    """Return the gradient of the summed loss for each parameter of the deltas; zero where it does not depend on one."""
    parameters = deltas.tensors()
    found = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True))


def _valued(
    logits: Tensor,
    relevance: Tensor,
    step: DecodingStep,
    masks: ObjectiveMasks,
    objective: RelevanceObjective,
    deltas: Deltas,
    composite: TransformerComposite,
    differentiate: bool,
) -> ObjectiveValue:
    # Layers may lie on several devices; everything is brought to the device of the logits.
    reference, relevance = step.plain.to(logits), relevance.to(logits.device)
    loss = objective(relevance, *masks.to(logits.device), logits, reference)
    result = ObjectiveValue(logits, relevance, loss, objective.divergence(logits, reference))
    if not differentiate:
        return result
    with composite.second_pass():
        return replace(result, gradients=gradients_of(loss, deltas))


def edited_slots(step: DecodingStep, deltas: Deltas) -> dict[int, tuple[Tensor, Tensor]]:
    """Return the keys and values of a step's past with deltas applied, by layer, ``[B, Hkv, P, D]``."""
    past = step.positions.length - 1
    found = {}
    for layer, held in slots(step.past).items():
        keys, values = (detach_inference(tensor) for tensor in held)
        found[layer] = deltas(layer, keys, values, past - keys.shape[2])
    return found


def value_over_cache(
    step: DecodingStep,
    deltas: Deltas,
    composite: TransformerComposite,
    objective: RelevanceObjective,
    masks: ObjectiveMasks,
    differentiate: bool,
) -> ObjectiveValue:
    """Evaluate the objective over the KV cache: a graph of one token.

    Relevance of position ``i`` is what the last token reads directly from its cached slots, summed over layers and
    heads: ``K_i . grad_K_i + V_i . grad_V_i``; the last token adds its own embedding times its gradient.

    Parameters
    ----------
    step : DecodingStep
        The step.
    deltas : Deltas
        Applied to the slots of the past.
    composite : TransformerComposite
        The rules.
    objective : RelevanceObjective
        The loss and the target.
    masks : ObjectiveMasks
        The positions whose relevance the objective asks for, and those that count.
    differentiate : bool
        Whether to differentiate the loss.

    Returns
    -------
    ObjectiveValue
    """
    replayer = step.replayer
    with composite.context(replayer.decoder):
        edited = {layer: differentiable(pair) for layer, pair in edited_slots(step, deltas).items()}
        embeddings = step.call.embeddings.detach().requires_grad_()
        logits = at_least_float32(replayer.run(step.call, embeddings, with_slots(step.past, edited))[:, -1])
        value = objective.target_value(logits, step.plain.to(logits.dtype))
        flat = [tensor for pair in edited.values() for tensor in pair]
        gradients = torch.autograd.grad(value.sum(), [*flat, embeddings], create_graph=differentiate)
        relevance = _slot_relevance(flat, gradients[:-1], step.positions.length, step.plain.device)
        own = (embeddings * gradients[-1]).sum((1, 2), dtype=relevance.dtype).to(relevance.device)
        relevance = torch.cat([relevance[:, :-1], relevance[:, -1:] + own[:, None]], 1)
        return _valued(logits, relevance, step, masks, objective, deltas, composite, differentiate)


def _slot_relevance(tensors: list[Tensor], gradients: tuple[Tensor, ...], length: int, device: torch.device) -> Tensor:
    """Sum states times gradients over layers, heads and channels into ``[B, length]``."""
    total: Tensor | float = 0.0
    for tensor, gradient in zip(tensors, gradients, strict=True):
        product = tensor * gradient
        dtype = torch.promote_types(product.dtype, torch.float32)
        per_slot = product.sum((1, 3), dtype=dtype).to(device)
        slots_held = per_slot.shape[1]
        total = total + torch.nn.functional.pad(per_slot, (length - 1 - slots_held, 1))
    if not isinstance(total, Tensor):
        raise ValueError("The cache holds no keys and values: every layer is recurrent or empty.")
    return total


def value_over_sequence(
    step: DecodingStep,
    deltas: Deltas,
    composite: TransformerComposite,
    objective: RelevanceObjective,
    masks: ObjectiveMasks,
    differentiate: bool,
) -> ObjectiveValue:
    """Evaluate the objective over the whole sequence, run again from its merged embeddings (the paper's).

    Relevance of every input position is embedding times gradient, fully propagated; deltas act on the keys and
    values of every position. Parameters and result as in ``value_over_cache``. A decoder that gives other logits for
    several tokens in one call than for one after the other is refused (``check_history``).
    """
    replayer = step.replayer
    check_history(replayer, step.history, step.plain)
    with composite.context(replayer.decoder):
        inputs = [DifferentiableCall.of(call) for call in merged(step.history)]
        logits = at_least_float32(forward_sequence(replayer, inputs, deltas)[:, -1])
        value = objective.target_value(logits, step.plain.to(logits.dtype))
        relevance = relevance_of(value, inputs, create_graph=differentiate)
        return _valued(logits, relevance, step, masks, objective, deltas, composite, differentiate)


def value_by_stream(
    step: DecodingStep,
    deltas: Deltas,
    engine: StreamEngine,
    objective: RelevanceObjective,
    masks: ObjectiveMasks,
    differentiate: bool,
) -> ObjectiveValue:
    """Evaluate a ``difference`` objective over the KV cache in forward mode: one backward pass instead of a double one.

    1. The loss is the contribution of text to the target minus the contribution of perception, or of the modalities
       that are sought, all others counting as text. Relevance is linear in its input, so one tangent suffices: text
       slots with weight 1, those that are sought with weight -1.
    2. One forward pass with this tangent gives the difference for every logit.
    3. The gradient of the loss is one backward pass through this forward pass. It equals that of
       ``value_over_cache``.

    Parameters
    ----------
    step : DecodingStep
        The step.
    deltas : Deltas
        Applied to the slots of the past.
    engine : StreamEngine
        Attached, of the direct form.
    objective : RelevanceObjective
        Of the form ``difference``.
    masks : ObjectiveMasks
        The positions whose relevance the objective asks for, and those that count.
    differentiate : bool
        Whether to differentiate the loss.

    Returns
    -------
    ObjectiveValue
        Without relevance of single positions.
    """
    with torch.set_grad_enabled(differentiate):
        state = difference_state(masks, deltas)
        logits, contributions = engine.run(state, step.call, step.fork())
        return value_of_difference(step, deltas, logits[:, -1], contributions[0, :, -1], objective, differentiate)


def difference_state(masks: ObjectiveMasks, deltas: Deltas) -> StreamState:
    """Return the state of a stream whose one tangent is text minus perception, over slots that deltas edit.

    Parameters
    ----------
    masks : ObjectiveMasks
        Positions that are sought have weight -1, all others that count 1.
    deltas : Deltas
        Applied to all slots but the newest.
    """
    sought, counted = masks
    length = counted.shape[1]
    weights = counted.to(torch.float32) * torch.where(sought, -1.0, 1.0)

    def edit(layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, KVScaling]:
        return deltas.with_scaling(layer, keys, values, length - keys.shape[2])

    return StreamState(weights[:, None], torch.zeros_like(weights[:, :1]), edit=edit)


def value_of_difference(
    step: DecodingStep,
    deltas: Deltas,
    logits: Tensor,
    difference: Tensor,
    objective: RelevanceObjective,
    differentiate: bool,
) -> ObjectiveValue:
    """Evaluate a ``difference`` objective from the contribution of text minus that of perception to every logit.

    Parameters
    ----------
    step : DecodingStep
        Gives the plain logits.
    deltas : Deltas
        What the loss is differentiated for.
    logits, difference : Tensor
        ``[B, V]``, with their graph if gradients are wanted.
    objective : RelevanceObjective
        Of the form ``difference``.
    differentiate : bool
        Whether to differentiate the loss.
    """
    logits, difference = at_least_float32(logits), at_least_float32(difference)
    reference = step.plain.to(logits)
    # The direction is piecewise constant in the logits, therefore it is computed from detached ones.
    relevance_loss = (objective.direction(logits.detach(), reference) * difference).sum(-1)
    divergence = objective.divergence(logits, reference)
    loss = relevance_loss + objective.kl_weight * divergence
    result = ObjectiveValue(logits, None, loss, divergence)
    if not differentiate:
        return result
    return replace(result, gradients=gradients_of(loss, deltas))
