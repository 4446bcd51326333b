"""Checks of models, inputs and logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.storage.weights import check_loaded

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
        device, or in training mode.
    """
    replayer = Replayer(model)
    check_loaded(model)
    check_mode(model)
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
        For an empty batch, right padding, or tensors on another device.
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
    check_devices(model, inputs)
    mask = inputs.get("attention_mask")
    if isinstance(mask, Tensor) and not bool(mask[:, -1].all()):
        raise ValueError("inputs are padded on the right; set processor.tokenizer.padding_side = 'left'.")
    return ids


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


class FiniteWatch:
    """Checks the logits of a generation without a device synchronisation at every token."""

    def __init__(self) -> None:
        self._finite: Tensor | None = None

    def note(self, logits: Tensor, first: bool) -> None:
        """Check logits at once if they are the first or on the CPU; otherwise record it on the device.

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
        """Raise if a step had NaN or infinite logits; called once, after the last token."""
        if self._finite is not None and not bool(self._finite):
            raise FloatingPointError("The model's logits became NaN or infinite while decoding; try bfloat16.")
