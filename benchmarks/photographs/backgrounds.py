"""Backgrounds of scenes: crops of two photographs, sharp or blurred, plain colours and gradients.

The photographs are scikit-learn's two samples, a temple and a flower (``sklearn.datasets.load_sample_images``). Two are
few: a model can learn them by heart. Crops, scales, flips and blur vary them, and half of the backgrounds are painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE: Final = 224
"""Pixels per side of a picture."""
Colour = tuple[int, int, int]
_SMALLEST_CROP: Final = 140
_KINDS: Final = ("photograph", "blurred", "plain", "gradient")
_SHARES: Final = (0.3, 0.2, 0.2, 0.3)
_BLUR: Final = (2.0, 6.0)
_DARKEST: Final = 40


@dataclass(frozen=True)
class Crop:
    """A square part of a sample photograph, scaled to 224 pixels.

    Attributes
    ----------
    source : int
        0 (temple) or 1 (flower).
    left, top, side : int
        Of the square, in pixels of the photograph.
    flip : bool
        Whether left and right are exchanged.
    blur : float
        Standard deviation of the Gaussian blur in pixels of the scene; 0 leaves it sharp.
    """

    source: int
    left: int
    top: int
    side: int
    flip: bool
    blur: float


@dataclass(frozen=True)
class Paint:
    """One colour, or a linear gradient from one to another.

    Attributes
    ----------
    colours : tuple of (int, int, int)
        One or two RGB colours.
    angle : float
        Direction of the gradient in radians; 0 goes from left to right.
    """

    colours: tuple[Colour, ...]
    angle: float


Background = Crop | Paint


def draw_background(rng: np.random.Generator) -> Background:
    """Draw a background: a sharp crop (.3), a blurred one (.2), a plain colour (.2) or a gradient (.3)."""
    kind = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
    if kind in ("plain", "gradient"):
        colours = rng.integers(_DARKEST, 256, (1 if kind == "plain" else 2, 3)).tolist()
        return Paint(tuple((r, g, b) for r, g, b in colours), float(rng.uniform(0, 2 * math.pi)))
    source = int(rng.integers(len(_samples())))
    width, height = _samples()[source].size
    side = int(rng.integers(_SMALLEST_CROP, min(width, height) + 1))
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    flip, blur = bool(rng.integers(2)), float(rng.uniform(*_BLUR))
    return Crop(source, left, top, side, flip, blur if kind == "blurred" else 0.0)


def background_pixels(background: Background) -> NDArray[np.float32]:
    """Return a background in 0 to 255, float32 of shape [224, 224, 3].

    Raises
    ------
    ValueError
        For a photograph or a number of colours that there is not.
    """
    if isinstance(background, Paint):
        return _painted(background)
    if not 0 <= background.source < len(_samples()):
        raise ValueError(f"there is no photograph {background.source}; expected 0 to {len(_samples()) - 1}")
    left, top, side = background.left, background.top, background.side
    picture = _samples()[background.source].resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    if background.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if background.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(background.blur))
    return np.asarray(picture, np.float32)


def _painted(paint: Paint) -> NDArray[np.float32]:
    if len(paint.colours) not in (1, 2):
        raise ValueError(f"a painted background has {len(paint.colours)} colours; expected one, or two for a gradient")
    first, last = np.asarray(paint.colours[0], np.float32), np.asarray(paint.colours[-1], np.float32)
    steps = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    along = math.cos(paint.angle) * steps[None, :] + math.sin(paint.angle) * steps[:, None]
    reach = (abs(math.cos(paint.angle)) + abs(math.sin(paint.angle))) / 2  # of the corners, so that both ends are shown
    share = (along / reach + 1) / 2
    found: NDArray[np.float32] = (first + (last - first) * share[..., None]).astype(np.float32)
    return found


@cache
def _samples() -> tuple[Image.Image, ...]:
    from sklearn.datasets import load_sample_images  # slow to import, and painted backgrounds do without

    return tuple(Image.fromarray(pixels) for pixels in load_sample_images().images)
