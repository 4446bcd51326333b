"""The hash of a model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

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
        Any model whose weights are in memory, on any device, quantised ones included.

    Raises
    ------
    ValueError
        For weights that are offloaded, on the meta device, or of a kind whose content cannot be read.
    """
    check_loaded(model)
    state = [part for name, value in sorted(model.state_dict().items()) for part in _plain(name, value)]
    tensors = [value for _, value in state if isinstance(value, Tensor)]
    if any(tensor.is_inference() for tensor in tensors):
        return _digest(state)  # PyTorch does not count in-place operations on these
    names = tuple(name if isinstance(value, Tensor) else (name, value) for name, value in state)
    key = (names, tensor_identities(tensors))
    known = _KNOWN.get(model)
    if known is None or known[0] != key:
        known = _KNOWN[model] = key, _digest(state)
    return known[1]


def check_loaded(model: nn.Module) -> None:
    """Refuse a model some of whose weights are on no device: on ``meta``, or offloaded by accelerate.

    Rules read weights again in the backward pass, when offloaded ones are gone.

    Raises
    ------
    ValueError
        Naming such a weight, and what to do.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not tensor.is_meta:
            continue
        if any(getattr(module, "_hf_hook", None) is not None for module in model.modules()):
            raise ValueError(
                f"Weights of {type(model).__name__} are offloaded ({name} is on no device until it is needed); load "
                "the model without offloading: device_map='cpu' or one GPU, a smaller dtype, or more GPUs."
            )
        raise ValueError(
            f"Weights of {type(model).__name__} are on the meta device ({name}), where nothing can be computed; load "
            "them with from_pretrained."
        )


def _plain(name: str, value: object) -> Iterator[tuple[str, Tensor | str]]:
    """Return an entry of a state dict as ordinary tensors and texts, with their names.

    Quantised weights are tensors of subclasses, which hold several ordinary ones, or tuples of packed tensors.

    Raises
    ------
    ValueError
        For a tensor of a subclass that does not show its parts, and for an entry of another kind.
    """
    if isinstance(value, Tensor) and is_traceable_wrapper_subclass(value):
        parts, facts = value.__tensor_flatten__()
        yield f"{name}:facts", f"{type(value).__name__} {facts!r}"
        for part in parts:
            yield from _plain(f"{name}:{part}", getattr(value, part))
    elif isinstance(value, Tensor) and value.is_quantized:
        yield f"{name}:facts", repr((value.qscheme(), value.dtype, _scales(value)))
        yield name, value.int_repr()
    elif type(value) in (Tensor, nn.Parameter, nn.Buffer) or (isinstance(value, Tensor) and _is_ordinary(value)):
        yield name, value  # type: ignore[misc]
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _plain(f"{name}:{index}", one)
    elif value is None or isinstance(value, str | bytes | int | float | torch.dtype):
        yield name, repr(value)
    else:
        raise ValueError(
            f"The weight {name} is a {type(value).__name__}, whose content cannot be read for its hash; load the model "
            "without this quantisation."
        )


def _is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor of a subclass has a storage of its own, as bitsandbytes' parameters do."""
    try:
        return tensor.data_ptr() != 0 or tensor.numel() == 0
    except RuntimeError:
        return False


def _scales(tensor: Tensor) -> object:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return tensor.q_scale(), tensor.q_zero_point()
    return tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()


def tensor_identities(tensors: Sequence[Tensor]) -> tuple[object, ...]:
    """Return what changes when tensors change.

    1. Storage, shape, dtype, and the counter of in-place operations, which inference tensors do not have.
    2. About eight evenly spaced values of each tensor: writing through ``.data``, as merging an adapter does, is not
       counted. A write through ``.data`` that changes none of these values is not noticed.
    """
    tensors = [
        part for tensor in tensors for _, part in _plain("", tensor) if isinstance(part, Tensor) and not part.is_meta
    ]
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


def _digest(state: list[tuple[str, Tensor | str]]) -> str:
    digest = hashlib.sha256()
    for name, value in state:
        if isinstance(value, str):
            digest.update(f"{name}={value}".encode())
            continue
        digest.update(f"{name}{tuple(value.shape)}".encode())
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
        digest.update(content.numpy().data)
    return digest.hexdigest()
