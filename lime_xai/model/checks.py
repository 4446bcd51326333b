"""Checks of models, inputs and logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from lime_xai.storage.weights import check_loaded
from lime_xai.values.checking import shown

from .arguments import holds_whole_numbers
from .cache import cache_length, given_cache
from .differentiable import check_compiled
from .modalities import has_modality_inputs, placeholder_ids
from .replay import Replayer


def check_mode(model: PreTrainedModel) -> None:
    """Refuse a model in training mode.

    Raises
    ------
    ValueError
        Naming what was found and how to fix it.
    """
    if model.training:
        raise ValueError("The model is in training mode, where dropout changes every pass; call model.eval().")


def checked_replayer(model: PreTrainedModel) -> Replayer:
    """Return the replayer of a model, or refuse the model.

    Raises
    ------
    ValueError
        For a model without a decoder whose attention can be switched, with weights that are offloaded or on the meta
        device, in training mode, or compiled.
    """
    replayer = Replayer(model)
    check_loaded(model)
    check_mode(model)
    check_compiled(model, replayer.decoder)
    return replayer


def check_inputs(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Tensor:
    """Refuse inputs that the model could not run on, and return ``input_ids`` ``[B, T]``.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model.
    inputs : mapping
        What a processor returns.

    Returns
    -------
    Tensor
        ``[B, T]``; for ``inputs_embeds`` without ids, zeros of that shape.

    Raises
    ------
    ValueError
        For an empty batch, ids without an embedding, embeddings of another shape, or tensors on another device.
    TypeError
        If ``inputs`` is no mapping by name, or holds lists or arrays in place of tensors, or something else in place of
        a cache.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs is {type(inputs).__name__}; expected what a processor returns, a mapping of tensors.")
    check_tensors(inputs)
    ids = inputs.get("input_ids")
    if ids is None:
        embeds = inputs.get("inputs_embeds")
        if not isinstance(embeds, Tensor):
            raise ValueError(f"inputs has neither input_ids nor inputs_embeds; found {sorted(inputs)}.")
        if embeds.dim() != 3:
            raise ValueError(f"inputs_embeds has shape {tuple(embeds.shape)}; expected [batch, tokens, channels].")
        ids = torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(f"input_ids has shape {tuple(ids.shape)}; expected [batch, tokens], neither of them zero.")
    check_devices(model, inputs)
    if "input_ids" in inputs:
        check_ids(model, ids)
    return ids


def check_tensors(inputs: Mapping[str, Any]) -> None:
    """Refuse keys that are no names, lists and NumPy arrays in place of tensors, and what is no cache in place of one.

    Raises
    ------
    TypeError
        Naming them.
    """
    keys = [key for key in inputs if not isinstance(key, str)]
    if keys:
        raise TypeError(f"inputs has the keys {keys}; expected names of arguments, as a processor returns them.")
    cache = given_cache(inputs)
    if cache is not None and not isinstance(cache, Cache):
        raise TypeError(f"past_key_values is {shown(cache)}; expected a transformers Cache, or leave it out.")
    bad = [
        f"{name} is {type(value).__name__}"
        for name, value in inputs.items()
        if isinstance(value, np.ndarray) or (name in _TENSORS and not isinstance(value, Tensor | None))
    ]
    if bad:
        raise TypeError(f"{', '.join(bad)}; expected torch tensors: call the processor with return_tensors='pt'.")


_TENSORS = ("input_ids", "attention_mask", "inputs_embeds", "position_ids", "token_type_ids")


def check_ids(model: PreTrainedModel, ids: Tensor) -> None:
    """Refuse token ids that have no embedding.

    Raises
    ------
    ValueError
        Naming them.
    """
    if not holds_whole_numbers(ids):
        raise ValueError(f"input_ids is a tensor of {ids.dtype}; token ids are whole numbers.")
    table: Any = model.get_input_embeddings()
    rows = int(table.weight.shape[0])
    bad = ids[(ids < 0) | (ids >= rows)]
    if bad.numel():
        raise ValueError(
            f"Token ids {sorted(set(bad.tolist()))[:5]} are out of range; the model has {rows} embeddings. Use the "
            "processor that belongs to this model."
        )


def check_mask_length(model: PreTrainedModel, inputs: Mapping[str, Any]) -> None:
    """Refuse an attention mask longer than the prompt, where a model reads positions of pictures off the mask.

    Other models, and these on text alone, take the last columns of such a mask.

    Raises
    ------
    ValueError
        For a mask ``[B, S]`` of ids ``[B, T]`` with ``S > T``.
    """
    ids, mask, cache = inputs.get("input_ids"), inputs.get("attention_mask"), given_cache(inputs)
    if not (isinstance(ids, Tensor) and isinstance(mask, Tensor) and ids.dim() == mask.dim() == 2):
        return
    seen = any(name.startswith("pixel_values") or name.endswith("_grid_thw") for name in inputs)
    if mask.shape[1] <= ids.shape[1] or not seen or (cache is not None and cache_length(cache)):
        return
    if any(hasattr(module, "get_rope_index") for module in model.modules()):
        raise ValueError(
            f"attention_mask has shape {tuple(mask.shape)}, input_ids {tuple(ids.shape)}; {type(model).__name__} "
            "reads positions of pictures off the mask, so that it needs one entry per prompt token, no more."
        )


def check_padding(attended: Tensor) -> None:
    """Refuse rows ``[B, T]`` whose last position is not attended.

    Raises
    ------
    ValueError
        For padding on the right, and for rows that are padding alone.
    """
    empty = (~attended.any(-1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"attention_mask attends to no position of rows {empty}; leave these rows out.")
    if not bool(attended[:, -1].all()):
        raise ValueError("inputs are padded on the right; set processor.tokenizer.padding_side = 'left'.")


def check_devices(model: PreTrainedModel, inputs: Mapping[str, Any]) -> None:
    """Refuse inputs on another device than the model's embeddings.

    Raises
    ------
    ValueError
        Naming both.
    """
    check_loaded(model)
    devices = {str(value.device) for value in inputs.values() if isinstance(value, Tensor)}
    home = str(model.get_input_embeddings().weight.device)
    if devices != {home}:
        raise ValueError(f"inputs are on {sorted(devices)}, the model's embeddings on {home}; use inputs.to({home!r}).")


def check_placeholders(model: PreTrainedModel, inputs: Mapping[str, Any], masks: Mapping[str, Tensor]) -> None:
    """Refuse inputs whose placeholders and features do not belong together.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model.
    inputs : mapping
        What a processor returns.
    masks : mapping of str to Tensor
        ``[B, T]`` bool per modality: the placeholders.

    Raises
    ------
    ValueError
        For placeholders without features, features without placeholders, or a count that cannot fit the features.
    """
    known = placeholder_ids(model.config)
    given = has_modality_inputs(inputs)
    if masks and not given:
        raise ValueError(
            f"The prompt has placeholders for {', '.join(masks)} but the inputs hold no pixel values or audio "
            "features; pass everything the processor returned."
        )
    if known and given and not masks:
        raise ValueError(
            f"The inputs hold pixel values or audio features but the prompt has no placeholder token ({known}); "
            "put the image or audio into the chat template."
        )
    for modality in ("image", "video"):
        features, found = _features(model, inputs, modality), masks.get(modality)
        if features is not None and found is not None and features != int(found.sum()):
            raise ValueError(
                f"The prompt has {int(found.sum())} {modality} placeholders, the {modality}s give {features} features; "
                "use the processor that belongs to this model."
            )


_MERGED = ("qwen2", "qwen3", "glm4v")
"""Beginnings of model types whose grids count patches, of which squares are merged into one feature each."""


def _features(model: PreTrainedModel, inputs: Mapping[str, Any], modality: str) -> int | None:
    """Return how many features the images or videos give, or None where the family's rule is not known."""
    grid, merge = inputs.get(f"{modality}_grid_thw"), inputs.get(f"{modality}_merge_sizes")
    if not isinstance(grid, Tensor):
        return None
    if merge is None and str(model.config.model_type).startswith(_MERGED):
        merge = getattr(getattr(model.config, "vision_config", None), "spatial_merge_size", None)
    return None if merge is None else int((grid.prod(-1) // merge**2).sum())
