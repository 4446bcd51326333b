"""Bases of dataclasses that hold tensors: a short repr, and equality of contents.

``==`` of an ordinary dataclass compares tensors element by element, whose truth value is an error; its repr prints
them.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache

_LIMIT = 90
"""Characters of one field."""
_ENTRIES = 4
"""Entries of a list that are shown."""


class ShortRepr:
    """Base of dataclasses whose repr fits a screen: tensors by dtype and shape, long lists by their length.

    Subclasses are decorated with ``dataclass(repr=False, eq=False)``. Fields that are None are left out.
    """

    def __repr__(self) -> str:
        held = [(item.name, getattr(self, item.name)) for item in fields(self) if item.repr]  # type: ignore[arg-type]
        shown = ", ".join(f"{name}={_short(value)}" for name, value in held if value is not None)
        return f"{type(self).__name__}({shown})"


class Content(ShortRepr):
    """Base of dataclasses that are equal if their contents are: tensors by dtype, shape and values, on any device.

    NaN equals NaN, so that a copy equals what it was made from. Such objects have no hash.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [item.name for item in fields(self) if item.compare]  # type: ignore[arg-type]
        return all(same(getattr(self, name), getattr(other, name)) for name in names)


def same(one: Any, other: Any) -> bool:
    """Whether two values have the same content, tensors and arrays inside lists, mappings and caches included."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and _same_array(one.detach().cpu(), other.detach().cpu())
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype) and _same_array(torch.from_numpy(one), torch.from_numpy(other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Cache):
        return same([_tensors(layer) for layer in one.layers], [_tensors(layer) for layer in other.layers])
    return bool(one == other) or (one != one and other != other)


def _same_array(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _tensors(layer: Any) -> dict[str, Tensor]:
    return {name: value for name, value in vars(layer).items() if isinstance(value, Tensor)}


class _Short(reprlib.Repr):
    """``reprlib`` that knows tensors, models, caches and dataclasses."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict, self.maxlevel, self.maxother, self.maxstring = _ENTRIES, 4, 60, 40

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Tensor | np.ndarray):
            return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"
        if isinstance(x, Cache):
            return f"<{type(x).__name__} of {len(x.layers)} layers>"
        if isinstance(x, ShortRepr):
            return f"{type(x).__name__}(...)"
        if isinstance(x, Mapping):
            return self.repr_dict(dict(x), level)
        if isinstance(x, list | tuple) and len(x) > _ENTRIES:
            return f"<{len(x)} {type(x[0]).__name__}>"
        plain = is_dataclass(x) or isinstance(x, nn.Module) or getattr(type(x), "__repr__", None) is object.__repr__
        if plain and not isinstance(x, type):
            return repr(x) if is_dataclass(x) and level > 1 else f"<{type(x).__name__}>"
        return super().repr1(x, level)


def _short(value: Any) -> str:
    text = _Short().repr(value)
    return text if len(text) <= _LIMIT else f"{text[: _LIMIT - 3]}..."
