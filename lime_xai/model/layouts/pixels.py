"""The pixels of each tile, from the form of the inputs: whole pictures, tiles, or patches that are put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from .anyres import canvas_of
from .grids import GRID_THW, IMAGE_GRID_THW, merge_size, pair
from .layout import WHOLE, Box, ImageLayout, Tile, VideoLayout
from .reading import NotKnown, Reading

_MERGED = (*GRID_THW, *IMAGE_GRID_THW, "glm4v", "glm4v_moe", "glm46v", "glm_ocr", "video_llama_3")
"""Families whose patches lie block by block, ``merge`` x ``merge`` in a block."""

_ROW_BY_ROW = ("paddleocr_vl", "kimi_k25", "hunyuan_vl")
"""Families with ``image_grid_thw`` whose patches lie row by row."""


@dataclass(frozen=True, eq=False)
class Part:
    """What the inputs hold of a tile.

    Attributes
    ----------
    pixels : Tensor
        ``[3, H, W]`` float32, as the processor normalised them.
    box : Box or None
        What the pixels show of the picture, which may be more or less than the tile's tokens; None: not known.
    """

    pixels: Tensor
    box: Box | None


def image_parts(reading: Reading, layouts: Sequence[ImageLayout]) -> list[list[Part]]:
    """Return the parts of each image of a batch, aligned with the tiles of its layout.

    Raises
    ------
    NotKnown
        If the inputs are of another form, or hold another number of tiles.
    """
    pixels = reading.tensor("pixel_values")
    if reading.inputs.get("image_grid_thw") is not None:
        tiles = [frames[0] for frames in _grids(reading, "pixel_values", "image_grid_thw", "image_merge_sizes")]
    elif reading.inputs.get("image_position_ids") is not None:
        tiles = _at_positions(reading)
    elif reading.inputs.get("spatial_shapes") is not None:
        tiles = _shaped(reading)
    elif pixels.dim() == 5 and reading.inputs.get("image_sizes") is not None:
        return _anyres(reading, layouts)
    elif pixels.dim() == 5:  # a padding tile is zero everywhere; the models tell them apart in the same way
        tiles = [tile for row in pixels for tile in row if bool(tile.any())]
    elif pixels.dim() == 4:
        tiles = list(pixels) if reading.inputs.get("image_sizes") is None else _cut(reading)
    else:
        raise NotKnown(f"pixel_values has the shape {list(pixels.shape)}, and its order is not known")
    return _assigned(tiles, layouts)


def video_parts(reading: Reading, layouts: Sequence[VideoLayout]) -> tuple[list[list[Part]], int]:
    """Return the parts of each video of a batch, aligned with its frames, and how many pictures a frame stands for.

    The part of a frame of tokens is the first of its pictures.

    Raises
    ------
    NotKnown
        If the inputs are of another form, or hold another number of frames.
    """
    pixels = reading.tensor("pixel_values_videos")
    if reading.inputs.get("video_grid_thw") is not None:
        videos = _grids(reading, "pixel_values_videos", "video_grid_thw", "video_merge_sizes")
        pictures = _pictures_per_patch(reading, pixels)
    elif pixels.dim() == 5:
        videos, pictures = [list(video) for video in pixels], 1
    else:
        raise NotKnown(f"pixel_values_videos has the shape {list(pixels.shape)}, and its order is not known")
    return _assigned([frame for video in videos for frame in video], layouts), pictures


def _assigned(pixels: Sequence[Tensor], layouts: Sequence[ImageLayout | VideoLayout]) -> list[list[Part]]:
    """Return the parts of each layout: pixels in the order of the tiles of the batch."""
    counts = [len(layout.tiles) for layout in layouts]
    if sum(counts) != len(pixels):
        raise NotKnown(f"the inputs hold the pixels of {len(pixels)} tiles, the prompt the tokens of {sum(counts)}")
    wrong = next((list(one.shape) for one in pixels if one.dim() != 3 or one.shape[0] != 3), None)
    if wrong is not None:
        raise NotKnown(f"the pixels of a tile have the shape {wrong}; 3 channels come first in the forms that are read")
    ends = list(accumulate(counts, initial=0))
    return [
        [Part(one.detach().float().cpu(), _shown(tile)) for one, tile in zip(pixels[a:b], layout.tiles, strict=True)]
        for layout, (a, b) in zip(layouts, pairwise(ends), strict=True)
    ]


def _shown(tile: Tile) -> Box | None:
    """Return what a tile's pixels show; tokens of a whole picture may lie a little beside it (GOT-OCR 2)."""
    return WHOLE if tile.whole else tile.box


def _cut(reading: Reading) -> list[Tensor]:
    """Return pictures without the padding to a common size."""
    pixels, sizes = reading.tensor("pixel_values"), reading.tensor("image_sizes").tolist()
    if len(sizes) != len(pixels) or any(h > pixels.shape[-2] or w > pixels.shape[-1] for h, w in sizes):
        raise NotKnown(f"image_sizes are not those of pixel_values of the shape {list(pixels.shape)}")
    return [picture[:, :height, :width] for picture, (height, width) in zip(pixels, sizes, strict=True)]


def _anyres(reading: Reading, layouts: Sequence[ImageLayout]) -> list[list[Part]]:
    """Return, per image, its overview, and the picture of higher resolution without its padding."""
    pixels, sizes = reading.tensor("pixel_values"), reading.tensor("image_sizes").tolist()
    if not len(pixels) == len(sizes) == len(layouts) or getattr(reading.config, "image_grid_pinpoints", None) is None:
        raise NotKnown(f"the order of the tiles of pixel_values of the shape {list(pixels.shape)} is not known")
    found = []
    for tiles, (height, width), layout in zip(pixels, sizes, layouts, strict=True):
        if len(layout.tiles) == 1:  # an overview that may be padded to a square
            (tile,) = layout.tiles
            found.append(_assigned(tiles[:1], [layout])[0])
            found[-1] = [Part(found[-1][0].pixels, tile.box)]
            continue
        canvas = canvas_of(reading.config, (height, width))
        down, across, count = canvas.down, canvas.across, canvas.down * canvas.across
        side = reading.config.vision_config.image_size
        if len(tiles) <= count or tuple(tiles.shape[1:]) != (3, side, side):
            raise NotKnown(f"{list(tiles.shape)} are not the tiles of a picture of {height} x {width} pixels")
        whole = tiles[1 : count + 1].reshape(down, across, 3, side, side).permute(2, 0, 3, 1, 4)
        whole = whole.reshape(3, down * side, across * side)
        cut = whole[:, canvas.top : canvas.top + canvas.height, canvas.left : canvas.left + canvas.width]
        parts = _assigned([tiles[0], cut], [layout])[0]
        found.append([Part(part.pixels, WHOLE) for part in parts])
    return found


def _patch_side(reading: Reading) -> tuple[int, int]:
    side = getattr(getattr(reading.config, "vision_config", None), "patch_size", None)
    if side is None:
        raise NotKnown("the vision config has no patch_size")
    return pair(side)


def _pictures_per_patch(reading: Reading, patches: Tensor) -> int:
    """Return how many pictures, one after another, the patches of a grid are made of."""
    height, width = _patch_side(reading)
    numbers = patches[0].numel() if len(patches) else 0
    count, rest = divmod(numbers, 3 * height * width)
    if rest or not count:
        raise NotKnown(f"patches of {numbers} numbers are not made of 3 x {height} x {width}")
    return count


def _grids(reading: Reading, name: str, grid: str, merges: str) -> list[list[Tensor]]:
    """Return the frames ``[3, H, W]`` of each row of ``image_grid_thw`` or ``video_grid_thw``."""
    family = reading.config.model_type
    if family not in (*_MERGED, *_ROW_BY_ROW):
        raise NotKnown(f"the order of the patches of {family!r} is not known")
    patches, sizes = reading.tensor(name), reading.tensor(grid).tolist()
    counts = [frames * rows * columns for frames, rows, columns in sizes]
    if sum(counts) != len(patches):
        raise NotKnown(f"{name} holds {len(patches)} patches, {grid} calls for {sum(counts)}")
    if family in _ROW_BY_ROW:
        blocks = [1] * len(sizes)
    else:
        each = reading.inputs.get(merges)
        blocks = [merge_size(reading)] * len(sizes) if each is None else [int(size) for size in each]
    height, width = _patch_side(reading)
    pictures = _pictures_per_patch(reading, patches)
    found = []
    for some, (frames, rows, columns), block in zip(torch.split(patches, counts), sizes, blocks, strict=True):
        if rows % block or columns % block:
            raise NotKnown(f"{rows} x {columns} patches are not made of blocks of {block} x {block}")
        parts = some.reshape(frames, rows // block, columns // block, block, block, 3, pictures, height, width)
        # frame, channel, then block row, row in it, pixel row, and the same of columns
        moved = parts[:, :, :, :, :, :, 0].permute(0, 5, 1, 3, 6, 2, 4, 7)
        found.append(list(moved.reshape(frames, 3, rows * height, columns * width)))
    return found


def _at_positions(reading: Reading) -> list[Tensor]:
    """Return pictures from patches at the places of ``image_position_ids`` (x, y); -1: padding."""
    patches, places = reading.tensor("pixel_values"), reading.tensor("image_position_ids")
    height, width = _patch_side(reading)
    if patches.dim() != 3 or patches.shape[:2] != places.shape[:2] or patches.shape[-1] != 3 * height * width:
        raise NotKnown(f"pixel_values of the shape {list(patches.shape)} are not patches of {height} x {width} pixels")
    found = []
    for some, where in zip(patches, places, strict=True):
        real = (where >= 0).all(-1)
        x, y = where[real].unbind(-1)
        columns, rows = (int(side) + 1 for side in where.amax(0))
        if not 0 < int(real.sum()) == rows * columns or len((y * columns + x).unique()) != rows * columns:
            raise NotKnown(f"image_position_ids do not fill {rows} x {columns} patches")
        found.append(_rastered(some[real][(y * columns + x).argsort()], rows, columns, (height, width)))
    return found


def _shaped(reading: Reading) -> list[Tensor]:
    """Return tiles from patches, row by row, of ``spatial_shapes`` (rows, columns); the rest is padding."""
    patches, shapes = reading.tensor("pixel_values"), reading.tensor("spatial_shapes").tolist()
    height, width = _patch_side(reading)
    if patches.dim() != 3 or len(shapes) != len(patches) or patches.shape[-1] != 3 * height * width:
        raise NotKnown(f"pixel_values of the shape {list(patches.shape)} are not patches of {height} x {width} pixels")
    if any(rows * columns > patches.shape[1] for rows, columns in shapes):
        raise NotKnown(f"spatial_shapes call for more patches than pixel_values holds, {patches.shape[1]}")
    return [
        _rastered(some[: rows * columns], rows, columns, (height, width))
        for some, (rows, columns) in zip(patches, shapes, strict=True)
    ]


def _rastered(patches: Tensor, rows: int, columns: int, side: tuple[int, int]) -> Tensor:
    """Return a picture ``[3, H, W]`` from patches row by row, whose channels come last."""
    moved = patches.reshape(rows, columns, *side, 3).permute(4, 0, 2, 1, 3)
    return moved.reshape(3, rows * side[0], columns * side[1])
