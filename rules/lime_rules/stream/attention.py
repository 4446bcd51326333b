"""The bilinear attention rule in forward mode, over one cache that primal and tangent queries share.

With gradient factors ``a, b, c`` on queries, keys and values (``AttentionRatios``) and tangents marked ``'``::

    s' = scaling * (a q'.k + b q.k')        w' = w * (s' - sum(w * s'))        o' = w'.v + c w.v'

which is adjoint to what ``attention_with_rules`` does to gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from lime_rules.attention import AttentionRatios
from lime_rules.attention_math import additive_mask, check_arguments, is_causal, products, sums

from .tangents import KVScaling, KVTangents

STREAM_IMPLEMENTATION = "lime_stream"
"""Name of the attention and mask functions in transformers' registries."""

STREAM_ATTRIBUTE = "_lime_stream"

QUERY_CHUNK = 128
"""Queries whose scores are held at once: ``[B, H, (1 + G) * QUERY_CHUNK, T]``."""


class AttentionStream(Protocol):
    """What the attention function reads of the stream that runs."""

    tangents: int
    ratios: AttentionRatios

    def kv_tangents(self, module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, KVTangents]:
        """Return primal keys and values ``[B, Hkv, T, D]`` and their tangents."""
        ...


def attention_stream(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of primal rows and, beside them, of their tangents.

    Parameters
    ----------
    module : nn.Module
        The calling attention module; its config holds the stream.
    query : Tensor
        ``[(1 + G) * B, H, S, D]``, primal rows first.
    key, value : Tensor
        ``[B, Hkv, T, D]`` from a ``splitting_cache``, or ``[(1 + G) * B, Hkv, S, D]`` without a cache.
    attention_mask : Tensor or None
        As in ``attention_with_rules``, for all rows or for the primal ones.
    scaling : float, optional
        Factor on the scores; by default ``D ** -0.5``.

    Returns
    -------
    output : Tensor
        ``[(1 + G) * B, S, H, D]``.
    weights : Tensor or None
        ``[B, H, S, T]`` of primal rows; None for prompts that are attended in chunks.

    Raises
    ------
    NotImplementedError
        For attention sinks (``s_aux``), for which no rule is known.
    """
    check_arguments(module, kwargs)
    stream: AttentionStream = getattr(module.config, STREAM_ATTRIBUTE)
    key, value, tangents = stream.kv_tangents(module, key, value)
    rows, heads = key.shape[0], key.shape[1]
    mask = _for_scores(additive_mask(attention_mask, query, key, is_causal(module, kwargs)), rows, heads)
    # [(1 + G) B, H, S, D] -> [B, Hkv, R, 1 + G, S, D]: all rows become queries over one set of keys.
    stacked = torch.unflatten(torch.unflatten(query, 0, (1 + stream.tangents, rows)), 2, (heads, -1)).permute(
        1, 2, 3, 0, 4, 5
    )
    settings = _Settings(
        stream.ratios, query.shape[-1] ** -0.5 if scaling is None else scaling, kwargs.get("softcap"), tangents
    )
    pieces = []
    for start in range(0, query.shape[2], QUERY_CHUNK):
        part = slice(start, start + QUERY_CHUNK)
        seen = mask if mask is None or mask.shape[-2] == 1 else mask[..., part, :]
        pieces.append(_attend(stacked[..., part, :], key, value, seen, settings))
    output = pieces[0][0] if len(pieces) == 1 else torch.cat([piece for piece, _ in pieces], 4)
    weights = pieces[0][1].flatten(1, 2) if len(pieces) == 1 else None
    # [B, Hkv, R, 1 + G, S, D] -> [(1 + G) B, S, H, D]
    return output.permute(3, 0, 4, 1, 2, 5).flatten(0, 1).flatten(2, 3), weights


def _for_scores(mask: Tensor | None, rows: int, heads: int) -> Tensor | None:
    """Return an additive mask that broadcasts to ``[B, Hkv, R, S, T]``."""
    if mask is None or mask.dim() == 2:
        return mask
    mask = mask[:rows]
    return mask[:, :, None] if mask.shape[1] == 1 else torch.unflatten(mask, 1, (heads, -1))


@dataclass(frozen=True)
class _Settings:
    ratios: AttentionRatios
    scaling: float
    softcap: float | None
    tangents: KVTangents


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, settings: _Settings
) -> tuple[Tensor, Tensor]:
    """Return outputs ``[B, Hkv, R, 1 + G, S, D]`` of queries of that shape; primal weights ``[B, Hkv, R, S, T]``."""
    ratios, scaling = settings.ratios, settings.scaling
    shape = query.shape
    both = ratios.query or ratios.key
    kv_scaling = settings.tangents.kv_scaling
    queries = query if ratios.query else query[:, :, :, :1]
    scores = _scores(queries, key, kv_scaling, scaling)
    plain = scores[:, :, :, 0]
    change: Tensor | float = ratios.query * scores[:, :, :, 1:] if ratios.query else 0.0
    if ratios.key:
        change = change + ratios.key * settings.tangents.key_scores(query[:, :, :, 0], plain, scaling)
    if settings.softcap is not None:
        plain = settings.softcap * torch.tanh(plain / settings.softcap)
        change = change * (1 - (plain / settings.softcap) ** 2)[:, :, :, None]
    if mask is not None:
        plain = plain + mask
    precise = plain.softmax(-1)
    weights = precise.to(query.dtype)
    masked, addend = settings.tangents.weighted(weights, value)
    moved: Tensor | None = None
    if both and isinstance(change, Tensor):
        part = precise[:, :, :, None] * change
        moved = (part - precise[:, :, :, None] * part.sum(-1, keepdim=True)).to(query.dtype)
    if masked is not None:
        moved = ratios.value * masked if moved is None else moved + ratios.value * masked
    all_weights = weights[:, :, :, None] if moved is None else torch.cat([weights[:, :, :, None], moved], 3)
    output = _weighted(all_weights, value, kv_scaling)
    if moved is None:
        output = torch.cat([output, torch.zeros_like(output).expand(-1, -1, -1, shape[3] - 1, -1, -1)], 3)
    if addend is not None:
        output = torch.cat([output[:, :, :, :1], output[:, :, :, 1:] + ratios.value * addend], 3)
    return output, weights


def _scores(query: Tensor, key: Tensor, kv_scaling: KVScaling, scaling: float) -> Tensor:
    """Return scores of all rows, ``[B, Hkv, R, 1 + G, S, T]``, in at least float32."""
    found = products(query.flatten(2, 4), key, kv_scaling.newest)
    scores = torch.unflatten(found, 2, query.shape[2:5]).to(torch.promote_types(query.dtype, torch.float32)) * scaling
    return (
        scores if kv_scaling.key_factors is None else scores * kv_scaling.key_factors[:, :, None, None, None].to(scores)
    )


def _weighted(weights: Tensor, value: Tensor, kv_scaling: KVScaling) -> Tensor:
    """Return ``[B, Hkv, R, N, S, D]`` for weights ``[B, Hkv, R, N, S, T]``."""
    if kv_scaling.value_factors is not None:
        weights = weights * kv_scaling.value_factors[:, :, None, None, None].to(weights)
    return torch.unflatten(sums(weights.flatten(2, 4), value, kv_scaling.newest), 2, weights.shape[2:5])


AttentionInterface.register(STREAM_IMPLEMENTATION, attention_stream)
AttentionMaskInterface.register(STREAM_IMPLEMENTATION, eager_mask)
