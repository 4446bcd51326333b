"""Forking, slicing and editing key/value caches.

Caches are never cropped (sliding and linear-attention layers cannot be): they are forked before a step. A fork
shares tensors with the original; layers rebind their tensors on update, so the tokens of one do not enter the other.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

KeyValueEdit = Callable[[int, Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""``(layer, keys, values, start) -> (keys, values)``: edits ``[B, Hkv, n, D]`` slots from position ``start`` on."""


def _cache_name() -> str:
    """Return what this transformers calls the cache: ``cache`` from 5.24 on, ``past_key_values`` before."""
    parameters = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    return "cache" if "cache" in parameters else "past_key_values"


CACHE_NAME = _cache_name()
"""Argument and output field that hold the key/value cache in the installed transformers."""

CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""Every name under which a caller may give a cache; transformers itself renames the older ones."""


def given_cache(kwargs: Mapping[str, Any]) -> Any:
    """Return the cache among the arguments of a call, or None.

    Parameters
    ----------
    kwargs : mapping
        What a model, its decoder or ``generate`` was called with.

    Returns
    -------
    Cache or None
    """
    return next((kwargs[name] for name in CACHE_NAMES if kwargs.get(name) is not None), None)


def check_cache(cache: Any, model: Any = None) -> None:
    """Refuse caches that cannot be forked.

    Parameters
    ----------
    cache : Cache
        What ``generate`` uses.
    model : PreTrainedModel, optional
        The model that was called with it.

    Raises
    ------
    ValueError
        For static, quantised, offloaded and encoder-decoder caches, for caches with states outside their layers, and
        for anything that is no ``Cache``.
    """
    supports = getattr(model, "_supports_default_dynamic_cache", None)
    if cache is None and supports is not None and not supports():
        raise ValueError(
            f"generate gives {type(model).__name__} no cache: the model makes one of its own, which steering cannot "
            "fork. Use another model; attribute works without a cache."
        )
    if not isinstance(cache, Cache):
        raise ValueError(
            f"Steering needs a transformers Cache; found {type(cache).__name__}. Pass use_cache=True to generate, a "
            "DynamicCache in a loop of your own."
        )
    layers = getattr(cache, "layers", [])
    kinds = {type(layer).__name__ for layer in layers} | {type(cache).__name__}
    bad = sorted(kind for kind in kinds if kind.startswith(("Static", "Quantized", "EncoderDecoder", "Quanto", "HQQ")))
    if getattr(cache, "offloading", False):
        bad.append("offloaded")
    outside = sorted(name for name in vars(cache).keys() - vars(DynamicCache()).keys() if _holds(vars(cache)[name]))
    if bad:
        raise ValueError(
            f"Steering cannot edit a {', '.join(bad)} cache; it needs a DynamicCache. Leave cache_implementation unset."
        )
    if outside:
        raise ValueError(
            f"Steering cannot fork a {type(cache).__name__}: it keeps states outside its layers "
            f"({', '.join(outside)}). Give a DynamicCache; a model that takes no other cache cannot be steered."
        )


def _holds(value: Any) -> bool:
    """Whether a value of a cache can hold states, which a copy of the cache would share."""
    return isinstance(value, Tensor | list | dict)


def fork_cache(cache: Cache) -> Cache:
    """Return a cache with the same content whose updates leave ``cache`` alone.

    Parameters
    ----------
    cache : Cache
        A dynamic cache with any kind of layers.

    Returns
    -------
    Cache
        Shares keys and values; recurrent states, which layers change in place, are cloned.
    """
    fork = copy.copy(cache)
    fork.layers = [_fork_layer(layer) for layer in cache.layers]
    vars(fork).pop("reorder_cache", None)
    return fork


def _fork_layer(layer: Any) -> Any:
    twin = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict):
            setattr(twin, name, {k: v.clone() if isinstance(v, Tensor) else v for k, v in value.items()})
        elif isinstance(value, Tensor) and name not in ("keys", "values"):
            setattr(twin, name, value.clone())
    return twin


def without_last(cache: Cache) -> Cache | None:
    """Return a fork without the last position, or None where slicing would not be exact.

    Only plain full-attention layers can be sliced: a sliding layer has already dropped the slot that its last
    position could see, a recurrent one has no slots.
    """
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        return None
    fork = fork_cache(cache)
    for index, (keys, values) in slots(fork).items():
        _set_slots(fork.layers[index], keys[:, :, :-1], values[:, :, :-1])
    return fork


def layer_slots(layer: Any) -> tuple[Tensor, Tensor] | None:
    """Return keys and values ``[B, Hkv, n, D]`` of a cache layer, or None if it holds no slots."""
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if not (isinstance(keys, Tensor) and isinstance(values, Tensor)) or keys.dim() != 4:
        return None
    return keys, values


def _set_slots(layer: Any, keys: Tensor, values: Tensor) -> None:
    layer.keys, layer.values = keys, values


def slots(cache: Cache) -> dict[int, tuple[Tensor, Tensor]]:
    """Return keys and values by layer, for the layers that hold slots (also empty ones)."""
    found = {index: layer_slots(layer) for index, layer in enumerate(cache.layers)}
    return {index: pair for index, pair in found.items() if pair is not None and pair[0].numel()}


def is_recurrent(config: PreTrainedConfig) -> bool:
    """Return whether a decoder has layers that keep a recurrent state instead of slots (linear attention).

    The cache tells, except for RecurrentGemma in transformers 5.17 and 5.18: there modules keep the state, and only the
    config names such layers.
    """
    if "recurrent" in (getattr(config, "layers_block_type", None) or ()):
        return True
    return any(hasattr(layer, "recurrent_states") for layer in DynamicCache(config=config).layers)


def check_differentiable(cache: Cache) -> None:
    """Refuse recurrent layers, whose states transformers updates in place: autograd cannot run backward through them.

    Raises
    ------
    ValueError
        Naming the layers.
    """
    bad = [i for i, layer in enumerate(cache.layers) if getattr(layer, "recurrent_states", None)]
    if bad:
        raise ValueError(
            f"Layers {bad} are linear attention with a recurrent state; relevance over a cache needs attention layers "
            "only. lime_xai.attribute works on the prompt, and Edit(steps=0) leaves generation untouched."
        )


def with_slots(cache: Cache, replaced: dict[int, tuple[Tensor, Tensor]]) -> Cache:
    """Return a fork whose layers hold other keys and values (attached tensors stay attached)."""
    fork = fork_cache(cache)
    for index, (keys, values) in replaced.items():
        _set_slots(fork.layers[index], keys, values)
    return fork


class EditedCache(DynamicCache):
    """A dynamic cache that edits keys and values as they come in.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the decoder; gives each layer its kind.
    edit : callable
        ``KeyValueEdit``, called with the absolute position of the first incoming slot.
    """

    def __init__(self, config: PreTrainedConfig, edit: KeyValueEdit) -> None:
        super().__init__(config=config)
        self._edit = edit
        self._seen: dict[int, int] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Edit the incoming slots, store them, return all slots of the layer."""
        start = self._seen.get(layer_idx, 0)
        self._seen[layer_idx] = start + key_states.shape[2]
        keys, values = self._edit(layer_idx, key_states, value_states, start)
        result: tuple[Tensor, Tensor] = super().update(keys, values, layer_idx, *args, **kwargs)
        return result


def cache_length(cache: Cache) -> int:
    """Return the number of positions a cache has seen (sliding layers count what they dropped)."""
    layers: list[Any] = list(cache.layers)
    lengths = [int(layer.get_seq_length()) for layer in layers if layer_slots(layer) is not None]
    return max(lengths, default=0)


def detach_inference(value: Any) -> Any:
    """Return tensors made under ``torch.inference_mode`` as ordinary ones; containers are walked."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {key: detach_inference(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(detach_inference(item) for item in value)
    if isinstance(value, Cache):
        for layer in value.layers:
            pair = layer_slots(layer)
            if pair is not None:
                # In place: whoever holds the cache object must use the ordinary tensors too.
                _set_slots(layer, *(detach_inference(tensor) for tensor in pair))
    return value
