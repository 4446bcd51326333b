"""Pictures that are cut into tiles: in one run of tokens, or with markers between them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .grids import patch_grid
from .layout import WHOLE, Box, ImageLayout, Layout, Tile
from .reading import NotKnown, Reading, register_layout

Place = tuple[int, int]
"""Row and column of a tile, counted from 1."""

_UNPLACED = "the inputs do not say of which part of which picture a tile is"
_NO_PROCESSOR = "give the processor: the markers between the tiles say where they lie"


def _runs_of_tiles(reading: Reading, rows: int, columns: int, box: Box = WHOLE) -> list[Layout]:
    """Return one image per run: ``box`` of the picture if it is one tile, else tiles whose places are not known."""
    size = rows * columns
    found: list[Layout] = []
    for start, stop in (run for row in reading.runs for run in row):
        count, rest = divmod(stop - start, size)
        if rest:
            raise NotKnown(f"a run of {stop - start} tokens is not made of tiles of {rows} x {columns}")
        parts = tuple(
            Tile(rows, columns, tuple(range(number * size, (number + 1) * size)), box if count == 1 else None)
            for number in range(count)
        )
        reason = None if count == 1 else _UNPLACED
        found.append(ImageLayout(reading.modality, tuple(range(stop - start)), parts, reason))
    return found


@register_layout("internvl")
def shuffled_tiles(reading: Reading) -> list[Layout]:
    """Tiles of a picture and a thumbnail in one run; their number is known, how the picture was cut is not."""
    rows, columns = patch_grid(reading, round(1 / reading.config.downsample_ratio))
    return _runs_of_tiles(reading, *_square(rows, columns))


@register_layout("got_ocr2")
def convolved_tiles(reading: Reading) -> list[Layout]:
    """Tiles in one run, as for InternVL; two convolutions of width 3 and stride 2 halve the patches twice.

    A token is centred at every fourth patch, beginning with the first: half a token before the middle of four patches.
    """
    rows, columns = patch_grid(reading)
    down, across = -(-rows // 4), -(-columns // 4)
    shift = 1.5  # the middle of four patches minus the middle of the first
    box = -shift / columns, -shift / rows, (4 * across - shift) / columns, (4 * down - shift) / rows
    return _runs_of_tiles(reading, down, across, box)


def _square(rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns.

    Raises
    ------
    NotKnown
        If they differ: these models take the root of the number of patches.
    """
    if rows != columns:
        raise NotKnown(f"the tiles have {rows} x {columns} tokens, and the model takes them for a square")
    return rows, columns


@dataclass(frozen=True)
class Mark:
    """What the token before a run of tokens says.

    Attributes
    ----------
    place : (int, int) or None
        Row and column of the tile; None: an overview of the whole picture, or not known.
    overview : bool
        Whether the run shows the whole picture.
    first, last : bool
        Whether the run begins or ends a picture.
    """

    place: Place | None = None
    overview: bool = False
    first: bool = False
    last: bool = False


ReadMark = Callable[[Reading, int, int, Place], Mark | None]
"""Row, start of a run and place of the tile before it to what the markers say; None: they cannot be read."""


def _marked(reading: Reading, grids: Sequence[tuple[int, int]], read: ReadMark) -> list[Layout]:
    """Return the pictures of runs that markers tell apart; ``grids``: rows and columns of each run's tokens."""
    sizes = iter(grids)
    found: list[Layout] = []
    for row, runs in enumerate(reading.runs):
        shapes = [_next(sizes) for _ in runs]
        marks: list[Mark] = []
        place = (0, 0)
        for start, _ in runs:
            mark = read(reading, row, start, place)
            if mark is None:
                break
            place = mark.place or (0, 0)
            marks.append(mark)
        if len(marks) == len(runs):
            found += [
                _picture(reading, [mark for mark, _ in group], [shape for _, shape in group])
                for group in _pictures(marks, shapes)
            ]
        elif len(runs) == 1:  # a picture that is cut has two runs or more
            found.append(_picture(reading, (Mark(overview=True),), tuple(shapes)))
        else:
            found += [_picture(reading, (Mark(),), (shape,), _NO_PROCESSOR) for shape in shapes]
    return found


def _next(sizes: Iterator[tuple[int, int]]) -> tuple[int, int]:
    try:
        return next(sizes)
    except StopIteration:
        raise NotKnown("the prompt has more runs of image tokens than the inputs have tiles") from None


def _pictures(marks: Sequence[Mark], shapes: Sequence[tuple[int, int]]) -> Iterator[list[tuple[Mark, tuple[int, int]]]]:
    """Yield the runs of each picture."""
    group: list[tuple[Mark, tuple[int, int]]] = []
    for mark, shape in zip(marks, shapes, strict=True):
        if mark.first and group:
            yield group
            group = []
        group.append((mark, shape))
        if mark.last:
            yield group
            group = []
    if group:
        yield group


def _picture(
    reading: Reading,
    marks: Sequence[Mark],
    shapes: Sequence[tuple[int, int]],
    reason: str = _UNPLACED,
) -> ImageLayout:
    """Return the layout of one picture from what is said of its runs."""
    places = [mark.place for mark in marks if mark.place is not None]
    down, across = (max((place[axis] for place in places), default=1) for axis in (0, 1))
    parts: list[Tile] = []
    used = 0
    for mark, (rows, columns) in zip(marks, shapes, strict=True):
        box = WHOLE if mark.overview else None
        if mark.place is not None:
            row, column = mark.place
            box = (column - 1) / across, (row - 1) / down, column / across, row / down
        parts.append(Tile(rows, columns, tuple(range(used, used + rows * columns)), box))
        used += rows * columns
    unplaced = any(tile.box is None for tile in parts)
    return ImageLayout(reading.modality, tuple(range(used)), tuple(parts), reason if unplaced else None)


_ROW_COLUMN = re.compile(r"row_(\d+)_col_(\d+)")


def _row_column(reading: Reading, row: int, start: int, before: Place) -> Mark | None:
    """Read ``<row_1_col_2>``, ``<global-img>``, ``<|image_start|>`` and their like."""
    token = reading.token(row, start - 1)
    if token is None:
        return None
    found = _ROW_COLUMN.search(token)
    if found is None:
        return Mark(overview=True, first=before == (0, 0) or "start" in token, last=True)
    place = int(found[1]), int(found[2])
    return Mark(place, first=place == (1, 1))


@register_layout("idefics3", "smolvlm")
def row_column_tiles(reading: Reading) -> list[Layout]:
    """Tiles behind markers of their row and column, then an overview."""
    mask = reading.inputs.get("pixel_attention_mask")
    pixels = reading.tensor("pixel_values")
    if mask is not None and not bool((mask.bool() | (pixels == 0).all(2)).all()):
        raise NotKnown("pixel_attention_mask says that the tiles are padded")
    rows, columns = _square(*patch_grid(reading, reading.config.scale_factor))
    return _marked(reading, [(rows, columns)] * sum(map(len, reading.runs)), _row_column)


@register_layout("lfm2_vl")
def shaped_tiles(reading: Reading) -> list[Layout]:
    """Tiles of ``spatial_shapes`` patches behind markers of their row and column, then an overview."""
    factor = reading.config.downsample_factor
    shapes = [(rows // factor, columns // factor) for rows, columns in reading.tensor("spatial_shapes").tolist()]
    sizes = [stop - start for row in reading.runs for start, stop in row]
    if sizes != [rows * columns for rows, columns in shapes]:
        raise NotKnown("the tiles have no markers between them that say of which picture they are")
    return _marked(reading, shapes, _row_column)


@register_layout("ovis2")
def indicated_tiles(reading: Reading) -> list[Layout]:
    """Overview, then tiles with indicator tokens between columns and rows."""
    start_id, grid_id, column_id, row_id, _ = reading.config.visual_indicator_token_ids
    vision = reading.config.vision_config
    rows, columns = patch_grid(reading)
    if rows != columns:
        raise NotKnown(f"the tiles have {rows} x {columns} patches, and the model takes them for a square")
    side = math.ceil(rows / vision.hidden_stride)
    edge = side * vision.hidden_stride / rows  # patches are padded at the right and the bottom

    def read(reading: Reading, row: int, start: int, before: Place) -> Mark | None:
        marker = reading.ids[row][start - 1] if start else None
        marks = {
            start_id: Mark(overview=True, first=True),
            grid_id: Mark((1, 1)),
            column_id: Mark((before[0], before[1] + 1)),
            row_id: Mark((before[0] + 1, 1)),
        }
        return marks.get(marker) if marker is not None else None

    if edge != 1:
        raise NotKnown(f"{rows} x {columns} patches are padded to multiples of {vision.hidden_stride}")
    return _marked(reading, [(side, side)] * sum(map(len, reading.runs)), read)


@register_layout("llama4")
def separated_tiles(reading: Reading) -> list[Layout]:
    """Tiles with separators between columns and after rows, then an overview."""
    ratio = reading.config.vision_config.pixel_shuffle_ratio
    rows, columns = _square(*patch_grid(reading, round(1 / ratio)))

    def read(reading: Reading, row: int, start: int, before: Place) -> Mark | None:
        marks = {
            "<|image_start|>": Mark((1, 1), first=True),
            "<|tile_x_separator|>": Mark((before[0], before[1] + 1)),
            "<|tile_y_separator|>": Mark((before[0] + 1, 1)),
            "<|image|>": Mark(overview=True, first=before == (0, 0), last=True),
        }
        token = reading.token(row, start - 1)
        return None if token is None else marks.get(token)

    return _marked(reading, [(rows, columns)] * sum(map(len, reading.runs)), read)


@register_layout("aya_vision")
def numbered_tiles(reading: Reading) -> list[Layout]:
    """Numbered tiles, then an overview; how the picture was cut is not known."""
    rows, columns = _square(*patch_grid(reading, reading.config.downsample_factor))
    overview = getattr(reading.processor, "tile_global_token", None)

    def read(reading: Reading, row: int, start: int, before: Place) -> Mark | None:
        token = reading.token(row, start - 1)
        if token is None or overview is None:
            return None
        return Mark(overview=True, last=True) if token == overview else Mark()

    return _marked(reading, [(rows, columns)] * sum(map(len, reading.runs)), read)


@register_layout("cohere2_vision")
def broken_tiles(reading: Reading) -> list[Layout]:
    """Tiles with a break token after each; how the picture was cut is not known."""
    rows, columns = _square(*patch_grid(reading, reading.config.downsample_factor))
    opening = getattr(reading.processor, "boi_token", None)
    starts = [start for row in reading.runs for start, _ in row]

    def read(reading: Reading, row: int, start: int, before: Place) -> Mark | None:
        token = reading.token(row, start - 1)
        if token is None or opening is None:
            return None
        later = [run for run in reading.runs[row] if run[0] > start]
        alone = token == opening and (not later or reading.token(row, later[0][0] - 1) == opening)
        return Mark(overview=alone, first=token == opening)

    return _marked(reading, [(rows, columns)] * len(starts), read)
