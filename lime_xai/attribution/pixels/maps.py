"""Maps of pictures and sounds: what a model was given, put back into rows and columns.

Values are summed over colours. Pixels are those of the picture as the model received it, after the processor's
resizing, cropping and cutting into tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lime_xai.model.records import ShortRepr

SIZES = ("_grid_thw", "grid_thws", "grid_hws", "image_sizes", "target_sizes", "tgt_sizes")
"""Ends of the names of inputs that say how pixels are ordered, or which of them are padding."""

PATCHED = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    *("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker", "glm4v", "glm46v", "glm4v_moe"),
)
"""Model types whose processors cut pictures into patches as Qwen2-VL's does (``patched``)."""


@dataclass(frozen=True, eq=False, repr=False)
class PixelMap(ShortRepr):
    """One picture, tile, video, sound or window of a sound.

    Attributes
    ----------
    signal : str
        The input that it is in, ``pixel_values`` for example.
    kind : str
        ``picture``, ``video``, ``spectrogram``, ``waveform`` or ``unknown``.
    values : Tensor or None
        ``[H, W]``, ``[frames, H, W]``, ``[bands, frames]`` or ``[samples]``; None if unknown.
    reason : str
        Why it is unknown.
    """

    signal: str
    kind: str
    values: Tensor | None = None
    reason: str = ""


def pixel_maps(signal: str, values: Tensor, companions: Mapping[str, Any], config: Any) -> list[PixelMap]:
    """Return the maps of one input.

    Parameters
    ----------
    signal : str
        Its name.
    values : Tensor
        Of the input's shape: relevance, or the input itself.
    companions : mapping of str to Tensor
        Inputs that describe it: ``image_grid_thw``, ``video_grid_thw``, ``image_sizes``.
    config : PreTrainedConfig
        Of the model.

    Returns
    -------
    list of PixelMap
        In the order of the input.
    """
    if signal.startswith("input_"):
        return _sounds(signal, values, config)
    grid = companions.get("video_grid_thw" if "video" in signal else "image_grid_thw")
    if values.dim() == 2 and isinstance(grid, Tensor):
        return _patches(signal, values, grid, config)
    if values.dim() >= 4 and values.shape[-3] in (1, 3) and all(name == "image_sizes" for name in companions):
        return _pictures(signal, values, companions, config)
    return [PixelMap(signal, "unknown", reason=f"the order of pixels in {signal} {tuple(values.shape)} is not known")]


def _pictures(signal: str, values: Tensor, companions: Mapping[str, Any], config: Any) -> list[PixelMap]:
    """Return pictures or tiles ``[..., C, H, W]`` one by one, and videos ``[N, frames, C, H, W]`` whole."""
    summed = values.sum(-3)
    if "video" in signal and summed.dim() == 4:
        return [PixelMap(signal, "video", video) for video in summed]
    pieces = list(summed.flatten(0, -3))
    sizes = companions.get("image_sizes")
    tower = getattr(getattr(config, "vision_config", None), "model_type", "")
    if tower == "pixtral" and isinstance(sizes, Tensor) and len(sizes) == len(pieces):
        # pictures of different size are padded to one tensor, at the right and below
        pieces = [piece[:height, :width] for piece, (height, width) in zip(pieces, sizes.tolist(), strict=True)]
    return [PixelMap(signal, "picture", piece) for piece in pieces]


def _patches(signal: str, values: Tensor, grid: Tensor, config: Any) -> list[PixelMap]:
    vision = getattr(config, "vision_config", None)
    names = ("patch_size", "temporal_patch_size", "spatial_merge_size")
    sizes = [getattr(vision, name, None) for name in names]
    if config.model_type not in PATCHED or not all(isinstance(size, int) for size in sizes):
        reason = f"the order of pixels in the patches of {config.model_type} is not known"
        return [PixelMap(signal, "unknown", reason=reason)]
    patch, times, merge = (int(size) for size in sizes if size is not None)
    counts = grid.prod(-1).tolist()
    if sum(counts) != len(values) or values.shape[1] % (times * patch**2):
        return [PixelMap(signal, "unknown", reason=f"{signal} {tuple(values.shape)} does not fit {grid.tolist()}")]
    found = []
    for part, (frames, rows, columns) in zip(torch.split(values, counts), grid.tolist(), strict=True):
        video = patched(part, (frames, rows, columns), patch, times, merge)
        still = "video" not in signal
        found.append(PixelMap(signal, "picture" if still else "video", video.sum(0) if still else video))
    return found


def patched(values: Tensor, grid: tuple[int, int, int], patch: int, times: int, merge: int) -> Tensor:
    """Return patches in Qwen2-VL's order as frames, summed over colours.

    Blocks of ``merge`` x ``merge`` patches follow each other row by row, and patches within a block likewise. A patch
    holds colours, then ``times`` frames, rows and columns of pixels. A still picture is repeated in ``times`` frames.

    Parameters
    ----------
    values : Tensor
        ``[t * h * w, C * times * patch * patch]``.
    grid : tuple of int
        ``(t, h, w)``, in patches.
    patch, times, merge : int
        Side of a patch in pixels, frames of a patch, side of a block in patches.

    Returns
    -------
    Tensor
        ``[t * times, h * patch, w * patch]``.
    """
    frames, rows, columns = grid
    cut = values.reshape(frames, rows // merge, columns // merge, merge, merge, -1, times, patch, patch).sum(5)
    #                    0       1              2                 3      4          5      6      7
    return cut.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(frames * times, rows * patch, columns * patch)


def _sounds(signal: str, values: Tensor, config: Any) -> list[PixelMap]:
    bands = getattr(getattr(config, "audio_config", None), "num_mel_bins", None)
    if values.dim() == 3 and values.shape[1] == bands:
        return [PixelMap(signal, "spectrogram", one) for one in values]
    if signal == "input_values" and values.dim() == 2 + (values.dim() == 3 and values.shape[1] == 1):
        return [PixelMap(signal, "waveform", one.flatten()) for one in values]
    reason = f"which axis of {signal} {tuple(values.shape)} is time and which frequency is not known"
    return [PixelMap(signal, "unknown", reason=reason)]
