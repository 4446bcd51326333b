"""Caches through which a stream runs: primal keys and values go on, tangents stay beside."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from .stream_tangents import AS_THEY_ARE, Owned, SlotReading, SlotTangents, SplitTangents

T = TypeVar("T")

SlotEdit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor, SlotReading]]
"""``(layer, keys, values) -> (keys, values, reading)``, ``[B, Hkv, T, D]``; the newest slots stay as they are."""


class ByLayer(Generic[T]):
    """What one call noted beside the slots of each cache layer, found again by the attention that is given them."""

    def __init__(self) -> None:
        self._noted: dict[int, tuple[Tensor, Tensor, T]] = {}

    def put(self, layer: int, keys: Tensor, values: Tensor, noted: T) -> None:
        """Note something beside the keys and values ``[B, Hkv, T, D]`` that a layer returned."""
        self._noted[layer] = keys, values, noted

    def of(self, module: nn.Module, keys: Tensor, values: Tensor, otherwise: str) -> T:
        """Return what was noted beside the very keys and values that an attention module was given.

        Parameters
        ----------
        module : nn.Module
            Named in the error.
        keys, values : Tensor
            What it was given.
        otherwise : str
            What cannot be done with others, or with what was made of them, and what to do instead.

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


@dataclass
class Ownership:
    """Which part of each cached key and value is owed to which group, while a stream runs over a cache.

    Parameters
    ----------
    groups : int
        Number of tangents ``G``.
    masks : Tensor, optional
        ``[B, G, T]``: slot form. A group owns the slots where its mask is 1 as they are, up to position ``T``;
        later slots belong to no group unless ``tangents`` says more.
    tangents : Cache, optional
        Exact form: keys and values ``[G * B, Hkv, T, D]`` beside those of the primal cache. Grows with it.
    """

    groups: int
    masks: Tensor | None = None
    tangents: Cache | None = None
    _known: ByLayer[Owned] = field(default_factory=ByLayer, repr=False)

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], reading: SlotReading
    ) -> None:
        """Remember the tangents of ``keys`` and ``values`` ``[B, Hkv, T, D]``, given those of the newest slots.

        Parameters
        ----------
        layer : int
            Index of the cache layer.
        keys, values : Tensor
            All that the layer's attention is going to see.
        fresh : tuple of Tensor
            Tangents of the newest keys and values, ``[G * B, Hkv, S, D]``.
        reading : SlotReading
            Of ``keys`` and ``values``; the exact form knows no other than ``AS_THEY_ARE``.

        Raises
        ------
        ValueError
            For edited slots in the exact form.
        """
        if self.tangents is not None:
            check_reading(reading)
            all_keys, all_values = self.tangents.update(*fresh, layer)
            owned: Owned = SplitTangents(self.by_row(all_keys), self.by_row(all_values))
        else:
            columns = self._columns(keys, fresh[0].shape[2])
            owned = SlotTangents(columns, self.by_row(fresh[0]), self.by_row(fresh[1]), reading)
        self._known.put(layer, keys, values, owned)

    def by_row(self, tensor: Tensor) -> Tensor:
        """Return ``[B, Hkv, G, T, D]`` from ``[G * B, Hkv, T, D]``."""
        return torch.unflatten(tensor, 0, (self.groups, -1)).permute(1, 2, 0, 3, 4)

    def _columns(self, keys: Tensor, fresh: int) -> Tensor:
        """Return the masks of the slots that a layer still holds; a sliding one has dropped its oldest."""
        if self.masks is None:
            raise ValueError("Ownership needs masks (slot form) or tangents (exact form); found neither.")
        masks = self.masks.to(keys.device, keys.dtype)
        held = keys.shape[2] - fresh
        if masks.shape[-1] < held:
            raise ValueError(f"The cache holds {held} slots, the ownership masks cover {masks.shape[-1]}; cover all.")
        return nn.functional.pad(masks[..., masks.shape[-1] - held :], (0, fresh))

    def of(self, module: nn.Module, keys: Tensor, values: Tensor) -> Owned:
        """Return the tangents of the keys and values that an attention module was given.

        Raises
        ------
        NotImplementedError
            If the module did not get them from the cache as they were.
        """
        advice = "the relevance stream cannot follow it. Use relevance by backward passes instead."
        return self._known.of(module, keys, values, advice)

    def forget(self) -> None:
        """Drop what was remembered of the last call."""
        self._known.clear()


def check_reading(reading: SlotReading) -> None:
    """Refuse edited slots where only slots as they are can be followed.

    Raises
    ------
    ValueError
        If they are edited.
    """
    if reading is not AS_THEY_ARE:
        raise ValueError("Edited slots can be followed by a stream in slot form only; give the cache no edit.")


class Beside(Protocol):
    """Takes the keys and values of the rows that do not enter a ``splitting`` cache."""

    def note(
        self, layer: int, keys: Tensor, values: Tensor, fresh: tuple[Tensor, Tensor], reading: SlotReading
    ) -> None:
        """See ``Ownership.note``."""
        ...


class _Splitting:
    """Mixed into a cache's class: only the first rows enter."""

    ownership: Beside
    rows: int
    edit: SlotEdit | None

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        rows, reading = self.rows, AS_THEY_ARE
        newest = key_states[:rows], value_states[:rows]
        keys, values = super().update(*newest, layer_idx, *args, **kwargs)  # type: ignore[misc]
        if self.edit is not None:
            layer = self.layers[layer_idx]  # type: ignore[attr-defined]
            layer.keys, layer.values = layer.keys.detach(), layer.values.detach()
            keys, values, reading = self.edit(layer_idx, keys.detach(), values.detach())
            if newest[0].requires_grad:
                reading = replace(reading, newest=newest)
        self.ownership.note(layer_idx, keys, values, (key_states[rows:], value_states[rows:]), reading)
        return keys, values


@functools.cache
def _splitting_kind(kind: type[Cache]) -> type[Cache]:
    return type(f"Splitting{kind.__name__}", (_Splitting, kind), {})


def splitting(cache: Cache, ownership: Beside, rows: int, edit: SlotEdit | None = None) -> Cache:
    """Return a view of a cache that a widened batch may update: its first ``rows`` rows enter, the others stay beside.

    Parameters
    ----------
    cache : Cache
        Shares its layers with the result, so that both see every update.
    ownership : Ownership or another Beside
        Told each layer's other rows.
    rows : int
        Batch size ``B`` of the cache.
    edit : callable, optional
        What attention reads in place of a layer's slots, and how; the cache keeps them as they are, without a graph.
    """
    view = copy.copy(cache)
    vars(view).pop("reorder_cache", None)
    view.__class__ = _splitting_kind(type(cache))  # type: ignore[arg-type]
    vars(view).update(ownership=ownership, rows=rows, edit=edit)
    return view


def empty_tangents(config: Any) -> Cache:
    """Return the cache that the exact form starts a prompt with, with the layers that the decoder's own has."""
    return DynamicCache(config=config)
