"""Colours of pixels that a processor normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Colours = NDArray[np.uint8]

_OUTSIDE = 32.0
"""Levels by which colours may leave 0 to 255: a cubic resize in floating point overshoots at edges."""


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What a processor did to colours from 0 to 255.

    Attributes
    ----------
    mean, std : Tensor
        ``[3, 1, 1]``, subtracted and divided by after the factor.
    factor : float
        Multiplied with first.
    """

    mean: Tensor
    std: Tensor
    factor: float

    def undone(self, pixels: Tensor) -> Tensor:
        """Return the colours of pixels ``[3, H, W]``."""
        return (pixels * self.std + self.mean) / self.factor


def normalisation(processor: Any, name: str) -> Normalisation | str:
    """Return what the ``image_processor`` or ``video_processor`` of a processor does, or why it is not known."""
    if processor is None:
        return "the processor, which knows their mean, was not given"
    own = getattr(processor, name, None)
    if own is None:
        return f"the processor that was given has no {name}, which knows their mean"
    mean, std, factor = (getattr(own, key, None) for key in ("image_mean", "image_std", "rescale_factor"))
    if getattr(own, "do_normalize", None) is None or getattr(own, "do_rescale", None) is None:
        return f"the {name} does not say whether it normalises"
    if not own.do_normalize:
        mean, std = 0.0, 1.0
    if not own.do_rescale:
        factor = 1.0
    if mean is None or std is None or factor is None:
        return f"the {name} does not say its mean, deviation and factor"
    return Normalisation(_channels(mean), _channels(std), float(factor))


def _channels(value: float | Sequence[float]) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1)


def coloured(pixels: Sequence[Tensor], known: Normalisation | str) -> tuple[list[Colours], str | None]:
    """Return the colours ``[H, W, 3]`` of the tiles ``[3, H, W]`` of one picture, and a note if they are not its own.

    Where the normalisation is not known, or does not give colours, the smallest number of all tiles becomes black and
    the largest white.
    """
    if isinstance(known, str):
        return _stretched(pixels), f"colours are stretched to the range of the inputs: {known}"
    undone = [known.undone(one) for one in pixels]
    low, high = (float(value) for value in _range(undone))
    if low < -_OUTSIDE or high > 255 + _OUTSIDE:
        reason = f"undoing the processor's normalisation gives {low:.0f} to {high:.0f}, and colours are 0 to 255"
        return _stretched(pixels), f"colours are stretched to the range of the inputs: {reason}"
    return [_bytes(one) for one in undone], None


def _stretched(pixels: Sequence[Tensor]) -> list[Colours]:
    low, high = _range(pixels)
    width = (high - low) or 1.0
    return [_bytes((one - low) / width * 255) for one in pixels]


def _range(pixels: Sequence[Tensor]) -> tuple[float, float]:
    """Return the smallest and the largest finite number."""
    finite = torch.cat([one[one.isfinite()] for one in pixels])
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _bytes(colours: Tensor) -> Colours:
    found: Colours = colours.nan_to_num(0.0).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return found
