"""Relevance of a step's next token, and the gradient of the objective: over the cache, or over the sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from lime_rules import TransformerComposite

from .cache import EditedCache, KeyValueEdit, detach_inference, slots, with_slots
from .calls import merged
from .deltas import Deltas
from .leaves import CallLeaves, relevance_of
from .objective import RelevanceObjective
from .replay import Replayer
from .step import DecodingStep


@dataclass(frozen=True)
class Pass:
    """One evaluation of the objective.

    Attributes
    ----------
    logits : Tensor
        ``[B, V]``.
    relevance : Tensor or None
        ``[B, T]``; None where only what groups are owed is known.
    loss : Tensor or None
        ``[B]``; None if it was not evaluated.
    divergence : Tensor
        ``[B]``.
    gradients : tuple of Tensor
        Of the summed loss, one per parameter of the deltas; empty if not asked for.
    """

    logits: Tensor
    relevance: Tensor | None
    loss: Tensor | None
    divergence: Tensor
    gradients: tuple[Tensor, ...] = ()

    def detached(self) -> Pass:
        """Return the pass without its graph and gradients."""
        relevance = None if self.relevance is None else self.relevance.detach()
        loss = None if self.loss is None else self.loss.detach()
        return Pass(self.logits.detach(), relevance, loss, self.divergence.detach())


def gradients_of(loss: Tensor, deltas: Deltas) -> tuple[Tensor, ...]:
    """Return the gradient of the summed loss for each parameter of the deltas; zero where it does not depend on one."""
    parameters = deltas.tensors()
    found = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True))


def _finished(
    logits: Tensor,
    relevance: Tensor,
    step: DecodingStep,
    counted: Tensor,
    objective: RelevanceObjective,
    deltas: Deltas,
    composite: TransformerComposite,
    differentiate: bool,
) -> Pass:
    # Layers may lie on several devices: everything meets where the logits are.
    reference, relevance = step.plain.to(logits), relevance.to(logits.device)
    masks = step.perceptual.to(logits.device), counted.to(logits.device)
    loss = objective(relevance, *masks, logits, reference)
    result = Pass(logits, relevance, loss, objective.divergence(logits, reference))
    if not differentiate:
        return result
    with composite.second_pass():
        return replace(result, gradients=gradients_of(loss, deltas))


def edited_slots(step: DecodingStep, deltas: Deltas) -> dict[int, tuple[Tensor, Tensor]]:
    """Return the keys and values of a step's past with deltas applied, by layer, ``[B, Hkv, P, D]``."""
    past = step.attended.shape[1] - 1
    found = {}
    for layer, held in slots(step.past).items():
        keys, values = (detach_inference(tensor) for tensor in held)
        found[layer] = deltas(layer, keys, values, past - keys.shape[2])
    return found


def cache_pass(
    step: DecodingStep,
    deltas: Deltas,
    composite: TransformerComposite,
    objective: RelevanceObjective,
    counted: Tensor,
    differentiate: bool,
) -> Pass:
    """Evaluate the objective over the KV cache: a graph of one token.

    Relevance of position ``i`` is what flows into its slots directly, summed over layers and heads:
    ``K_i . grad_K_i + V_i . grad_V_i``; the last token adds its own embedding times its gradient.

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
    counted : Tensor
        ``[B, T]``: positions that count.
    differentiate : bool
        Whether to differentiate the loss.

    Returns
    -------
    Pass
    """
    length = step.attended.shape[1]
    replayer = step.replayer
    with composite.context(replayer.decoder):
        edited = {layer: slot_leaves(pair) for layer, pair in edited_slots(step, deltas).items()}
        embeddings = step.call.embeddings.detach().requires_grad_()
        logits = precise(replayer.run(step.call, embeddings, with_slots(step.past, edited))[:, -1])
        value = objective.target_value(logits, step.plain.to(logits.dtype))
        flat = [tensor for pair in edited.values() for tensor in pair]
        gradients = torch.autograd.grad(value.sum(), [*flat, embeddings], create_graph=differentiate)
        relevance = _slot_relevance(flat, gradients[:-1], length, step.plain.device)
        own = (embeddings * gradients[-1]).sum((1, 2), dtype=relevance.dtype).to(relevance.device)
        relevance = torch.cat([relevance[:, :-1], relevance[:, -1:] + own[:, None]], 1)
        return _finished(logits, relevance, step, counted, objective, deltas, composite, differentiate)


def precise(logits: Tensor) -> Tensor:
    """Return logits in at least float32: probabilities and KL of half precision are too coarse to optimise."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def slot_leaves(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return keys and values that ask for a gradient; unedited ones become leaves."""
    keys, values = (t if t.requires_grad else t.detach().requires_grad_() for t in pair)
    return keys, values


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


def sequence_pass(
    step: DecodingStep,
    deltas: Deltas,
    composite: TransformerComposite,
    objective: RelevanceObjective,
    counted: Tensor,
    differentiate: bool,
) -> Pass:
    """Evaluate the objective over the whole sequence, re-forwarded from its merged embeddings (the paper's).

    Relevance of every input position is embedding times gradient, fully propagated; deltas act on the keys and
    values of every position. Parameters and result as in ``cache_pass``.
    """
    replayer = step.replayer
    with composite.context(replayer.decoder):
        leaves = [CallLeaves.of(call) for call in merged(step.history)]
        logits = precise(forward_sequence(replayer, leaves, deltas)[:, -1])
        value = objective.target_value(logits, step.plain.to(logits.dtype))
        relevance = relevance_of(value, leaves, create_graph=differentiate)
        return _finished(logits, relevance, step, counted, objective, deltas, composite, differentiate)


def forward_sequence(
    replayer: Replayer, leaves: list[CallLeaves], edit: KeyValueEdit | None = None, keep: int = 1
) -> Tensor:
    """Run recorded calls one after the other over one edited cache and return the last logits.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    leaves : list of CallLeaves
        The prompt, then the generated tokens.
    edit : callable, optional
        Applied to every key and value as it enters the cache.
    keep : int
        Number of positions whose logits are returned.

    Returns
    -------
    Tensor
        ``[B, keep, V]``.
    """
    cache: Cache = DynamicCache(config=replayer.config) if edit is None else EditedCache(replayer.config, edit)
    logits = [replayer.run(leaf.call, leaf.embeddings, cache, keep=min(keep, leaf.call.length)) for leaf in leaves]
    return torch.cat(logits, 1)[:, -keep:]
