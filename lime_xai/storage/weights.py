"""The hash of a model's weights."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_KNOWN: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], str]] = WeakKeyDictionary()


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights, in the order of their names.

    The same weights in another dtype have another hash. The hash is kept until PyTorch records a change: another
    storage, or an in-place operation (writing through ``.data`` is not recorded).

    Parameters
    ----------
    model : Module
        Any model whose weights are in memory, on any device.
    """
    state = sorted(model.state_dict().items())
    key = tuple((name, *tensor_identity(tensor)) for name, tensor in state)
    known = _KNOWN.get(model)
    if known is None or known[0] != key:
        known = _KNOWN[model] = key, _digest(state)
    return known[1]


def tensor_identity(tensor: Tensor) -> tuple[object, ...]:
    """Return what changes when PyTorch changes a tensor; inference tensors have no version counter."""
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.shape, tensor.dtype


def _digest(state: list[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state:
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()
