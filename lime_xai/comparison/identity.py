"""What tells methods and examples apart, for files from which an interrupted comparison goes on."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lime_rules import TransformerComposite
from lime_xai.baselines import BASELINES, baseline_to_dict

from .prepare import Example, Method


def described(method: Method) -> Any:
    """Return what tells a method from another of the same name, as JSON; of composites only their class is known."""
    if isinstance(method, str):
        return method
    if isinstance(method, TransformerComposite) or method.name not in BASELINES:
        return type(method).__qualname__
    return baseline_to_dict(method)


def digest(example: Example) -> str:
    """Return the SHA-256 of an example's inputs, target and truth."""
    found = hashlib.sha256()
    parts = {**example.inputs, "target": example.target, "truth": example.truth, "cluster": example.cluster}
    for name, value in sorted(parts.items()):
        found.update(name.encode())
        _update(found, value)
    return found.hexdigest()


def _update(found: Any, value: Any) -> None:
    """Add a value to a hash, tensors and arrays by their bytes, also inside lists."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        found.update(f"{tuple(value.shape)}{value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, list | tuple):
        found.update(f"{type(value).__name__}{len(value)}".encode())
        for item in value:
            _update(found, item)
    else:
        found.update(repr(value).encode())
