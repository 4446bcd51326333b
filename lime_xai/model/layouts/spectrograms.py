"""What the inputs hold of a sound: a spectrogram or a waveform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .layout import SoundLayout
from .reading import NotKnown, Reading

Sound = NDArray[np.float32]

_BANDS_FIRST = (
    "qwen2_audio",
    "qwen2_5_omni_thinker",
    "qwen3_omni_moe_thinker",
    "qwen3_asr",
    "voxtral",
    "audioflamingo3",
    "glmasr",
)
"""Families whose ``input_features`` are ``[N, bands, frames]``."""


def spectrograms(reading: Reading, layouts: Sequence[SoundLayout]) -> list[Sound]:
    """Return the spectrogram ``[bands, frames]`` of each sound of a batch, from frame 0 to the end of its last token.

    A sound of several windows has them one after another, as its layout counts its frames.

    Raises
    ------
    NotKnown
        If bands and frames cannot be told apart, or the inputs hold another number of frames.
    """
    windows = _windows(reading)
    found: list[Sound] = []
    used = 0
    for layout in layouts:
        end = _end(layout)
        count = -(-end // windows.shape[-1])
        some = windows[used : used + count]
        used += count
        if len(some) < count:
            raise NotKnown("the inputs hold fewer feature frames than the tokens of the prompt stand for")
        found.append(_joined(reading, some, end))
    if used != len(windows):
        raise NotKnown(f"the inputs hold {len(windows)} windows of feature frames, the sounds of the prompt {used}")
    return found


def waveforms(reading: Reading, layouts: Sequence[SoundLayout]) -> list[Sound]:
    """Return the waveform ``[samples]`` of each sound of a batch, without the padding that ``padding_mask`` tells.

    Raises
    ------
    NotKnown
        If the inputs are no ``[N, samples]`` or ``[N, 1, samples]``, or of another number of sounds.
    """
    values = reading.tensor("input_values")
    if values.dim() == 3 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dim() != 2 or len(values) != len(layouts):
        raise NotKnown(f"input_values of the shape {list(values.shape)} are not the waveforms of {len(layouts)} sounds")
    mask = reading.inputs.get("padding_mask")
    if mask is None:
        return [_float(value) for value in values]
    if mask.shape != values.shape:
        raise NotKnown(f"padding_mask has the shape {list(mask.shape)}, the waveforms {list(values.shape)}")
    return [_float(value[kept.bool()]) for value, kept in zip(values, mask, strict=True)]


def _end(layout: SoundLayout) -> int:
    return max((stop for _, stop in layout.frames), default=0)


def _windows(reading: Reading) -> Tensor:
    """Return ``input_features`` as ``[N, bands, frames]``."""
    features = reading.tensor("input_features")
    if features.dim() != 3:
        raise NotKnown(f"input_features has the shape {list(features.shape)}; expected three axes")
    family = reading.config.model_type
    if family == "granite_speech":
        return features.transpose(1, 2)
    if family in _BANDS_FIRST:
        return features
    bands = getattr(getattr(reading.config, "audio_config", None), "num_mel_bins", None)
    first, last = features.shape[1] == bands, features.shape[2] == bands
    if first == last:
        raise NotKnown(f"which axis of input_features of the shape {list(features.shape)} is frames is not known")
    return features if first else features.transpose(1, 2)


def _joined(reading: Reading, windows: Tensor, end: int) -> Sound:
    """Return windows one after another, up to the frame ``end``."""
    joined = torch.cat(list(windows), 1)[:, :end]
    if reading.config.model_type == "granite_speech":  # a frame of the layout is two of the spectrogram, stacked
        if joined.shape[0] % 2:
            raise NotKnown(f"{joined.shape[0]} bands are not those of two frames")
        bands = joined.shape[0] // 2
        joined = joined.reshape(2, bands, end).permute(1, 2, 0).reshape(bands, 2 * end)
    return _float(joined)


def _float(values: Tensor) -> Sound:
    found: Sound = values.detach().float().cpu().numpy()
    return found
