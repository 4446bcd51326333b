"""Caches of a batch with extra rows: keys and values of the first rows enter the cache, the others are kept apart."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from .tangents import UNSCALED, DirectTangents, FullTangents, KVScaling, KVTangents

T = TypeVar("T")

SlotEdit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor, KVScaling]]
"""``(layer, keys, values) -> (keys, values, kv_scaling)``, ``[B, Hkv, T, D]``; the newest slots are not edited."""


class ByLayer(Generic[T]):
    """A record per cache layer, found again by the identity of the keys and values that the layer returned.

    An attention function is given keys and values and no layer index.
    """

    def __init__(self) -> None:
        self._noted: dict[int, tuple[Tensor, Tensor, T]] = {}

    def put(self, layer: int, keys: Tensor, values: Tensor, noted: T) -> None:
        """Store a record for the keys and values ``[B, Hkv, T, D]`` that a layer returned."""
        self._noted[layer] = keys, values, noted

    def find(self, module: nn.Module, keys: Tensor, values: Tensor, otherwise: str) -> T:
        """Return the record of the keys and values that an attention module was given.

        Parameters
        ----------
        module : nn.Module
            Named in the error.
        keys, values : Tensor
            The same tensor objects as in ``put``.
        otherwise : str
            End of the error message: what cannot be done with other keys and values, and what to do instead.

        Raises
        ------
        NotImplementedError
            If the module did not get them from the cache as they were.
        """
        for held_keys, held_values, noted in self._noted.values():
            if held_keys is keys and held_values is values:
                return noted
        raise NotImplementedError(
            f"{type(module).__name__} does not attend to the keys and values of a cache layer as they are; {otherwise}"
        )

    def clear(self) -> None:
        """Forget everything."""
        self._noted.clear()


@dataclass(eq=False)
class TangentCache:
    """The contribution of each group to each cached key and value, while a stream runs over a cache.

    Parameters
    ----------
    count : int
        Number of tangents ``G``, one per group.
    masks : Tensor, optional
        ``[B, G, T]``: direct form. The tangent of a slot is its key or value times the mask, up to position ``T``;
        later slots have no tangent but the one that was propagated to them in the same call.
    tangents : Cache, optional
        Full form: tangents ``[G * B, Hkv, T, D]`` of keys and values, one cache position per primal one. It grows with
        the primal cache.
    """

    count: int
    masks: Tensor | None = None
    tangents: Cache | None = None
    _known: ByLayer[KVTangents] = field(default_factory=ByLayer, repr=False)

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], kv_scaling: KVScaling
    ) -> None:
        """Store the tangents of ``keys`` and ``values`` ``[B, Hkv, T, D]``, given those of the newest slots.

        Parameters
        ----------
        layer : int
            Index of the cache layer.
        keys, values : Tensor
            All keys and values that the attention of this layer gets.
        fresh : tuple of Tensor
            Tangents of the newest keys and values, ``[G * B, Hkv, S, D]``.
        kv_scaling : KVScaling
            Of ``keys`` and ``values``; the full form supports ``UNSCALED`` only.

        Raises
        ------
        ValueError
            For scaled slots in the full form.
        """
        if self.tangents is not None:
            check_unscaled(kv_scaling)
            all_keys, all_values = self.tangents.update(*fresh, layer)
            found: KVTangents = FullTangents(self.by_row(all_keys), self.by_row(all_values))
        else:
            columns = self._columns(keys, fresh[0].shape[2])
            found = DirectTangents(columns, self.by_row(fresh[0]), self.by_row(fresh[1]), kv_scaling)
        self._known.put(layer, keys, values, found)

    def by_row(self, tensor: Tensor) -> Tensor:
        """Return ``[B, Hkv, G, T, D]`` from ``[G * B, Hkv, T, D]``."""
        return torch.unflatten(tensor, 0, (self.count, -1)).permute(1, 2, 0, 3, 4)

    def _columns(self, keys: Tensor, fresh: int) -> Tensor:
        """Return the masks of the slots that a layer still holds; a sliding one has dropped its oldest."""
        if self.masks is None:
            raise ValueError("TangentCache needs masks (direct form) or tangents (full form); found neither.")
        masks = self.masks.to(keys.device, keys.dtype)
        held = keys.shape[2] - fresh
        if masks.shape[-1] < held:
            raise ValueError(
                f"The cache holds {held} slots, the masks of the groups cover {masks.shape[-1]}; cover all."
            )
        return nn.functional.pad(masks[..., masks.shape[-1] - held :], (0, fresh))

    def of(self, module: nn.Module, keys: Tensor, values: Tensor) -> KVTangents:
        """Return the tangents of the keys and values that an attention module was given.

        Raises
        ------
        NotImplementedError
            If the module did not get them from the cache as they were.
        """
        advice = "the relevance stream cannot follow it. Use relevance by backward passes instead."
        return self._known.find(module, keys, values, advice)

    def forget(self) -> None:
        """Drop the tangents of the last call."""
        self._known.clear()


def check_unscaled(kv_scaling: KVScaling) -> None:
    """Refuse scaled slots where only unscaled ones are supported.

    Raises
    ------
    ValueError
        If they are scaled.
    """
    if kv_scaling is not UNSCALED:
        raise ValueError(
            "Edited slots have tangents in the direct form only; use a stream of the direct form, or no edit."
        )


class ExtraRowsKV(Protocol):
    """Receives the keys and values of the rows that do not enter a ``splitting_cache``."""

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], kv_scaling: KVScaling
    ) -> None:
        """See ``TangentCache.note``."""
        ...


class _Splitting:
    """Mixin of a cache class: only the first rows enter the cache."""

    extra: ExtraRowsKV
    rows: int
    edit: SlotEdit | None

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        rows, kv_scaling = self.rows, UNSCALED
        newest = key_states[:rows], value_states[:rows]
        # The kept cache must not hold the objective's graph, which KVScaling.newest carries for the newest slots.
        kept = newest if self.edit is None else (newest[0].detach(), newest[1].detach())
        keys, values = super().update(*kept, layer_idx, *args, **kwargs)  # type: ignore[misc]
        if self.edit is not None:
            keys, values, kv_scaling = self.edit(layer_idx, keys, values)
            if newest[0].requires_grad:
                kv_scaling = replace(kv_scaling, newest=newest)
        self.extra.note(layer_idx, keys, values, (key_states[rows:], value_states[rows:]), kv_scaling)
        return keys, values


@functools.cache
def _splitting_kind(kind: type[Cache]) -> type[Cache]:
    return type(f"Splitting{kind.__name__}", (_Splitting, kind), {})


def splitting_cache(cache: Cache, extra: ExtraRowsKV, rows: int, edit: SlotEdit | None = None) -> Cache:
    """Return a view of a cache for a batch with extra rows: its first ``rows`` rows enter the cache.

    Parameters
    ----------
    cache : Cache
        Shares its layers with the view, so that an update of the view is an update of the cache.
    extra : TangentCache or another ExtraRowsKV
        Receives the other rows of each layer.
    rows : int
        Batch size ``B`` of the cache.
    edit : callable, optional
        What attention uses in place of the slots of a layer; the cache keeps the unedited slots, without a graph.
    """
    view = copy.copy(cache)
    vars(view).pop("reorder_cache", None)
    view.__class__ = _splitting_kind(type(cache))  # type: ignore[arg-type]
    vars(view).update(extra=extra, rows=rows, edit=edit)
    return view


def empty_tangents(config: Any) -> Cache:
    """Return an empty cache for the tangents of the full form, with the layer kinds of the decoder's own cache."""
    return DynamicCache(config=config)
