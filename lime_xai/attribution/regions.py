"""Regions that a user drew, as groups of tokens: boxes, segmentation masks, stretches of time.

Where the tokens lie is read from the layouts of a prompt, an attribution or a problem. A mask of positions has no
layout: it needs ``grid=`` or ``duration=``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lime_xai.model.layouts.layout import (
    Grid,
    ImageLayout,
    Layout,
    Tile,
    UnknownLayout,
    unknown_layouts,
    with_grid,
)
from lime_xai.model.modalities import spans
from lime_xai.model.prompt import Prompt

from .groups import Groups
from .problem import Problem
from .result import Attribution
from .time import sound_of, token_times

Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)``, x to the right and y downwards."""

Located = Attribution | Prompt | Problem | Tensor
"""What says where tokens lie; or a mask ``[T]`` bool, which only says which tokens they are."""


def box_groups(
    where: Located,
    boxes: Sequence[Box],
    size: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    *,
    row: int = 0,
    image: int = 0,
    grid: Grid | None = None,
) -> Groups:
    """Return one group per box, of the tokens whose centres lie in it.

    Of a picture with several tiles these are tokens of all tiles, the overview among them. Tokens that stand for no
    part of the picture (newline tokens) are in no group.

    Parameters
    ----------
    where : Attribution, Prompt, Problem or Tensor
        Has the layouts; or a mask ``[T]`` bool of one row's image positions, for which ``grid`` is needed.
    boxes : sequence of (float, float, float, float)
        ``(x0, y0, x1, y1)`` in the picture as the model received it, after the processor's resizing and cropping. A
        token in several boxes belongs to the first.
    size : (float, float), optional
        Width and height of the image, if boxes are in pixels; without it they are fractions of width and height.
    names : sequence of str, optional
        Of the boxes.
    row : int
        Of the batch.
    image : int
        Which image of the row, in order; of a mask, which run of positions.
    grid : (int, int), optional
        Rows and columns of the image's tokens, if the layout is not known: one grid over the whole picture.

    Returns
    -------
    Groups
        ``[T]``; tokens in no box are in no group.

    Raises
    ------
    ValueError
        For a box that has no area, leaves the image or covers no token, and for an image whose layout is not known.
    """
    if not boxes:
        raise ValueError("boxes is empty; give at least one (x0, y0, x1, y1).")
    seen = _seen(where, row)
    tiles = _tiles(seen, image, grid)
    width, height = size or (1.0, 1.0)
    positions = torch.tensor([position for tile in tiles for position in tile.positions])
    x, y = torch.cat([tile.centres() for tile in tiles]).T * torch.tensor([[width], [height]], dtype=torch.float64)
    inside = []
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"Box {index} is {(x0, y0, x1, y1)}; expected x0 < x1 and y0 < y1 inside an image of {width:g} x "
                f"{height:g}. Boxes in pixels need size=."
            )
        inside.append((x >= x0) & (x < x1) & (y >= y0) & (y < y1))
    return _partition(seen, positions, inside, _named(names, len(boxes), "box"))


def segment_groups(
    where: Located,
    labels: Tensor,
    names: Sequence[str] | None = None,
    *,
    ignore: int | None = None,
    row: int = 0,
    image: int = 0,
    grid: Grid | None = None,
) -> Groups:
    """Return one group per label of a segmentation, of the tokens most of whose pixels have it.

    Parameters
    ----------
    where : Attribution, Prompt, Problem or Tensor
        As in ``box_groups``.
    labels : Tensor
        ``[H, W]`` integers of the whole picture, at least one pixel per token.
    names : sequence of str, optional
        Of the labels in ascending order, without ``ignore``.
    ignore : int, optional
        Label that is no region (background).
    row, image, grid
        As in ``box_groups``.

    Returns
    -------
    Groups
        In ascending order of labels. The lowest label wins a tie. Tokens outside the picture are in no group.

    Raises
    ------
    ValueError
        For labels that are no integers ``[H, W]``, too small an image, no region at all, and a label that no token has.
    """
    seen = _seen(where, row)
    tiles = _tiles(seen, image, grid)
    if labels.dim() != 2 or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels is {labels.dtype} of shape {tuple(labels.shape)}; expected integers [height, width].")
    known, numbers = torch.unique(labels.cpu().long(), return_inverse=True)
    wanted = [label for label in known.tolist() if label != ignore]
    if not wanted:
        raise ValueError(f"labels holds nothing but {ignore}, which is ignored; there is no region.")
    positions = torch.tensor([position for tile in tiles for position in tile.positions])
    winner = torch.cat([_winners(tile, numbers, len(known)) for tile in tiles])
    found = _named(names, len(wanted), "segment", wanted)
    return _partition(seen, positions, [winner == known.tolist().index(label) for label in wanted], found)


def _winners(tile: Tile, numbers: Tensor, count: int) -> Tensor:
    """Return the most frequent label number among the pixels of each token, ``[N]``; -1 for tokens without pixels."""
    height, width = numbers.shape
    x0, y0, x1, y1 = tile.box or (0.0, 0.0, 1.0, 1.0)
    if height * (y1 - y0) < tile.rows or width * (x1 - x0) < tile.columns:
        raise ValueError(
            f"labels has {(height, width)} pixels, the image {tile.rows} x {tile.columns} tokens in "
            f"{y1 - y0:.2f} x {x1 - x0:.2f} of it; give more pixels."
        )
    y = ((torch.arange(height, dtype=torch.float64) + 0.5) / height - y0) / (y1 - y0) * tile.rows
    x = ((torch.arange(width, dtype=torch.float64) + 0.5) / width - x0) / (x1 - x0) * tile.columns
    rows, columns = y.floor().long()[:, None], x.floor().long()[None]
    inside = (rows >= 0) & (rows < tile.rows) & (columns >= 0) & (columns < tile.columns)
    cells = (rows * tile.columns + columns)[inside]
    counts = torch.zeros(len(tile.positions), count, dtype=torch.float32).index_put_(
        (cells, numbers[inside]), torch.ones(cells.numel(), dtype=torch.float32), accumulate=True
    )
    return counts.argmax(-1).masked_fill(counts.sum(-1) == 0, -1)


def interval_groups(
    where: Located,
    intervals: Sequence[tuple[float, float]],
    duration: float | None = None,
    names: Sequence[str] | None = None,
    *,
    row: int = 0,
    sound: int = 0,
) -> Groups:
    """Return one group per stretch of time, of the tokens whose middle lies in it.

    Parameters
    ----------
    where : Attribution, Prompt, Problem or Tensor
        Has the layouts; or a mask ``[T]`` bool of one row's audio positions, for which ``duration`` is needed.
    intervals : sequence of (float, float)
        Start and stop in seconds. A token in several intervals belongs to the first.
    duration : float, optional
        Of the sound in seconds, if the layout does not say how long a token is: the feature frames, or the tokens where
        these are not known, then divide it evenly. It is not needed where the processor was given
        (``attribute(..., processor=processor)``).
    names : sequence of str, optional
        Of the intervals.
    row : int
        Of the batch.
    sound : int
        Which sound of the row, in order; of a mask, which run of positions.

    Returns
    -------
    Groups
        ``[T]``; tokens in no interval are in no group.

    Raises
    ------
    ValueError
        For an interval that is empty, leaves the sound or covers no token; for a sound of unknown length.
    """
    if not intervals:
        raise ValueError("intervals is empty; give at least one (start, stop).")
    seen = _seen(where, row)
    layout = sound_of(seen.layouts, sound)
    times = torch.from_numpy(token_times(layout, sound, duration))
    middle, end = times.mean(-1), float(times.max())
    inside = []
    for index, (start, stop) in enumerate(intervals):
        if not 0 <= start < stop <= end:
            raise ValueError(
                f"Interval {index} is {(start, stop)}; expected start < stop, in seconds, inside a sound of {end:g} s."
            )
        inside.append((middle >= start) & (middle < stop))
    return _partition(seen, torch.tensor(layout.positions), inside, _named(names, len(intervals), "interval"))


def joined(*parts: Groups) -> Groups:
    """Return the groups of several partitions of one row together; a position belongs to the first that has it.

    Regions beside the words of a prompt: ``joined(box_groups(...), group_tokens(problem, labels))``. Groups that
    earlier ones cover wholly are left out.

    Raises
    ------
    ValueError
        If the parts count different positions, or there is none.
    """
    if len({len(part.ids) for part in parts}) != 1:
        raise ValueError(f"The groups count {[len(part.ids) for part in parts]} positions; expected groups of one row.")
    ids = torch.full_like(parts[0].ids, -1)
    names: list[str] = []
    for part in parts:
        free = ids < 0
        for number, name in enumerate(part.names):
            members = free & (part.ids == number)
            if bool(members.any()):
                ids[members] = len(names)
                names.append(name)
    return Groups(ids, tuple(names))


@dataclass(frozen=True, eq=False)
class _Seen:
    """One row: its length, the device of its masks, and its layouts."""

    length: int
    device: torch.device
    layouts: Sequence[Layout]


def _seen(where: Located, row: int) -> _Seen:
    """Return the row of whatever says where tokens lie."""
    if isinstance(where, Problem):
        return _Seen(len(where.input_ids), where.input_ids.device, where.layouts)
    if isinstance(where, Tensor):
        if where.dim() != 1 or where.dtype != torch.bool:
            raise ValueError(f"The mask is {where.dtype} of shape {tuple(where.shape)}; expected bool [T].")
        runs = spans({"": where[None]}, torch.ones_like(where)[None])[0]
        return _Seen(len(where), where.device, unknown_layouts(runs, "a mask says nothing of it"))
    if not isinstance(where, (Attribution, Prompt)):
        raise TypeError(f"Expected an attribution, a prompt, a problem or a mask, found {type(where).__name__}.")
    ids = where.input_ids if isinstance(where, Attribution) else where.positions.input_ids
    if not 0 <= row < len(where.layouts):
        raise ValueError(f"row is {row}; the batch has rows 0 to {len(where.layouts) - 1}.")
    return _Seen(ids.shape[1], ids.device, where.layouts[row])


def _tiles(seen: _Seen, image: int, grid: Grid | None) -> tuple[Tile, ...]:
    """Return the tiles of an image."""
    kinds = (ImageLayout, UnknownLayout)
    images = [layout for layout in seen.layouts if isinstance(layout, kinds) and layout.modality in ("", "image")]
    if not 0 <= image < len(images):
        raise ValueError(f"The row has {len(images)} images; number {image} is not among them.")
    layout = images[image]
    if grid is not None:
        return with_grid(layout, grid).tiles
    reason = layout.reason if isinstance(layout, (ImageLayout, UnknownLayout)) else None
    if reason is not None:
        raise ValueError(
            f"The layout of image {image} is not known: {reason}. Give grid=(rows, columns) if its "
            f"{len(layout.positions)} tokens form one grid over the picture."
        )
    return layout.tiles


def _named(names: Sequence[str] | None, count: int, what: str, labels: Sequence[int] | None = None) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{what} {label}" for label in (labels or range(count)))
    if len(names) != count:
        raise ValueError(f"names has {len(names)} entries for {count} regions; give one each.")
    return tuple(names)


def _partition(seen: _Seen, positions: Tensor, inside: Sequence[Tensor], names: tuple[str, ...]) -> Groups:
    """Return the groups of regions ``[N]`` bool over the positions ``[N]`` of a row; earlier ones come first."""
    ids = torch.full((seen.length,), -1, dtype=torch.long)
    for number, region in enumerate(inside):
        free = region & (ids[positions] < 0)
        if not bool(free.any()):
            raise ValueError(
                f"Region {names[number]!r} covers no token of its own; make it larger, or put it before "
                "those that hide it."
            )
        ids[positions[free]] = number
    return Groups(ids.to(seen.device), names)
