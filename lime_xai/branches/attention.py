"""Attention of model and branch in one batch: rows ``[:B]`` use the model's cache, rows ``[B:]`` the branch's slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.masking_utils import eager_mask

from lime_rules.attention_math import additive_mask, attend, check_arguments, is_causal
from lime_rules.stream.cache import ByLayer, check_unscaled
from lime_rules.stream.tangents import KVScaling

BRANCH_IMPLEMENTATION = "lime_branch"
"""Name of the attention and mask functions in transformers' registries."""

BRANCH_ATTRIBUTE = "_lime_branch"


@dataclass(frozen=True, eq=False)
class _BranchKV:
    """Keys and values for the rows of the branch in one layer.

    Attributes
    ----------
    keys, values : Tensor
        ``[B, Hkv, T, D]``.
    seen : Tensor
        ``[B, T]`` bool.
    newest : tuple of Tensor or None
        ``[B, Hkv, S, D]``: keys and values used in place of the last ``S``.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor
    newest: tuple[Tensor, Tensor] | None


@dataclass(eq=False)
class BranchSlots:
    """Keys and values for the rows of the branch, for one call.

    Attributes
    ----------
    seen : Tensor
        ``[B, T]`` bool: the slots, newest included, that the branch attends to.
    cache : Cache or None
        The branch's cache. None: the branch reads the model's cache, and computes its newest slot anew in every call.
    """

    seen: Tensor
    cache: Cache | None = None
    _known: ByLayer[_BranchKV | tuple[Tensor, Tensor]] = field(default_factory=ByLayer, repr=False)

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], kv_scaling: KVScaling
    ) -> None:
        """Store the branch's keys and values ``[B, Hkv, S, D]`` of a layer."""
        check_unscaled(kv_scaling)
        if self.cache is None:
            self._known.put(layer, keys, values, fresh)
            return
        own = self.cache.update(*fresh, layer)
        self._known.put(layer, keys, values, _BranchKV(*own, self._held(own[0]), None))

    def find(self, module: nn.Module, keys: Tensor, values: Tensor) -> _BranchKV:
        """Return the branch's keys and values where the model's rows were given ``keys`` and ``values``.

        Raises
        ------
        NotImplementedError
            If the module did not get them from the cache as they were.
        """
        advice = "a branch cannot decode beside it. Use Contrast(batched=False)."
        found = self._known.find(module, keys, values, advice)
        return found if isinstance(found, _BranchKV) else _BranchKV(keys, values, self._held(keys), found)

    def _held(self, keys: Tensor) -> Tensor:
        """Return the part of ``seen`` that a layer still holds; a sliding one has dropped its oldest."""
        return self.seen[:, self.seen.shape[1] - keys.shape[2] :].to(keys.device)


def attention_branches(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention of model and branch for one new token.

    Parameters
    ----------
    module : nn.Module
        The calling attention module; its config holds the ``BranchSlots``.
    query : Tensor
        ``[2 B, H, 1, D]``.
    key, value : Tensor
        ``[B, Hkv, T, D]`` of the model's rows, from a ``splitting_cache``.
    attention_mask : Tensor or None
        Of the model's rows, or of all rows.
    scaling : float, optional
        Factor on the scores; by default ``D ** -0.5``.

    Returns
    -------
    output : Tensor
        ``[2 B, 1, H, D]``.
    weights : Tensor
        ``[B, H, 1, T]`` of the model's rows.
    """
    check_arguments(module, kwargs)
    rows = key.shape[0]
    slots: BranchSlots = getattr(module.config, BRANCH_ATTRIBUTE)[0]
    settings = scaling, kwargs.get("softcap")
    mask = additive_mask(attention_mask, query, key, is_causal(module, kwargs))
    mask = mask if mask is None or mask.dim() < 4 else mask[:rows]
    output, weights = attend(query[:rows], key, value, mask, *settings)
    other = slots.find(module, key, value)
    hidden = torch.zeros_like(other.seen, dtype=query.dtype).masked_fill(~other.seen, torch.finfo(query.dtype).min)
    hidden = hidden[:, None, None]
    if other.newest is not None and mask is not None:
        hidden = torch.minimum(hidden, mask)
    second, _ = attend(query[rows:], other.keys, other.values, hidden, *settings, other.newest)
    return torch.cat([output, second]), weights


AttentionInterface.register(BRANCH_IMPLEMENTATION, attention_branches)
AttentionMaskInterface.register(BRANCH_IMPLEMENTATION, eager_mask)
