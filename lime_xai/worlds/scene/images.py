"""Pictures of scenes: vectorised rendering, erasing an object, and which image tokens show which cell."""

from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .objects import CELL_SIZE, CELLS, CLASSES, GRID, IMAGE_SIZE, PATCHES_PER_SIDE, RGB
from .scenes import EMPTY, Scene, as_arrays

# sprites.png holds one 64x64 mask per class, in the order of CLASSES: the glyphs of
# U+2615 260E 2601 2602 2600 2693 2665 273F 265E 265B 2709 270E in matplotlib's DejaVu Sans, drawn once
# (the font's licence permits derived images), so that pictures do not depend on the fonts of a machine.
_SPRITE_FILE = "sprites.png"
_VARIANTS = 48
_JITTER_SEED = 0

Range = float | tuple[float, float]


@cache
def _sprites() -> NDArray[np.float32]:
    """Masks [12, 48, 36, 36] in [0, 1]: every glyph in 48 scales, rotations and offsets within a cell."""
    with resources.files(__package__).joinpath(_SPRITE_FILE).open("rb") as file:
        sheet = Image.open(file).convert("L")
    side = sheet.height
    rng = np.random.default_rng(_JITTER_SEED)
    bank = np.zeros((len(CLASSES), _VARIANTS, CELL_SIZE, CELL_SIZE), np.float32)
    for c in range(len(CLASSES)):
        glyph = sheet.crop((c * side, 0, (c + 1) * side, side))
        for v in range(_VARIANTS):
            size = int(rng.integers(24, 35))
            turned = glyph.rotate(float(rng.uniform(-14, 14)), Image.Resampling.BICUBIC)
            x, y = rng.integers(0, CELL_SIZE - size + 1, 2).tolist()
            small = turned.resize((size, size), Image.Resampling.LANCZOS)
            bank[c, v, y : y + size, x : x + size] = np.asarray(small, np.float32) / 255
    bank.flags.writeable = False
    return bank


def _bounds(name: str, value: Range, top: float) -> tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 <= low <= high <= top:
        raise ValueError(f"{name} is {value}; expected a number or a (low, high) range within 0 and {top:g}")
    return float(low), float(high)


def object_masks(rng: np.random.Generator, scenes: Sequence[Scene]) -> NDArray[np.float32]:
    """Draw which glyph variants stand in the cells of scenes: the first draw of ``render``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness; in the state in which ``render`` is given it, the masks are those of its pictures.
    scenes : sequence of Scene
        What is drawn.

    Returns
    -------
    numpy.ndarray
        Coverage of each pixel of each cell, 0 to 1, float32 of shape [B, 4, 36, 36]; 0 in empty cells.
    """
    classes, _ = as_arrays(scenes)
    variants = rng.integers(0, _VARIANTS, (len(classes), CELLS))
    found: NDArray[np.float32] = _sprites()[np.maximum(classes, 0), variants] * (classes != EMPTY)[..., None, None]
    return found


def render(
    rng: np.random.Generator, scenes: Sequence[Scene], *, noise: Range = 0.2, opacity: Range = (0.5, 1.0)
) -> NDArray[np.uint8]:
    """Draw scenes.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness: glyph variants, shades and pixel noise.
    scenes : sequence of Scene
        What to draw.
    noise : float or (float, float)
        Standard deviation of the pixel noise as a fraction of 255; a range is drawn from once per image.
    opacity : float or (float, float)
        How strongly an object covers the background, 0 to 1; a range is drawn from once per object.

    Returns
    -------
    numpy.ndarray
        RGB images, uint8 of shape [B, 72, 72, 3].

    Raises
    ------
    ValueError
        If a range is empty or leaves its bounds.
    """
    noise_range, opacity_range = _bounds("noise", noise, 4.0), _bounds("opacity", opacity, 1.0)
    classes, colours = as_arrays(scenes)
    count = len(classes)
    masks = object_masks(rng, scenes)
    masks = masks * rng.uniform(*opacity_range, (count, CELLS, 1, 1)).astype(np.float32)
    inks = np.asarray(RGB)[np.maximum(colours, 0)] + rng.normal(0, 12, (count, CELLS, 3))
    shades = np.clip(inks, 0, 255).astype(np.float32)[:, :, None, None, :]
    greys, tints = rng.uniform(195, 245, (count, 1, 1, 1, 1)), rng.normal(0, 5, (count, 1, 1, 1, 3))
    paper = (greys + tints).astype(np.float32)
    cells = paper + (shades - paper) * masks[..., None]
    grid = cells.reshape(count, GRID, GRID, CELL_SIZE, CELL_SIZE, 3).transpose(0, 1, 3, 2, 4, 5)
    pixels = grid.reshape(count, IMAGE_SIZE, IMAGE_SIZE, 3)
    deviation = rng.uniform(*noise_range, (count, 1, 1, 1)).astype(np.float32) * 255
    pixels = pixels + deviation * rng.standard_normal(pixels.shape, np.float32)
    drawn: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return drawn


def erase(image: Image.Image, scene: Scene, obj: int, *, noise: float, rng: np.random.Generator) -> Image.Image:
    """Paint background noise over the cell of an object, so that only text can still speak for it.

    Parameters
    ----------
    image : PIL.Image.Image
        Picture of the scene, 72x72.
    scene : Scene
        The scene that was drawn.
    obj : int
        Class index of the object to remove.
    noise : float
        Standard deviation of the new pixels as a fraction of 255: use that of the picture.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    PIL.Image.Image
        A new picture; the other three cells are unchanged.

    Raises
    ------
    ValueError
        If the picture has another size or the object is not in the scene.
    """
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"the image has size {image.size}; expected {(IMAGE_SIZE, IMAGE_SIZE)}, as drawn by render")
    row, column = divmod(scene.cell_of(obj), GRID)
    pixels = np.array(image.convert("RGB"))
    paper = np.median(pixels, axis=(0, 1))
    fresh = paper + rng.normal(0, 255 * noise, (CELL_SIZE, CELL_SIZE, 3))
    top, left = row * CELL_SIZE, column * CELL_SIZE
    pixels[top : top + CELL_SIZE, left : left + CELL_SIZE] = np.clip(fresh, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def token_cells() -> NDArray[np.int64]:
    """Return the cell (0 to 3) that each of the 36 image tokens shows, shape [36]."""
    side = np.arange(PATCHES_PER_SIDE) // (PATCHES_PER_SIDE // GRID)
    return (side[:, None] * GRID + side[None, :]).reshape(-1).astype(np.int64)


def cell_tokens(cell: int) -> tuple[int, ...]:
    """Return the image tokens that show a cell: the ground-truth region of the object in it.

    Parameters
    ----------
    cell : int
        Cell in reading order, 0 to 3; ``scene.cell_of(obj)`` gives an object's.

    Returns
    -------
    tuple of int
        Nine indices into the 36 image tokens of a picture.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    if not 0 <= cell < CELLS:
        raise ValueError(f"cell {cell} is out of range; a scene has cells 0 to {CELLS - 1}")
    return tuple(np.flatnonzero(token_cells() == cell).tolist())
