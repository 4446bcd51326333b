"""Regions that a user drew, as groups of tokens: boxes, segmentation masks, stretches of time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .groups import Groups

Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)``, x to the right and y downwards."""


def box_groups(
    mask: Tensor,
    boxes: Sequence[Box],
    size: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    *,
    image: int = 0,
    grid: tuple[int, int] | None = None,
) -> Groups:
    """Return one group per box, of the tokens whose centres lie in it.

    Parameters
    ----------
    mask : Tensor
        ``[T]`` bool: image positions of the row (``problem.modalities["image"]``, ``attribution.mask("image")[row]``).
    boxes : sequence of (float, float, float, float)
        ``(x0, y0, x1, y1)``. A token in several boxes belongs to the first.
    size : (float, float), optional
        Width and height of the image, if boxes are in pixels; without it they are fractions of width and height.
    names : sequence of str, optional
        Of the boxes.
    image : int
        Which image of the row, in order.
    grid : (int, int), optional
        Rows and columns of the image's tokens; by default they must form a square.

    Returns
    -------
    Groups
        ``[T]``; tokens in no box are in no group.

    Raises
    ------
    ValueError
        For a box that has no area, leaves the image or covers no token, and for an image without a grid.
    """
    if not boxes:
        raise ValueError("boxes is empty; give at least one (x0, y0, x1, y1).")
    positions, (rows, across) = _grid(mask, image, grid)
    width, height = size or (1.0, 1.0)
    x = ((torch.arange(across) + 0.5) / across * width).repeat(rows)
    y = ((torch.arange(rows) + 0.5) / rows * height).repeat_interleave(across)
    inside = []
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"Box {index} is {(x0, y0, x1, y1)}; expected x0 < x1 and y0 < y1 inside an image of {width:g} x "
                f"{height:g}. Boxes in pixels need size=."
            )
        inside.append((x >= x0) & (x < x1) & (y >= y0) & (y < y1))
    return _partition(mask, positions, inside, _named(names, len(boxes), "box"))


def segment_groups(
    mask: Tensor,
    labels: Tensor,
    names: Sequence[str] | None = None,
    *,
    ignore: int | None = None,
    image: int = 0,
    grid: tuple[int, int] | None = None,
) -> Groups:
    """Return one group per label of a segmentation, of the tokens most of whose pixels have it.

    Parameters
    ----------
    mask : Tensor
        ``[T]`` bool, as in ``box_groups``.
    labels : Tensor
        ``[H, W]`` integers, at least one pixel per token.
    names : sequence of str, optional
        Of the labels in ascending order, without ``ignore``.
    ignore : int, optional
        Label that is no region (background).
    image, grid
        As in ``box_groups``.

    Returns
    -------
    Groups
        In ascending order of labels. The lowest label wins a tie.

    Raises
    ------
    ValueError
        For labels that are no integers ``[H, W]``, too small an image, no region at all, and a label that no token has.
    """
    positions, (rows, across) = _grid(mask, image, grid)
    if labels.dim() != 2 or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels is {labels.dtype} of shape {tuple(labels.shape)}; expected integers [height, width].")
    if labels.shape[0] < rows or labels.shape[1] < across:
        raise ValueError(
            f"labels has {tuple(labels.shape)} pixels, the image {rows} x {across} tokens; give more pixels."
        )
    known, numbers = torch.unique(labels.cpu().long(), return_inverse=True)
    y = torch.arange(labels.shape[0]) * rows // labels.shape[0]
    x = torch.arange(labels.shape[1]) * across // labels.shape[1]
    cells = (y[:, None] * across + x).flatten()
    counts = torch.zeros(rows * across, len(known)).index_put_(
        (cells, numbers.flatten()), torch.ones(cells.numel()), accumulate=True
    )
    winner = known[counts.argmax(-1)]
    wanted = [label for label in known.tolist() if label != ignore]
    if not wanted:
        raise ValueError(f"labels holds nothing but {ignore}, which is ignored; there is no region.")
    found = _named(names, len(wanted), "segment", wanted)
    return _partition(mask, positions, [winner == label for label in wanted], found)


def interval_groups(
    mask: Tensor,
    intervals: Sequence[tuple[float, float]],
    duration: float,
    names: Sequence[str] | None = None,
    *,
    sound: int = 0,
) -> Groups:
    """Return one group per stretch of time, of the tokens whose middle lies in it.

    Parameters
    ----------
    mask : Tensor
        ``[T]`` bool: audio positions of the row, which divide the duration evenly.
    intervals : sequence of (float, float)
        Start and stop in seconds. A token in several intervals belongs to the first.
    duration : float
        Of the sound in seconds.
    names : sequence of str, optional
        Of the intervals.
    sound : int
        Which sound of the row, in order.

    Returns
    -------
    Groups
        ``[T]``; tokens in no interval are in no group.

    Raises
    ------
    ValueError
        For an interval that is empty, leaves the sound or covers no token.
    """
    if not intervals:
        raise ValueError("intervals is empty; give at least one (start, stop).")
    positions = _run(mask, sound)
    middle = (torch.arange(len(positions)) + 0.5) / len(positions) * duration
    inside = []
    for index, (start, stop) in enumerate(intervals):
        if not 0 <= start < stop <= duration:
            raise ValueError(
                f"Interval {index} is {(start, stop)}; expected start < stop, in seconds, inside a sound of "
                f"{duration:g} s."
            )
        inside.append((middle >= start) & (middle < stop))
    return _partition(mask, positions, inside, _named(names, len(intervals), "interval"))


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


def _run(mask: Tensor, number: int) -> Tensor:
    """Return the positions of the ``number``-th run of consecutive positions."""
    positions = mask.nonzero()[:, 0]
    breaks = ((positions[1:] - positions[:-1]) > 1).nonzero()[:, 0] + 1
    runs = torch.tensor_split(positions, breaks.tolist()) if len(positions) else ()
    if not 0 <= number < len(runs):
        raise ValueError(f"The mask has {len(runs)} stretches of positions; number {number} is not among them.")
    return runs[number]


def _grid(mask: Tensor, image: int, grid: tuple[int, int] | None) -> tuple[Tensor, tuple[int, int]]:
    """Return an image's positions and its rows and columns of tokens."""
    positions = _run(mask, image)
    side = math.isqrt(len(positions))
    rows, across = grid or (side, side)
    if rows * across != len(positions):
        asked = "form no square" if grid is None else f"are not {rows} x {across}"
        raise ValueError(f"The {len(positions)} tokens of image {image} {asked}; say grid=(rows, columns).")
    return positions, (rows, across)


def _named(names: Sequence[str] | None, count: int, what: str, labels: Sequence[int] | None = None) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{what} {label}" for label in (labels or range(count)))
    if len(names) != count:
        raise ValueError(f"names has {len(names)} entries for {count} regions; give one each.")
    return tuple(names)


def _partition(mask: Tensor, positions: Tensor, inside: Sequence[Tensor], names: tuple[str, ...]) -> Groups:
    """Return the groups of regions ``[N]`` bool over the positions ``[N]`` of a row; earlier ones come first."""
    ids = torch.full(mask.shape, -1, dtype=torch.long, device=mask.device)
    for number, region in enumerate(inside):
        free = region.to(mask.device) & (ids[positions] < 0)
        if not bool(free.any()):
            raise ValueError(
                f"Region {names[number]!r} covers no token of its own; make it larger, or put it before "
                "those that hide it."
            )
        ids[positions[free]] = number
    return Groups(ids, names)
