"""Checks of models, inputs and generation arguments, before any compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .cache import check_cache, given_cache
from .modalities import has_modality_inputs, modality_masks, placeholder_ids
from .replay import decoder_of
from .step import Policy


def check_model(model: PreTrainedModel) -> None:
    """Refuse a model in training mode or without a decoder whose attention can be switched.

    Raises
    ------
    ValueError
        Naming what was found and how to fix it.
    """
    decoder_of(model)
    if model.training:
        raise ValueError("The model is in training mode, where dropout changes every pass; call model.eval().")


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
        For an empty batch, right padding, tensors on another device, placeholders without features or features
        without placeholders, or a placeholder count that cannot fit the features.
    TypeError
        If ``inputs`` is no mapping.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs is {type(inputs).__name__}; expected what a processor returns, a mapping of tensors.")
    ids = inputs.get("input_ids")
    if ids is None:
        embeds = inputs.get("inputs_embeds")
        if not isinstance(embeds, Tensor):
            raise ValueError(f"inputs has neither input_ids nor inputs_embeds; found {sorted(inputs)}.")
        ids = torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(f"input_ids has shape {tuple(ids.shape)}; expected [batch, tokens], neither of them zero.")
    devices = {str(value.device) for value in inputs.values() if isinstance(value, Tensor)}
    home = str(model.get_input_embeddings().weight.device)
    if devices != {home}:
        raise ValueError(f"inputs are on {sorted(devices)}, the model's embeddings on {home}; use inputs.to({home!r}).")
    mask = inputs.get("attention_mask")
    if isinstance(mask, Tensor) and not bool(mask[:, -1].all()):
        raise ValueError("inputs are padded on the right; set processor.tokenizer.padding_side = 'left'.")
    if "input_ids" in inputs:
        _check_placeholders(model, inputs, ids)
    return ids


def _check_placeholders(model: PreTrainedModel, inputs: Mapping[str, Any], ids: Tensor) -> None:
    known = placeholder_ids(model.config)
    masks = modality_masks(model.config, ids)
    given = has_modality_inputs(inputs)
    if masks and not given and inputs.get("mm_encoder_outputs") is None:
        raise ValueError(
            f"The prompt has placeholders for {', '.join(masks)} but the inputs hold no pixel values or audio "
            "features; pass everything the processor returned."
        )
    if known and given and not masks:
        raise ValueError(
            f"The inputs hold pixel values or audio features but the prompt has no placeholder token ({known}); "
            "put the image or audio into the chat template."
        )
    for name, modality in (("image_grid_thw", "image"), ("video_grid_thw", "video")):
        grid = inputs.get(name)
        if isinstance(grid, Tensor) and modality in masks:
            vision = getattr(model.config, "vision_config", None)
            merge = getattr(vision, "spatial_merge_size", 1)
            features = int(grid.prod(-1).sum()) // merge**2
            found = int(masks[modality].sum())
            if features != found:
                raise ValueError(
                    f"The prompt has {found} {modality} placeholders, the {modality}s give {features} features; "
                    "use the processor that belongs to this model."
                )


def check_perceptual(model: PreTrainedModel, masks: Mapping[str, Tensor], rows: int) -> None:
    """Refuse to steer a prompt in which some row has nothing to lean on.

    Raises
    ------
    ValueError
        If there are no perceptual tokens, or some rows have none.
    """
    if not masks:
        raise ValueError(
            f"No perceptual tokens in the prompt of {type(model).__name__}; steering needs an image, a video or audio. "
            f"Placeholders looked for: {placeholder_ids(model.config) or 'none in the config'}. "
            "Pass perceptual= for a model without placeholders."
        )
    total = sum(mask.sum(-1) for mask in masks.values())
    empty = [row for row in range(rows) if int(total[row]) == 0]  # type: ignore[index]
    if empty:
        raise ValueError(f"Rows {empty} of the batch have no perceptual tokens; steer them apart from the others.")


_REFUSED_CACHES = (
    "static",
    "offloaded_static",
    "quantized",
    "offloaded",
    "hybrid",
    "sliding_window",
    "paged",
)


def check_generation(model: PreTrainedModel, kwargs: Mapping[str, Any]) -> None:
    """Refuse generation arguments under which a step has no meaning of its own.

    Raises
    ------
    ValueError
        For assisted decoding, prompt lookup, disabled caches and caches that cannot be forked.
    """
    config = kwargs.get("generation_config") or model.generation_config

    def setting(name: str) -> Any:
        value = kwargs.get(name)
        return getattr(config, name, None) if value is None else value

    if kwargs.get("assistant_model") is not None or setting("prompt_lookup_num_tokens"):
        raise ValueError(
            "Assisted decoding and prompt lookup check several tokens at once; steering decides one token at a time. "
            "Drop assistant_model and prompt_lookup_num_tokens."
        )
    implementation = setting("cache_implementation")
    if implementation in _REFUSED_CACHES:
        raise ValueError(f"cache_implementation={implementation!r} cannot be forked; leave it unset (dynamic).")
    given = given_cache(kwargs)
    if given is not None:
        check_cache(given)
    if setting("use_cache") is False:
        raise ValueError("use_cache=False leaves no keys and values to steer; drop it.")


def check_finite(logits: Tensor) -> None:
    """Refuse NaN or infinite logits.

    Raises
    ------
    FloatingPointError
        Naming the rows.
    """
    finite = torch.isfinite(logits).all(-1)
    if not bool(finite.all()):
        rows = (~finite).nonzero().flatten().tolist()
        raise FloatingPointError(
            f"The model's logits are NaN or infinite in rows {rows}; check the inputs, or use bfloat16 or float32."
        )


def check_policies(model: PreTrainedModel, policies: Sequence[Policy]) -> None:
    """Let policies that can refuse a model do so, such as edits of layers it does not have.

    Raises
    ------
    ValueError
        From the policy's ``check_model(model)`` and ``check(layers)``, called with the number of decoder layers.
    """
    layers = int(model.config.get_text_config().num_hidden_layers)
    for policy in policies:
        knows = getattr(policy, "check_model", None)
        if knows is not None:
            knows(model)
        check = getattr(policy, "check", None)
        if check is not None:
            check(layers)


class FiniteWatch:
    """Watches the logits of a generation without waiting for a device at every token."""

    def __init__(self) -> None:
        self._finite: Tensor | None = None

    def note(self, logits: Tensor, first: bool) -> None:
        """Look at logits at once if they are the first or on the CPU, else remember whether they were finite.

        Raises
        ------
        FloatingPointError
            If they are not.
        """
        if first or logits.device.type == "cpu":
            check_finite(logits)
            return
        finite = torch.isfinite(logits).all()
        self._finite = finite if self._finite is None else self._finite & finite

    def check(self) -> None:
        """Raise if some step met NaN or infinite logits (asked of the device once, at the end)."""
        if self._finite is not None and not bool(self._finite):
            raise FloatingPointError("The model's logits became NaN or infinite while decoding; try bfloat16.")
