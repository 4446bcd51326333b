"""Tangents of the keys and values that one attention call sees, and how the keys and values themselves are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SlotReading:
    """How attention reads the keys and values ``[B, Hkv, T, D]`` that a cache layer gave it.

    Attributes
    ----------
    newest : tuple of Tensor or None
        Keys and values ``[B, Hkv, S, D]`` with a graph, read in place of the last ``S``; the others need none then.
    key_factors, value_factors : Tensor or None
        ``[B, Hkv, T]``: every slot counts multiplied by them. They meet scores and weights, so that no edited copy of
        keys and values is made, and no gradient of one.
    """

    newest: tuple[Tensor, Tensor] | None = None
    key_factors: Tensor | None = None
    value_factors: Tensor | None = None


AS_THEY_ARE = SlotReading()


class Owned(Protocol):
    """Tangents of all keys and values that one attention call sees; ``S`` queries, ``T`` slots, ``G`` groups."""

    @property
    def reading(self) -> SlotReading:
        """How keys and values are read."""
        ...

    def key_scores(self, query: Tensor, scores: Tensor, scaling: float) -> Tensor:
        """Return ``scaling * q.k'``, ``[B, Hkv, R, G, S, T]``.

        Parameters
        ----------
        query : Tensor
            Primal queries, ``[B, Hkv, R, S, D]``.
        scores : Tensor
            ``scaling * q.k``, ``[B, Hkv, R, S, T]``.
        scaling : float
            Factor on scores.
        """
        ...

    def read(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return what ``w.v'`` needs: weights to read ``values`` with, and what to add to the outcome.

        Parameters
        ----------
        weights : Tensor
            ``[B, Hkv, R, S, T]``.
        values : Tensor
            ``[B, Hkv, T, D]``.

        Returns
        -------
        weights, addend : Tensor or None
            ``[B, Hkv, R, G, S, T]`` and ``[B, Hkv, R, G, S, D]``.
        """
        ...


def _by_group(rows: Tensor, states: Tensor) -> Tensor:
    """Return ``rows @ states`` for every group, ``[B, Hkv, R, G, S, N]``; states are not repeated over query heads.

    Parameters
    ----------
    rows : Tensor
        ``[B, Hkv, R, S, M]``.
    states : Tensor
        ``[B, Hkv, G, M, N]``.
    """
    product = rows.flatten(2, 3)[:, :, None] @ states
    return torch.unflatten(product, 3, rows.shape[2:4]).transpose(2, 3)


@dataclass(frozen=True)
class SlotTangents:
    """Each group owns slots as they are: ``k' = m k``, ``v' = m v``; only the newest slots have tangents of their own.

    Attributes
    ----------
    masks : Tensor
        ``[B, G, T]``, 0 for the newest slots, in the dtype of the keys.
    keys, values : Tensor
        Tangents of the newest slots, ``[B, Hkv, G, S, D]``.
    reading : SlotReading
        Of what the slots are: edited ones own themselves as edited.
    """

    masks: Tensor
    keys: Tensor
    values: Tensor
    reading: SlotReading = AS_THEY_ARE

    def key_scores(self, query: Tensor, scores: Tensor, scaling: float) -> Tensor:
        """Mask the scores, and score the tangents of the newest slots."""
        masked = scores[:, :, :, None] * self.masks[:, None, None, :, None].to(scores.dtype)
        fresh = _by_group(query, self.keys.transpose(-1, -2)).to(scores.dtype) * scaling
        return masked + nn.functional.pad(fresh, (scores.shape[-1] - fresh.shape[-1], 0))

    def read(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Mask the weights, and read the tangents of the newest slots."""
        newest = weights[..., -self.values.shape[-2] :]
        masked = weights[:, :, :, None] * self.masks[:, None, None, :, None]
        return masked, _by_group(newest, self.values)


@dataclass(frozen=True)
class SplitTangents:
    """Every slot carries the tangent it was given when it was computed: the exact form.

    Attributes
    ----------
    keys, values : Tensor
        ``[B, Hkv, G, T, D]``.
    """

    keys: Tensor
    values: Tensor

    @property
    def reading(self) -> SlotReading:
        """As they are."""
        return AS_THEY_ARE

    def key_scores(self, query: Tensor, scores: Tensor, scaling: float) -> Tensor:
        """Score the tangents of all keys."""
        return _by_group(query, self.keys.transpose(-1, -2)).to(scores.dtype) * scaling

    def read(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Read the tangents of all values."""
        return None, _by_group(weights, self.values)
