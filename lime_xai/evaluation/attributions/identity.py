"""Identity of methods and examples, for files from which an interrupted comparison resumes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.methods.registry import method_to_dict
from lime_xai.model.arguments import check_values
from lime_xai.model.prompt import Prompt

from .example import Example


def described(method: MethodLike) -> Any:
    """Return a method as JSON: a name as it is, settings of any other."""
    return method if isinstance(method, str) else method_to_dict(as_method(method))


def digest(example: Example) -> str:
    """Return the SHA-256 of an example's inputs, target and truth; of a prompt also of its modalities."""
    found = hashlib.sha256()
    inputs = example.inputs
    if isinstance(inputs, Prompt):
        masks = {f"modality {name}": mask for name, mask in inputs.positions.modalities.items()}
        inputs = {**inputs.inputs, **masks}
    parts = {**inputs, "target": example.target, "truth": example.truth, "cluster": example.cluster}
    for name, value in sorted(parts.items()):
        found.update(name.encode())
        _update(found, value)
    return found.hexdigest()


def _update(found: Any, value: Any) -> None:
    """Add a value to a hash, tensors and arrays by their bytes, also inside lists."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        check_values("A tensor of the example", value)
        found.update(f"{tuple(value.shape)}{value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, list | tuple):
        found.update(f"{type(value).__name__}{len(value)}".encode())
        for item in value:
            _update(found, item)
    else:
        found.update(repr(value).encode())
