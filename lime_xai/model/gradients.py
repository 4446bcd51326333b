"""Differentiable inputs of recorded decoder calls, and relevance as input times gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from .cache import EditedCache, KeyValueEdit, is_recurrent
from .decoder_call import DecoderCall, whole
from .replay import Replayer


def at_least_float32(logits: Tensor) -> Tensor:
    """Return logits in at least float32: probabilities and KL of half precision are too coarse to optimise."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def differentiable(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return keys and values that require a gradient; those without a graph become leaves of a new one."""
    keys, values = (t if t.requires_grad else t.detach().requires_grad_() for t in pair)
    return keys, values


@dataclass(frozen=True, eq=False)
class DifferentiableCall:
    """A decoder call whose inputs are leaves of a graph.

    Attributes
    ----------
    call : DecoderCall
        The call, its deep visual features replaced by the leaves.
    embeddings : Tensor
        ``[B, n, d]``.
    deep : tuple of Tensor
        ``[N, d]`` each: deep visual features (``DecoderCall.deep_features``). Without them, part of the contribution
        of an image would be missed.
    """

    call: DecoderCall
    embeddings: Tensor
    deep: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, call: DecoderCall) -> DifferentiableCall:
        """Return the call with detached copies of its inputs that require a gradient."""
        embeddings = call.embeddings.detach().requires_grad_()
        deep = tuple(features.detach().requires_grad_() for features in call.deep_features)
        return cls(call.with_inputs(call.embeddings, deep), embeddings, deep)

    @property
    def tensors(self) -> list[Tensor]:
        """All leaves, in the order in which ``relevance`` takes their gradients."""
        return [self.embeddings, *self.deep]

    def relevance(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return ``[B, n]``: inputs times gradients, summed over channels, in at least float32."""
        total = self._summed(self.embeddings, gradients[0])
        for leaf, gradient in zip(self.deep, gradients[1:], strict=True):
            mask = self.call.visual_mask
            if mask is None:
                raise RuntimeError("The call has deep visual features and no mask of their positions.")
            total = total + torch.zeros_like(total).masked_scatter(mask, self._summed(leaf, gradient))
        return total

    @staticmethod
    def _summed(leaf: Tensor, gradient: Tensor) -> Tensor:
        return (leaf * gradient).sum(-1, dtype=torch.promote_types(leaf.dtype, torch.float32))


def relevance_of(
    value: Tensor, inputs: Sequence[DifferentiableCall], create_graph: bool, retain_graph: bool = False
) -> Tensor:
    """Return the relevance of every position of consecutive calls for a value.

    Parameters
    ----------
    value : Tensor
        ``[B]`` or a scalar; summed over rows, which are independent.
    inputs : sequence of DifferentiableCall
        All calls, in order.
    create_graph, retain_graph : bool
        As in ``torch.autograd.grad``.

    Returns
    -------
    Tensor
        ``[B, T]``, in at least float32.
    """
    gradients = gradients_of(value, inputs, create_graph, retain_graph)
    relevance = torch.cat([one.relevance(found) for one, found in zip(inputs, gradients, strict=True)], 1)
    return relevance if create_graph else relevance.detach()


def gradients_of(
    value: Tensor, inputs: Sequence[DifferentiableCall], create_graph: bool = False, retain_graph: bool = False
) -> list[list[Tensor]]:
    """Return, per call, the gradients of a value with respect to ``DifferentiableCall.tensors``.

    Parameters are those of ``relevance_of``; an input that the value does not depend on has zeros.
    """
    flat = [tensor for one in inputs for tensor in one.tensors]
    found = torch.autograd.grad(
        value.sum(),
        flat,
        create_graph=create_graph,
        retain_graph=create_graph or retain_graph,
        allow_unused=True,
    )
    gradients = iter(torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True))
    return [[next(gradients) for _ in one.tensors] for one in inputs]


def forward_sequence(
    replayer: Replayer, inputs: Sequence[DifferentiableCall], edit: KeyValueEdit | None = None, keep: int = 1
) -> Tensor:
    """Run recorded calls one after the other over one new cache and return the last logits.

    Decoders with recurrent layers run them as one call, without a cache: such a layer cannot continue a sequence by
    several tokens, and autograd cannot run backward through the state that it updates in place.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    inputs : sequence of DifferentiableCall
        The prompt, then the generated tokens.
    edit : callable, optional
        Applied to every key and value as it enters the cache.
    keep : int
        Number of positions whose logits are returned.

    Returns
    -------
    Tensor
        ``[B, keep, V]``.

    Raises
    ------
    NotImplementedError
        If recurrent layers would have to run several calls with masks of their own, or with an edit.
    """
    if len(inputs) > 1 and is_recurrent(replayer.config):
        if edit is not None:
            raise NotImplementedError(f"{type(replayer.decoder).__name__} has recurrent layers; edits need attention.")
        joined = whole([one.call for one in inputs])
        return replayer.run(joined, torch.cat([one.embeddings for one in inputs], 1), None, keep)
    cache: Cache = DynamicCache(config=replayer.config) if edit is None else EditedCache(replayer.config, edit)
    logits = [replayer.run(one.call, one.embeddings, cache, keep=min(keep, one.call.length)) for one in inputs]
    return torch.cat(logits, 1)[:, -keep:]
