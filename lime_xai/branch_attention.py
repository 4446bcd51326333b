"""Attention of two branches in one batch: rows ``[:B]`` read the model's cache, rows ``[B:]`` what is theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.masking_utils import eager_mask

from lime_rules.attending import additive_mask, attend, check_sinks, is_causal
from lime_rules.stream_cache import ByLayer, check_reading
from lime_rules.stream_tangents import SlotReading

BRANCH_IMPLEMENTATION = "lime_branch"
"""Name of the attention and mask functions in transformers' registries."""

BRANCH_ATTRIBUTE = "_lime_branch"


@dataclass(frozen=True)
class _Other:
    """What the rows of the second branch read in one layer.

    Attributes
    ----------
    keys, values : Tensor
        ``[B, Hkv, T, D]``.
    seen : Tensor
        ``[B, T]`` bool.
    newest : tuple of Tensor or None
        ``[B, Hkv, S, D]``: keys and values that stand in place of the last ``S``.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor
    newest: tuple[Tensor, Tensor] | None


@dataclass
class BranchSlots:
    """Where the rows of the second branch find keys and values, for one call.

    Attributes
    ----------
    seen : Tensor
        ``[B, T]`` bool: the slots, newest included, that the second branch attends to.
    cache : Cache or None
        Its own; None: it reads the model's, its newest slot excepted, which is never kept.
    """

    seen: Tensor
    cache: Cache | None = None
    _known: ByLayer[_Other | tuple[Tensor, Tensor]] = field(default_factory=ByLayer, repr=False)

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], reading: SlotReading
    ) -> None:
        """Take the second branch's keys and values ``[B, Hkv, S, D]`` of a layer."""
        check_reading(reading)
        if self.cache is None:
            self._known.put(layer, keys, values, fresh)
            return
        own = self.cache.update(*fresh, layer)
        self._known.put(layer, keys, values, _Other(*own, self._held(own[0]), None))

    def of(self, module: nn.Module, keys: Tensor, values: Tensor) -> _Other:
        """Return what the second branch reads where the first was given ``keys`` and ``values``.

        Raises
        ------
        NotImplementedError
            If the module did not get them from the cache as they were.
        """
        advice = "a branch cannot decode beside it. Use Contrast(batched=False)."
        found = self._known.of(module, keys, values, advice)
        return found if isinstance(found, _Other) else _Other(keys, values, self._held(keys), found)

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
    """Attention of both branches for one new token.

    Parameters
    ----------
    module : nn.Module
        The calling attention module; its config holds the ``BranchSlots``.
    query : Tensor
        ``[2 B, H, 1, D]``.
    key, value : Tensor
        ``[B, Hkv, T, D]`` of the first branch, from a ``splitting`` cache.
    attention_mask : Tensor or None
        Of the first branch, or of all rows.
    scaling : float, optional
        Factor on the scores; by default ``D ** -0.5``.

    Returns
    -------
    output : Tensor
        ``[2 B, 1, H, D]``.
    weights : Tensor
        ``[B, H, 1, T]`` of the first branch.
    """
    check_sinks(module, kwargs)
    rows = key.shape[0]
    slots: BranchSlots = getattr(module.config, BRANCH_ATTRIBUTE)[0]
    settings = scaling, kwargs.get("softcap")
    mask = additive_mask(attention_mask, query, key, is_causal(module, kwargs))
    mask = mask if mask is None or mask.dim() < 4 else mask[:rows]
    output, weights = attend(query[:rows], key, value, mask, *settings)
    other = slots.of(module, key, value)
    hidden = torch.zeros_like(other.seen, dtype=query.dtype).masked_fill(~other.seen, torch.finfo(query.dtype).min)
    hidden = hidden[:, None, None]
    if other.newest is not None and mask is not None:
        hidden = torch.minimum(hidden, mask)
    second, _ = attend(query[rows:], other.keys, other.values, hidden, *settings, other.newest)
    return torch.cat([output, second]), weights


AttentionInterface.register(BRANCH_IMPLEMENTATION, attention_branches)
AttentionMaskInterface.register(BRANCH_IMPLEMENTATION, eager_mask)
