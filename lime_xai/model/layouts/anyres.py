"""LLaVA-Next and its relatives: an overview, and the picture in higher resolution without its padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from .grids import patch_grid
from .layout import Box, ImageLayout, Layout, Tile
from .reading import NotKnown, Reading, register_layout

_STRATEGY = "vision_feature_select_strategy"


@register_layout("llava_next", "llava_next_video")
def anyres(reading: Reading) -> list[Layout]:
    """Overview of ``side`` x ``side`` tokens, then rows of the whole picture, each with a newline token after it."""
    side = _side(reading)
    return [_image(reading, side, (height, width), None) for height, width in reading.tensor("image_sizes").tolist()]


@register_layout("llava_onevision")
def anyres_max(reading: Reading) -> list[Layout]:
    """As ``anyres``, shrunk to a largest number of tokens; pictures of a prompt with several have an overview only."""
    side = _side(reading)
    most = reading.inputs.get("vision_aspect_ratio") or reading.config.vision_aspect_ratio
    sizes = reading.tensor("image_sizes").tolist()
    counts = reading.inputs.get("batch_num_images")
    single = [True] * len(sizes) if counts is None else [int(n) == 1 for n in counts for _ in range(int(n))]
    return [
        _image(reading, side, (height, width), int(most.removeprefix("anyres_max_")))
        if alone
        else _padded(reading, side, height, width)
        for (height, width), alone in zip(sizes, single, strict=True)
    ]


def _side(reading: Reading) -> int:
    """Return rows, which are columns, of the tokens of one tile."""
    rows, columns = patch_grid(reading)
    vision = reading.config.vision_config
    if rows != columns or rows != vision.image_size // vision.patch_size:
        raise NotKnown(f"the tiles have {rows} x {columns} patches, the vision config says otherwise")
    return rows


@dataclass(frozen=True)
class Canvas:
    """Tiles of higher resolution, and where the picture lies in them; the rest is padding.

    Attributes
    ----------
    down, across : int
        Tiles.
    top, left : int
        First row and column of the picture, in pixels of the canvas.
    height, width : int
        Of the picture, in pixels of the canvas.
    """

    down: int
    across: int
    top: int
    left: int
    height: int
    width: int


def canvas_of(config: Any, size: tuple[int, int]) -> Canvas:
    """Return the canvas of a picture of ``size`` (height, width).

    The processor scales the picture to fit the canvas and centres it there.
    """
    side = config.vision_config.image_size
    down, across = _modelling().get_anyres_image_grid_shape(list(size), config.image_grid_pinpoints, side)
    whole = down * side, across * side
    height, width = size
    if whole[1] / width < whole[0] / height:
        scaled = min(math.ceil(height * whole[1] / width), whole[0]), whole[1]
    else:
        scaled = whole[0], min(math.ceil(width * whole[0] / height), whole[1])
    return Canvas(down, across, (whole[0] - scaled[0]) // 2, (whole[1] - scaled[1]) // 2, *scaled)


def _modelling() -> Any:
    from transformers.models.llava_next import modeling_llava_next

    return modeling_llava_next


def _image(reading: Reading, side: int, size: tuple[int, int], most: int | None) -> ImageLayout:
    """Return the layout of one picture of ``size`` (height, width)."""
    canvas = canvas_of(reading.config, size)
    down, across = canvas.down, canvas.across
    # The model's own function, applied to the numbers of the tokens, says which of them it keeps.
    numbers = torch.arange(down * side * across * side).reshape(1, down * side, across * side)
    kept = _modelling().unpad_image(numbers, size)[0]
    rows, columns = kept.shape
    top, left = divmod(int(kept[0, 0]), across * side)
    box = _box(canvas, reading.config.vision_config.image_size / side, (top, left, rows, columns))
    if most is not None:
        ratio = math.sqrt(rows * columns / (most * side**2))
        if ratio > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
    base = side**2
    cells = tuple(base + row * (columns + 1) + column for row in range(rows) for column in range(columns))
    tiles = Tile(side, side, tuple(range(base))), Tile(rows, columns, cells, box)
    return ImageLayout(reading.modality, tuple(range(base + rows * (columns + 1))), tiles)


def _box(canvas: Canvas, token: float, kept: tuple[int, int, int, int]) -> Box:
    """Return where the kept tokens end, in fractions of the picture.

    The model drops whole rows or columns of tokens that hold padding, so that part of a token of padding may remain.
    """
    top, left, rows, columns = kept
    return (
        (left * token - canvas.left) / canvas.width,
        (top * token - canvas.top) / canvas.height,
        ((left + columns) * token - canvas.left) / canvas.width,
        ((top + rows) * token - canvas.top) / canvas.height,
    )


def _padded(reading: Reading, side: int, height: int, width: int) -> ImageLayout:
    """Return the layout of a picture that was padded to a square, with one newline token after it."""
    edge = max(height, width)
    above, before = (edge - height) // 2, (edge - width) // 2
    box = -before / width, -above / height, (edge - before) / width, (edge - above) / height
    return ImageLayout(reading.modality, tuple(range(side**2 + 1)), (Tile(side, side, tuple(range(side**2)), box),))
