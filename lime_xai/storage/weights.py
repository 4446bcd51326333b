"""The hash of a model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

SAMPLED = 8
"""Values per tensor that are compared."""

_KNOWN: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], str]] = WeakKeyDictionary()


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights, in the order of their names.

    The same weights in another dtype have another hash. The hash is kept while ``tensor_identities`` of the weights are
    the same.

    Parameters
    ----------
    model : Module
        Any model whose weights are in memory, on any device.
    """
    state = sorted(model.state_dict().items())
    if any(tensor.is_inference() for _, tensor in state):
        return _digest(state)  # PyTorch does not count in-place operations on these
    key = (tuple(name for name, _ in state), tensor_identities([tensor for _, tensor in state]))
    known = _KNOWN.get(model)
    if known is None or known[0] != key:
        known = _KNOWN[model] = key, _digest(state)
    return known[1]


def tensor_identities(tensors: Sequence[Tensor]) -> tuple[object, ...]:
    """Return what changes when tensors change.

    1. Storage, shape, dtype, and the counter of in-place operations, which inference tensors do not have.
    2. About eight evenly spaced values of each tensor: writing through ``.data``, as merging an adapter does, is not
       counted. A write through ``.data`` that changes none of these values is not noticed.
    """
    facts = tuple((t.data_ptr(), None if t.is_inference() else t._version, t.shape, t.dtype) for t in tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel():
            groups.setdefault((tensor.device, tensor.dtype), []).append(_sampled(tensor.detach()))
    # One transfer for each device and dtype: a transfer from a GPU waits for it.
    values = tuple(torch.cat(parts).double().nan_to_num().cpu().numpy().tobytes() for parts in groups.values())
    return facts, values


def _sampled(tensor: Tensor) -> Tensor:
    if tensor.is_contiguous():
        return tensor.view(-1)[:: max(1, tensor.numel() // SAMPLED)][:SAMPLED]
    # Flattening would copy the tensor.
    places = torch.arange(SAMPLED, device=tensor.device) * (tensor.numel() - 1) // (SAMPLED - 1)
    return tensor[torch.unravel_index(places, tensor.shape)]


def _digest(state: list[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state:
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
        digest.update(content.numpy().data)
    return digest.hexdigest()
