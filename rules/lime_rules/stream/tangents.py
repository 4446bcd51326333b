"""Tangents of the keys and values of one attention call, and factors on the keys and values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class KVScaling:
    """How attention uses the keys and values ``[B, Hkv, T, D]`` of a cache layer.

    Attributes
    ----------
    newest : tuple of Tensor or None
        Keys and values ``[B, Hkv, S, D]`` with a graph, used in place of the last ``S``, so that the cache itself holds
        tensors without a graph.
    key_factors, value_factors : Tensor or None
        ``[B, Hkv, T]``: factors on the slots. They multiply scores and weights instead of keys and values, so that no
        scaled copy of the cache is made, and no gradient of its size.
    """

    newest: tuple[Tensor, Tensor] | None = None
    key_factors: Tensor | None = None
    value_factors: Tensor | None = None


UNSCALED = KVScaling()


class KVTangents(Protocol):
    """Tangents of all keys and values of one attention call; ``S`` queries, ``T`` slots, ``G`` groups."""

    @property
    def kv_scaling(self) -> KVScaling:
        """How keys and values are scaled."""
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

    def weighted(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return ``w.v'`` in two parts: weights that multiply ``values``, and a term to add.

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


@dataclass(frozen=True, eq=False)
class DirectTangents:
    """Tangents of the direct form: ``k' = m k``, ``v' = m v`` for a mask ``m`` per group.

    Only the newest slots have tangents that were propagated to them.

    Attributes
    ----------
    masks : Tensor
        ``[B, G, T]``, 0 for the newest slots, in the dtype of the keys.
    keys, values : Tensor
        Tangents of the newest slots, ``[B, Hkv, G, S, D]``.
    kv_scaling : KVScaling
        Of the slots; it applies to their tangents too.
    """

    masks: Tensor
    keys: Tensor
    values: Tensor
    kv_scaling: KVScaling = UNSCALED

    def key_scores(self, query: Tensor, scores: Tensor, scaling: float) -> Tensor:
        """Mask the scores, and score the tangents of the newest slots."""
        masked = scores[:, :, :, None] * self.masks[:, None, None, :, None].to(scores.dtype)
        fresh = _by_group(query, self.keys.transpose(-1, -2)).to(scores.dtype) * scaling
        return masked + nn.functional.pad(fresh, (scores.shape[-1] - fresh.shape[-1], 0))

    def weighted(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Mask the weights, and weight the tangents of the newest slots."""
        newest = weights[..., -self.values.shape[-2] :]
        masked = weights[:, :, :, None] * self.masks[:, None, None, :, None]
        return masked, _by_group(newest, self.values)


@dataclass(frozen=True, eq=False)
class FullTangents:
    """Tangents of the full form: every slot has the tangent that was propagated to it when it was computed.

    Attributes
    ----------
    keys, values : Tensor
        ``[B, Hkv, G, T, D]``.
    """

    keys: Tensor
    values: Tensor

    @property
    def kv_scaling(self) -> KVScaling:
        """None: full tangents exist for unscaled keys and values only."""
        return UNSCALED

    def key_scores(self, query: Tensor, scores: Tensor, scaling: float) -> Tensor:
        """Score the tangents of all keys."""
        return _by_group(query, self.keys.transpose(-1, -2)).to(scores.dtype) * scaling

    def weighted(self, weights: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Weight the tangents of all values."""
        return None, _by_group(weights, self.values)
