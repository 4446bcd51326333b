"""The colours of relevance: the same in terminals, figures and HTML.

Red is positive, blue negative, and the part of the colour in a cell is proportional to the absolute relevance: half the
relevance has half the opacity, and zero shows the picture as it is. Red and blue stay apart for every common kind of
colour blindness (protanopia, deuteranopia, tritanopia), which red and green do not; both have nearly the same
luminance, so that neither looks stronger than the other. They are the second colours from the ends of ColorBrewer's
scheme RdBu. The colours of parts of the input are those of Okabe and Ito without red and blue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

POSITIVE: Rgb = (178, 24, 43)
NEGATIVE: Rgb = (33, 102, 172)

OPACITY = 0.9
"""Of a cell with the largest relevance: the picture is seen through the strongest cells too."""

CONTRAST, BRIGHTNESS = 0.55, 1.25
"""Of a picture in grey under a map, as CSS filters take them."""

PARTS = ("#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442")
"""Images, videos and sounds in bars of shares, one after the other."""

PROMPT_COLOUR, ANSWER_COLOUR = "#8c8c8c", "#cfcfcf"
"""Text of the prompt and of the answer in bars of shares."""

_LUMA = (0.299, 0.587, 0.114)


def rgb_of(value: float) -> Rgb:
    """Return the colour of the sign of a relevance."""
    return POSITIVE if value > 0 else NEGATIVE


def hexadecimal(colour: Rgb) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def opacity(value: float, limit: float) -> float:
    """Return the opacity of a cell, 0 to ``OPACITY``, linear in the absolute relevance up to ``limit``."""
    return OPACITY * min(abs(value) / limit, 1.0)


def on_white(value: float, limit: float) -> Rgb:
    """Return the colour of a cell on white."""
    part = opacity(value, limit)
    red, green, blue = (round(255 + part * (side - 255)) for side in rgb_of(value))
    return red, green, blue


def ink_on(colour: Rgb) -> Rgb:
    """Return black or white: what has the larger contrast to a colour, at least 4.5 to 1."""
    linear = [(side / 255 / 12.92) if side <= 10 else ((side / 255 + 0.055) / 1.055) ** 2.4 for side in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else (255, 255, 255)


def greyed(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture ``[H, W]`` or ``[H, W, 3 or 4]`` in light grey ``[H, W, 3]``, so that only maps have colours.

    Whole numbers are 0 to 255, others 0 to 1.
    """
    values = np.asarray(picture, dtype=np.float64)
    if np.asarray(picture).dtype.kind in "ui":
        values = values / 255
    if values.ndim == 3:
        values = values[..., :3] @ np.array(_LUMA) if values.shape[-1] >= 3 else values[..., 0]
    grey = (((values.clip(0, 1) - 0.5) * CONTRAST + 0.5) * BRIGHTNESS).clip(0, 1)
    return np.repeat(np.round(grey * 255).astype(np.uint8)[..., None], 3, -1)
