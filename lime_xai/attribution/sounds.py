"""Sounds as pictures: the spectrogram or the waveform that the model received."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lime_xai.model.layouts.pictures import Received

WIDTH, HEIGHT = 900, 150
"""Pixels of a waveform."""

PAPER, INK = 255, 90
"""Grey levels."""


def sound_picture(received: Received) -> NDArray[np.uint8]:
    """Return a sound as a grey picture ``[H, W, 3]``.

    A spectrogram has low frequencies at the bottom and dark loud bins, scaled to its own range. A waveform shows the
    range of the samples of each column, scaled to its largest absolute one.
    """
    values = np.asarray(received.pictures[0], dtype=np.float32)
    grey = _waveform(values) if received.kind == "waveform" else _spectrogram(values)
    return np.repeat(grey[..., None], 3, -1)


def _spectrogram(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    loud = (values - low) / max(high - low, 1e-12)
    return (PAPER - loud[::-1] * (PAPER - INK)).astype(np.uint8)


def _waveform(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the picture of a waveform: a line; columns of short sounds are between samples."""
    if len(values) < WIDTH:
        values = np.interp(np.linspace(0, len(values) - 1, WIDTH), np.arange(len(values)), values).astype(np.float32)
    edges = np.linspace(0, len(values), WIDTH + 1).astype(int)[:-1]
    largest = max(float(np.abs(values).max()), 1e-12)
    following = values[np.append(edges[1:], len(values) - 1)]  # a column goes on to where the next begins
    lows = np.minimum(np.minimum.reduceat(values, edges), following) / largest
    highs = np.maximum(np.maximum.reduceat(values, edges), following) / largest
    heights = np.linspace(1, -1, HEIGHT)[:, None]
    half = 1 / HEIGHT
    inside = (heights >= lows[None] - half) & (heights <= highs[None] + half)
    return np.where(inside, INK, PAPER).astype(np.uint8)
