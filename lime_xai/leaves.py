"""The inputs of recorded decoder calls as leaves of a graph, and relevance read off their gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .calls import DecoderCall


@dataclass(frozen=True)
class CallLeaves:
    """What of one call can carry relevance.

    Attributes
    ----------
    call : DecoderCall
        The call, its deep visual features replaced by leaves.
    embeddings : Tensor
        ``[B, n, d]``.
    deep : tuple of Tensor
        ``[N, d]`` each: visual features that some families add behind the first layers, for the ``N`` visual
        positions in order. Without them part of what an image contributes would be missed.
    """

    call: DecoderCall
    embeddings: Tensor
    deep: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, call: DecoderCall) -> CallLeaves:
        """Return detached leaves that ask for gradients."""
        found = call.kwargs.get("deepstack_visual_embeds")
        deep = tuple(item.detach().requires_grad_() for item in found) if isinstance(found, list) else ()
        kwargs = {**call.kwargs, "deepstack_visual_embeds": list(deep)} if deep else call.kwargs
        return cls(replace(call, kwargs=kwargs), call.embeddings.detach().requires_grad_(), deep)

    @property
    def tensors(self) -> list[Tensor]:
        """All leaves, in the order ``relevance`` expects their gradients."""
        return [self.embeddings, *self.deep]

    def relevance(self, gradients: list[Tensor]) -> Tensor:
        """Return ``[B, n]``: leaves times gradients, summed over channels, in at least float32."""
        total = self._summed(self.embeddings, gradients[0])
        for leaf, gradient in zip(self.deep, gradients[1:], strict=True):
            mask = self.call.kwargs["visual_pos_masks"]
            total = total + torch.zeros_like(total).masked_scatter(mask, self._summed(leaf, gradient))
        return total

    @staticmethod
    def _summed(leaf: Tensor, gradient: Tensor) -> Tensor:
        return (leaf * gradient).sum(-1, dtype=torch.promote_types(leaf.dtype, torch.float32))


def relevance_of(value: Tensor, leaves: list[CallLeaves], create_graph: bool, retain_graph: bool = False) -> Tensor:
    """Return the relevance of a scalar for every position of consecutive calls.

    Parameters
    ----------
    value : Tensor
        Summed over rows; rows are independent.
    leaves : list of CallLeaves
        The inputs of all calls.
    create_graph, retain_graph : bool
        As in ``torch.autograd.grad``.

    Returns
    -------
    Tensor
        ``[B, T]``.
    """
    flat = [tensor for leaf in leaves for tensor in leaf.tensors]
    found = torch.autograd.grad(
        value.sum(),
        flat,
        create_graph=create_graph,
        retain_graph=create_graph or retain_graph,
        allow_unused=True,
    )
    gradients = iter(torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True))
    relevance = torch.cat([leaf.relevance([next(gradients) for _ in leaf.tensors]) for leaf in leaves], 1)
    return relevance if create_graph else relevance.detach()
