"""Scenes: photographed objects that stand anywhere on a background and partly cover each other.

Everything about a scene is known exactly: which objects there are, their boxes, their visible pixels, the colour of
tinted ones, and what is behind each. No object tells anything about another, beyond not being drawn twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .backgrounds import SIDE, background_pixels, draw_background
from .catalogue import Catalogue
from .placed import Box, PhotoScene, Placed, emptied, erased, scene_from_json, scene_to_json
from .tints import TINTS, tinted

__all__ = [
    "DIFFICULTIES",
    "Box",
    "Difficulty",
    "PhotoScene",
    "Placed",
    "alphas",
    "draw",
    "emptied",
    "erased",
    "masks",
    "noisy",
    "render",
    "scene_from_json",
    "scene_to_json",
    "tokens_of",
    "visible_shares",
]

VISIBLE_SHARE: Final = 0.6
"""Of the pixels of each object, the least share that no later object covers."""
TINT_SHARE: Final = 0.4
"""Probability that an object has one of ``TINTS`` instead of its own colours."""
FEWEST, MOST = 2, 5
"""Objects per scene."""
GRID, TOKEN_SIDE = 8, 28
"""Image tokens per side, and pixels per side of a token."""
TOKEN_SHARE: Final = 0.02
"""Least share of an object's visible pixels in a token that shows it."""
HALF: Final = 0.5
"""A pixel belongs to an object that makes up more than this part of it."""
_LONGEST: Final = 208
_PLACES_TRIED, _SCENES_TRIED = 40, 200


@dataclass(frozen=True)
class Difficulty:
    """How hard scenes are to see.

    Attributes
    ----------
    sizes : (float, float)
        Range of the square root of the area of an object's box, in pixels; its logarithm is drawn uniformly.
    noise : float
        Standard deviation of the pixel noise that ``noisy`` adds, as a fraction of 255.
    """

    sizes: tuple[float, float]
    noise: float


DIFFICULTIES: Final[Mapping[str, Difficulty]] = MappingProxyType(
    {
        "easy": Difficulty((56.0, 96.0), 0.0),
        "moderate": Difficulty((44.0, 98.0), 0.0),
        "medium": Difficulty((36.0, 100.0), 0.0),
        "hard": Difficulty((26.0, 72.0), 0.1),
    }
)
"""Training scenes are of ``medium``."""


def draw(rng: np.random.Generator, catalogue: Catalogue, difficulty: Difficulty = DIFFICULTIES["medium"]) -> PhotoScene:
    """Draw a scene of two to five different objects.

    Number, classes, photographs, flips, tints and background are uniform, each independent of the rest. Only sizes and
    places are drawn again until each object is visible enough, so that no class is rarer for being hard to place.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    catalogue : Catalogue
        The cut-outs.
    difficulty : Difficulty
        Of which ``sizes`` is used.

    Returns
    -------
    PhotoScene
        Of each object at least ``VISIBLE_SHARE`` is visible, exactly.

    Raises
    ------
    RuntimeError
        If objects of these sizes cannot be placed so.
    """
    background = draw_background(rng)
    chosen = rng.permutation(len(catalogue.names))[: int(rng.integers(FEWEST, MOST + 1))].tolist()
    plain = [
        Placed(
            obj,
            int(rng.integers(len(catalogue.cutouts[obj]))),
            (0, 0, 1, 1),
            bool(rng.integers(2)),
            int(rng.integers(len(TINTS))) if rng.random() < TINT_SHARE else None,
        )
        for obj in chosen
    ]
    for _ in range(_SCENES_TRIED):
        objects = _placed(rng, catalogue, plain, difficulty)
        if objects is not None:
            return PhotoScene(background, objects)
    raise RuntimeError(
        f"{len(plain)} objects of {difficulty.sizes} pixels could not be placed with {VISIBLE_SHARE:.0%} of each "
        "visible; give a difficulty with smaller sizes"
    )


def _placed(
    rng: np.random.Generator, catalogue: Catalogue, objects: Sequence[Placed], difficulty: Difficulty
) -> tuple[Placed, ...] | None:
    """Return objects with boxes, of which each leaves the earlier ones visible; None if one found no place."""
    done: list[Placed] = []
    alpha = np.zeros((len(objects), SIDE, SIDE), np.float32)
    for index, one in enumerate(objects):
        for _ in range(_PLACES_TRIED):
            placed = replace(one, box=_draw_box(rng, catalogue, one, difficulty))
            alpha[index] = _alpha(placed, catalogue)
            if min(_shares(alpha[: index + 1])) >= VISIBLE_SHARE:
                done.append(placed)
                break
        else:
            return None
    return tuple(done)


def _draw_box(rng: np.random.Generator, catalogue: Catalogue, placed: Placed, difficulty: Difficulty) -> Box:
    low, high = difficulty.sizes
    size = math.exp(rng.uniform(math.log(low), math.log(high)))
    stretch = math.sqrt(catalogue.cutouts[placed.obj][placed.cutout].aspect)
    scale = min(1.0, _LONGEST / (size * max(stretch, 1 / stretch)))
    width, height = max(1, round(size * stretch * scale)), max(1, round(size / stretch * scale))
    left, top = int(rng.integers(SIDE - width + 1)), int(rng.integers(SIDE - height + 1))
    return left, top, left + width, top + height


def alphas(scene: PhotoScene, catalogue: Catalogue) -> NDArray[np.float32]:
    """Return how far each object would cover each pixel if nothing stood before it, [objects, 224, 224] in 0 to 1."""
    found = [_alpha(placed, catalogue) for placed in scene.objects]
    return np.stack(found) if found else np.zeros((0, SIDE, SIDE), np.float32)


def _alpha(placed: Placed, catalogue: Catalogue) -> NDArray[np.float32]:
    left, top, right, bottom = placed.box
    found = np.zeros((SIDE, SIDE), np.float32)
    # Pillow scales the bands of a picture one by one, so alpha alone becomes what it becomes in `render`.
    found[top:bottom, left:right] = _scaled(catalogue.cutouts[placed.obj][placed.cutout].alpha, placed)
    found /= 255
    return found


def masks(scene: PhotoScene, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Return the visible pixels of each object: those of which it makes up more than half.

    The part of a pixel that object i makes up is a_i times the product of 1 - a_j over the later objects j, where a is
    the alpha of the scaled cut-out.

    Returns
    -------
    numpy.ndarray
        Bool of shape [objects, 224, 224], in the order of ``scene.objects``. Masks do not overlap.
    """
    return _visible(alphas(scene, catalogue))


def _visible(alpha: NDArray[np.float32]) -> NDArray[np.bool_]:
    shown, clear = np.empty_like(alpha, bool), np.ones((SIDE, SIDE), np.float32)
    for index in reversed(range(len(alpha))):
        shown[index] = alpha[index] * clear > HALF
        clear = clear * (1 - alpha[index])
    return shown


def visible_shares(scene: PhotoScene, catalogue: Catalogue) -> tuple[float, ...]:
    """Return for each object the share of its own pixels (alpha above half) that later ones leave visible."""
    return _shares(alphas(scene, catalogue))


def _shares(alpha: NDArray[np.float32]) -> tuple[float, ...]:
    own = (alpha > HALF).sum((1, 2))
    return tuple((_visible(alpha).sum((1, 2)) / np.maximum(own, 1)).tolist())


def tokens_of(mask: NDArray[np.bool_], share: float = TOKEN_SHARE) -> tuple[int, ...]:
    """Return the image tokens that show an object.

    Parameters
    ----------
    mask : numpy.ndarray
        Its visible pixels, bool of shape [224, 224].
    share : float
        Least share of these pixels in a token.

    Returns
    -------
    tuple of int
        Indices into the 64 tokens, row by row, ascending; the fullest token is always among them.

    Raises
    ------
    ValueError
        If the mask has another shape or is empty.
    """
    if mask.shape != (SIDE, SIDE) or not mask.any():
        raise ValueError(f"the mask has shape {mask.shape} and {mask.sum()} pixels; expected [224, 224] with some")
    counts = mask.reshape(GRID, TOKEN_SIDE, GRID, TOKEN_SIDE).sum((1, 3)).reshape(-1)
    return tuple(np.flatnonzero((counts >= share * counts.sum()) | (counts == counts.max())).tolist())


def render(scene: PhotoScene, catalogue: Catalogue) -> Image.Image:
    """Return the picture of a scene, RGB of 224 x 224 pixels, without noise."""
    canvas = background_pixels(scene.background).copy()
    for placed in scene.objects:
        left, top, right, bottom = placed.box
        pixels = _scaled(catalogue.cutouts[placed.obj][placed.cutout].pixels, placed)
        if placed.tint is not None:
            pixels = tinted(pixels, placed.tint)
        alpha = pixels[..., 3:].astype(np.float32) / 255
        behind = canvas[top:bottom, left:right]
        canvas[top:bottom, left:right] = behind * (1 - alpha) + pixels[..., :3] * alpha
    return Image.fromarray(np.rint(canvas).astype(np.uint8))


def noisy(image: Image.Image, noise: float, rng: np.random.Generator) -> Image.Image:
    """Return a picture with Gaussian pixel noise; ``noise`` is its standard deviation as a fraction of 255."""
    pixels = np.asarray(image, np.float32) + 255 * noise * rng.standard_normal((*image.size[::-1], 3), np.float32)
    return Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))


def _scaled(pixels: NDArray[np.uint8], placed: Placed) -> NDArray[np.uint8]:
    """Return a cut-out, or its alpha, at the size of the box of an object."""
    left, top, right, bottom = placed.box
    picture = Image.fromarray(pixels).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    return np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if placed.flip else picture)
