"""A prompt's decoder call without some of its positions, as if they had never been in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lime_xai.model.decoder_call import DEEP_FEATURES, VISUAL_MASK, DecoderCall


def without_positions(
    prompt: DecoderCall, attended: Tensor, kept: Tensor, order: Tensor, window: int | None
) -> tuple[DecoderCall, Tensor]:
    """Return a prompt's call with some of its positions, moved together, and by how much its position ids shrink.

    The encoders do not run again: embeddings of what is kept, an image beside a sound for example, are those of the
    prompt. Position ids after a run of removed positions become smaller by what the run takes up, on every axis.

    Parameters
    ----------
    prompt : DecoderCall
        ``T`` positions.
    attended, kept : Tensor
        ``[B, T]`` bool: the prompt without padding, and what is kept of it.
    order : Tensor
        ``[B, n]``: for each row, what the new call holds: padding, then what is kept, in order.
    window : int or None
        Width of the decoder's sliding layers.

    Returns
    -------
    call : DecoderCall
        ``n`` positions, padded on the left.
    removed : Tensor
        ``[B]``, or ``[A, B]`` for position ids on ``A`` axes: what is subtracted from position ids after the prompt.

    Raises
    ------
    ValueError
        If removed positions share position ids with what is kept, as the sound track of a video does, or end the
        prompt.
    NotImplementedError
        For a mask of sliding layers that the model makes for this prompt alone.
    """
    order = order.to(kept.device)
    seen = kept.gather(1, order)
    kwargs: dict[str, Any] = {}
    for name, value in prompt.kwargs.items():
        if name == "attention_mask":
            kwargs[name] = _mask(value, order, seen, window)
        elif name == VISUAL_MASK and isinstance(value, Tensor):
            kwargs[name] = value.gather(1, order.to(value.device)) & seen.to(value.device)
        elif name == DEEP_FEATURES and prompt.visual_mask is not None:
            visual = prompt.visual_mask
            kwargs[name] = [features[kept.to(visual.device)[visual].to(features.device)] for features in value]
        elif name != "position_ids":
            kwargs[name] = _taken(value, order)
    ids = prompt.kwargs.get("position_ids")
    if isinstance(ids, Tensor):
        kwargs["position_ids"], removed = _positions(ids, attended, kept, order)
    else:  # the decoder counts slots of its cache
        removed = torch.full(kept.shape[:1], kept.shape[1] - order.shape[1], device=kept.device)
    embeddings = _taken(prompt.embeddings, order)
    return DecoderCall(embeddings, kwargs), removed


def _taken(value: Any, order: Tensor) -> Any:
    """Return a tensor ``[B, T, ...]``, or ``[1, T, ...]`` for all rows, at chosen positions; anything else as it is."""
    batch, _ = order.shape
    if not isinstance(value, Tensor) or value.dim() < 2 or value.shape[0] not in (1, batch):
        return value
    index = order.to(value.device).reshape(*order.shape, *[1] * (value.dim() - 2))
    return value.expand(batch, *value.shape[1:]).take_along_dim(index, 1)


def _mask(mask: Any, order: Tensor, seen: Tensor, window: int | None) -> Any:
    if isinstance(mask, Mapping):
        widths = {name: window if "sliding" in name else None for name in mask}
        return {
            name: _causal(seen, widths[name]) if part is None else _mask(part, order, seen, widths[name])
            for name, part in mask.items()
        }
    if not isinstance(mask, Tensor) or mask.dim() == 2:
        return seen.long()
    if window is not None and mask.shape[-1] > window:
        raise NotImplementedError(
            "A part of this prompt cannot be taken out of it: the model makes the mask of its sliding layers for the "
            "whole prompt, which is longer than their window. Use Contrast('slot') or Contrast('noise')."
        )
    order, seen = order.to(mask.device), seen.to(mask.device)
    whole = mask.expand(len(order), *mask.shape[1:])
    found = whole.take_along_dim(order[:, None, :, None], 2).take_along_dim(order[:, None, None], 3)
    hidden = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    return found.masked_fill(~seen[:, None, None], hidden)


def _causal(seen: Tensor, window: int | None) -> Tensor | None:
    """Return the mask ``[B, 1, n, n]`` of a layer whose mask was None: causal, without padding; None if it is that."""
    length = seen.shape[1]
    if bool(seen.all()) and (window is None or length <= window):
        return None
    places = torch.arange(length, device=seen.device)
    distance = places[:, None] - places
    allowed = (distance >= 0) & (distance < (window or length))
    return allowed & seen[:, None, None]


def _positions(ids: Tensor, attended: Tensor, kept: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return position ids ``[(A,) B, n]`` without the gaps of what was removed, and the sum of the gaps."""
    axes = ids if ids.dim() == 3 else ids[None]
    axes = axes.expand(-1, len(kept), -1)
    gaps = torch.zeros_like(axes)
    for row in range(len(kept)):
        for start, stop in _runs(attended[row] & ~kept[row]):
            before = axes[:, row, :start][:, attended[row, :start].to(axes.device)]
            after, own = axes[:, row, stop:], axes[:, row, start:stop]
            if not after.numel():
                raise ValueError(
                    f"Row {row} ends with what is to be taken out of it; a prompt ends with text. "
                    "Use Contrast('slot') or Contrast('noise')."
                )
            low, high = own.amin(-1), own.amax(-1)
            apart = bool((high < after.amin(-1)).all()) and (not before.numel() or bool((before.amax(-1) < low).all()))
            if not apart:
                raise ValueError(
                    f"Positions {start} to {stop - 1} of row {row} cannot be taken out of the prompt: they share "
                    "position ids with what is kept, as the sound track of a video does. Use Contrast('slot') or "
                    "Contrast('noise'), or name both modalities."
                )
            gaps[:, row, stop:] += (after[:, 0] - own[:, 0])[:, None]
    chosen = order.to(axes.device)[None].expand(len(axes), -1, -1)
    padding = ~kept.gather(1, order).to(axes.device)
    found = (axes - gaps).gather(2, chosen).masked_fill(padding[None], 0)
    removed = gaps[:, :, -1]
    return (found, removed) if ids.dim() == 3 else (found[0], removed[0])


def _runs(mask: Tensor) -> list[tuple[int, int]]:
    """Return start and stop of the runs of True in ``[T]``."""
    padded = torch.nn.functional.pad(mask.long(), (1, 1))
    edges = padded.diff().nonzero()[:, 0].tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
