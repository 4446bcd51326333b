"""Attention by matmul and softmax, which can be differentiated twice, and its masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

UNCOVERED = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "position_bias": "a bias of the scores (position_bias)",
    "indices": "a choice of keys (indices)",
    "block_indices": "a choice of keys (block_indices)",
}
"""Arguments of attention that change its output, and what they are; matmul and softmax alone would leave them out."""


def check_arguments(module: nn.Module, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments of attention for which no rule is known.

    Raises
    ------
    NotImplementedError
        Naming the module and what it uses.
    """
    for name, what in UNCOVERED.items():
        if kwargs.get(name) is not None:
            raise NotImplementedError(f"{type(module).__name__} uses {what}; no relevance rule covers it.")


def is_causal(module: nn.Module, kwargs: Mapping[str, Any]) -> bool:
    """Return whether an attention call without a mask is causal: as the caller says, or as its module is."""
    causal = kwargs.get("is_causal")
    return bool(getattr(module, "is_causal", True) if causal is None else causal)


def additive_mask(mask: Tensor | None, query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
    """Return a float mask to add to the scores ``[B, H, Tq, Tk]``, or None."""
    if mask is None:
        if not causal or query.shape[2] == 1:
            return None
        shape = (query.shape[2], key.shape[2])
        mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril(shape[1] - shape[0])
    mask = mask[..., : key.shape[2]]
    if mask.dtype != torch.bool:
        return mask
    floor = torch.finfo(query.dtype).min
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, floor)


def products(rows: Tensor, key: Tensor, newest: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return ``rows @ key^T``, ``[B, Hkv, N, T]``.

    Parameters
    ----------
    rows : Tensor
        Queries, ``[B, Hkv, N, D]``.
    key : Tensor
        ``[B, Hkv, T, D]``.
    newest : tuple of Tensor or None
        Keys and values ``[B, Hkv, S, D]`` that are used in place of the last ``S``.
    """
    found = rows @ key.transpose(-1, -2)
    if newest is None:
        return found
    own = rows @ newest[0].transpose(-1, -2)
    return torch.cat([found[..., : -own.shape[-1]], own], -1)


def sums(weights: Tensor, value: Tensor, newest: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return ``weights @ value``, ``[B, Hkv, N, D]``, for weights ``[B, Hkv, N, T]``; otherwise as ``products``."""
    if newest is None:
        return weights @ value
    kept = newest[1].shape[2]
    return weights[..., :-kept] @ value[:, :, :-kept] + weights[..., -kept:] @ newest[1]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    newest: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend by matmul and softmax; keys and values are not repeated over query heads.

    Parameters
    ----------
    query : Tensor
        ``[B, H, S, D]``.
    key, value : Tensor
        ``[B, Hkv, T, D]``.
    mask : Tensor or None
        Additive, broadcastable to ``[B, H, S, T]``.
    scaling : float, optional
        Factor on the scores; by default ``D ** -0.5``.
    softcap : float, optional
        Scores are squashed to this size.
    newest : tuple of Tensor, optional
        ``[B, Hkv, N, D]``: are used in place of the last ``N`` keys and values.

    Returns
    -------
    output : Tensor
        ``[B, S, H, D]``.
    weights : Tensor
        ``[B, H, S, T]``.
    """
    batch, heads, length, _ = query.shape
    stacked = torch.unflatten(query, 1, (key.shape[1], -1)).flatten(2, 3)
    scores = products(stacked, key, newest)
    scores = (scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)).reshape(batch, heads, length, -1)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1, dtype=torch.promote_types(query.dtype, torch.float32)).to(query.dtype)
    read = weights.reshape(batch, key.shape[1], -1, weights.shape[-1])
    return sums(read, value, newest).reshape(batch, heads, length, -1).transpose(1, 2).contiguous(), weights
