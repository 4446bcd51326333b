"""Tints: an object's own colours replaced by one named colour, which is then known by construction."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

TINTS: Final = ("red", "orange", "yellow", "green", "blue", "purple")
"""Names of the colours, each one token of SmolLM2 when a space precedes it."""
RGB: Final = ((212, 22, 30), (240, 128, 16), (240, 214, 30), (30, 150, 50), (35, 75, 215), (135, 45, 175))
"""The colours, in the order of ``TINTS``."""
_LUMA: Final = np.asarray((0.299, 0.587, 0.114), np.float32)
_DARKEST: Final = 0.02
_GAMMAS: Final = (0.25, 4.0)


def tinted(pixels: NDArray[np.uint8], tint: int) -> NDArray[np.uint8]:
    """Return a cut-out in one named colour.

    1. Luminance y = .299 R + .587 G + .114 B, in 0 to 1 (ITU-R BT.601).
    2. y' = y^gamma, with the gamma that takes the median of y over the object to the luminance l of the colour c: light
       and shade keep their order, and a black bear becomes yellow rather than black.
    3. c y' / l where y' is at most l, and c + (1 - c)(y' - l) / (1 - l) above. Both have the luminance y' and exactly
       the hue of c.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGBA, uint8 of shape [H, W, 4].
    tint : int
        Index into ``TINTS``.

    Returns
    -------
    numpy.ndarray
        The same shape, with the alpha that it had.

    Raises
    ------
    ValueError
        If there is no such tint.
    """
    if not 0 <= tint < len(TINTS):
        raise ValueError(f"there is no tint {tint}; expected 0 to {len(TINTS) - 1}, one of {', '.join(TINTS)}")
    colour = np.asarray(RGB[tint], np.float32) / 255
    own = float(colour @ _LUMA)
    luminance = np.clip(pixels[..., :3].astype(np.float32) / 255 @ _LUMA, 0, 1)
    solid = pixels[..., 3] > 127
    middle = float(np.clip(np.median(luminance[solid]), _DARKEST, 1 - _DARKEST)) if solid.any() else own
    shade = (luminance ** np.clip(np.log(own) / np.log(middle), *_GAMMAS))[..., None]
    new = np.where(shade <= own, colour * shade / own, colour + (1 - colour) * (shade - own) / (1 - own))
    found = pixels.copy()
    found[..., :3] = np.rint(np.clip(new, 0, 1) * 255).astype(np.uint8)
    return found
