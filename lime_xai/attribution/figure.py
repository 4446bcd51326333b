"""Figures of attributions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from lime_xai.model.layouts.layout import ImageLayout, Layout, SoundLayout, UnknownLayout

from .row import GridLike, RowRelevance, View, stretches, views

COLOURS = "RdBu_r"
"""Diverging: red is positive relevance, blue negative."""

POSITIVE, NEGATIVE = "#b2182b", "#2166ac"

_ACROSS = 6
"""Maps beside each other."""

_SIDE = 2.4
"""Inches of a map."""

_SCALE = 1.1
"""Inches of the colour bar with its labels."""

_LETTERS = 13
"""Per inch of a title."""


def attribution_figure(row: RowRelevance, image: Any = None, grid: GridLike = None, title: str | None = None) -> Figure:
    """Return a figure of one row of an attribution.

    On the left, one panel per image, video and sound: tiles at their places in the picture, frames one by one, sounds
    over time; a strip in the order of the tokens where the layout is unknown, with the reason. On the right, text
    tokens as bars. All maps have one scale.

    Parameters
    ----------
    row : RowRelevance
        The row.
    image : PIL.Image or array ``[H, W]`` or ``[H, W, 3]``, or a list of them, optional
        The picture, or one per image of the row. It is drawn beside its maps and gives them its shape. A single picture
        for several images (of which it is not known which are parts of it) is drawn above them.
    grid : (int, int) or sequence of (int, int) or None, optional
        Rows and columns of the only image, or of each, instead of its layout.
    title : str, optional
        Over the whole figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit the row.
    """
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title is {type(title).__name__}; expected str.")
    row = row.with_grids(grid)
    pictures, lone = _pictures(row, image)
    shapes = [_shape(layout, picture) for layout, picture in zip(row.layouts, pictures, strict=True)]
    left = _SIDE * max((across for _, across in shapes), default=0)
    heights = [
        0.5 + down * (_SIDE if layout.tiles else 1.2) for (down, _), layout in zip(shapes, row.layouts, strict=True)
    ]
    heights = heights if lone is None else [_SIDE, *heights]
    text = 4.0
    height = min(max(3.8, sum(heights), 0.14 * len(row.text_positions) + 0.8), 24)
    figure = Figure(figsize=(left + (_SCALE if left else 0) + text, height), layout="constrained")
    if title is not None:
        figure.suptitle(title, fontsize=11, parse_math=False)
    if not row.layouts:
        draw_text(figure.subplots(), row)
        return figure
    maps, scale, words = figure.subfigures(1, 3, squeeze=False, width_ratios=(left, _SCALE, text))[0]
    limit = max([1e-12, *(float(np.abs(row.of(layout.positions)).max()) for layout in row.layouts)])
    panels = list(maps.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    if lone is not None:
        _draw_picture(panels.pop(0).subplots(), lone)
    for panel, layout, name, picture, shape in zip(panels, row.layouts, row.names, pictures, shapes, strict=True):
        _draw_layout(panel, row, layout, name, picture, shape, limit)
    if not all(isinstance(layout, SoundLayout) for layout in row.layouts):  # bars of sounds have an axis of their own
        bar = figure.colorbar(
            ScalarMappable(Normalize(-limit, limit), COLOURS), cax=scale.add_axes((0.1, 0.15, 0.15, 0.7))
        )
        bar.ax.tick_params(labelsize=7)
        bar.set_label("relevance of a token", fontsize=8)
    draw_text(words.subplots(), row)
    return figure


def _pictures(row: RowRelevance, image: Any) -> tuple[list[Any], Any]:
    """Return the picture of every layout, as arrays, None where there is none; and one that is of no single layout.

    Raises
    ------
    TypeError, ValueError
        For something that is no picture, and for another number of pictures than of images.
    """
    images = [index for index, layout in enumerate(row.layouts) if layout.modality in ("image", "video")]
    if image is None:
        return [None] * len(row.layouts), None
    given = list(image) if isinstance(image, (list, tuple)) else [image]
    if len(given) == 1 and len(images) > 1 and not isinstance(image, (list, tuple)):
        return [None] * len(row.layouts), _array(image)
    if len(given) != len(images):
        raise ValueError(f"image holds {len(given)} pictures, the row {len(images)} images; give a list of one each.")
    found: list[Any] = [None] * len(row.layouts)
    for index, picture in zip(images, given, strict=True):
        found[index] = _array(picture)
    return found, None


def _array(picture: Any) -> Any:
    """Return a picture as an array.

    Raises
    ------
    TypeError, ValueError
        If it is no picture.
    """
    try:
        array = np.asarray(picture)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "uifb":
        raise TypeError(f"image is {type(picture).__name__}; expected a PIL image or an array [H, W, 3].")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4)) or not array.size:
        raise ValueError(f"image has shape {array.shape}; expected [H, W] or [H, W, 3].")
    return array


def _draw_picture(axes: Axes, picture: Any) -> None:
    axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None)
    axes.set_axis_off()


def _shape(layout: Layout, picture: Any) -> tuple[int, int]:
    """Return rows and columns of the axes of a layout."""
    count = len(views(layout)) + (picture is not None)
    return (math.ceil(count / _ACROSS), min(count, _ACROSS)) if layout.tiles else (1, 2 + (picture is not None))


def _draw_layout(
    panel: SubFigure, row: RowRelevance, layout: Layout, name: str, picture: Any, shape: tuple[int, int], limit: float
) -> None:
    """Draw the panel of one image, video or sound."""
    letters = int(_LETTERS * _SIDE * shape[1])
    panel.suptitle(_headline(row, layout, name, letters), fontsize=9)
    if not layout.tiles:
        ratios = (1, 2) if picture is not None else (1,)
        axes = list(np.atleast_1d(panel.subplots(1, len(ratios), width_ratios=ratios)))
    else:
        axes = list(np.atleast_1d(panel.subplots(*shape)).flat)
    if picture is not None:
        _draw_picture(axes.pop(0), picture)
    if isinstance(layout, SoundLayout):
        draw_sound(axes[0], row, layout, limit)
    elif not layout.tiles:
        draw_strip(axes[0], row, layout, limit)
    for place, view in zip(axes, views(layout), strict=False):
        draw_view(place, row, view, limit, picture)
    for unused in axes[len(views(layout)) :] if layout.tiles else ():
        unused.set_axis_off()


def _headline(row: RowRelevance, layout: Layout, name: str, letters: int) -> str:
    """Return the title of a panel, lines of ``letters``: the sum of relevance, and what is not drawn or not known."""
    lines = [f"relevance of {'the ' if name.isalpha() else ''}{name}: {row.of(layout.positions).sum():+.2f}"]
    if layout.tiles and layout.unplaced:
        rest = row.of(layout.unplaced)
        lines += textwrap.wrap(f"not drawn: {len(rest)} tokens of no place, {rest.sum():+.2f}", letters)
    if isinstance(layout, UnknownLayout):
        lines += textwrap.wrap(f"layout unknown: {layout.reason}", letters)
    if isinstance(layout, ImageLayout) and layout.reason is not None:
        lines += textwrap.wrap(layout.reason, letters)
    return "\n".join(lines)


def draw_view(axes: Axes, row: RowRelevance, view: View, limit: float, picture: Any = None) -> None:
    """Draw tiles at their places; the axes have the shape of the picture, or square tokens without one."""
    first = view.tiles[0]
    boxes = [tile.box or (0.0, 0.0, 1.0, 1.0) for tile in view.tiles]
    for tile, (x0, y0, x1, y1) in zip(view.tiles, boxes, strict=True):
        axes.imshow(row.tile(tile), cmap=COLOURS, vmin=-limit, vmax=limit, extent=(x0, x1, y1, y0))
    placed = first.box is not None
    x0, y0, x1, y1 = boxes[0]
    square = (x1 - x0) / first.columns / ((y1 - y0) / first.rows)
    axes.set_aspect(picture.shape[0] / picture.shape[1] if picture is not None and placed else square)
    axes.set_xlim(min(0, *(box[0] for box in boxes)), max(1, *(box[2] for box in boxes)))
    axes.set_ylim(max(1, *(box[3] for box in boxes)), min(0, *(box[1] for box in boxes)))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(view.title, fontsize=8)


def draw_sound(axes: Axes, row: RowRelevance, layout: SoundLayout, limit: float) -> None:
    """Draw the relevance of a sound over time."""
    found = stretches(row, layout)
    starts, widths = [start for start, _, _ in found], [stop - start for start, stop, _ in found]
    heights = [value for _, _, value in found]
    axes.bar(starts, heights, widths, align="edge", color=_colours(heights))
    axes.axhline(0, color="black", linewidth=0.6)
    tallest = max(limit, *(abs(value) for value in heights))
    axes.set_ylim(-1.05 * tallest, 1.05 * tallest)
    axes.set_xlim(0, max(stop for _, stop, _ in found))
    axes.set_xlabel("seconds" if layout.intervals else "feature frames (seconds need the processor)", fontsize=8)
    axes.tick_params(labelsize=7)


def draw_strip(axes: Axes, row: RowRelevance, layout: Layout, limit: float) -> None:
    """Draw tokens of unknown layout in their order."""
    values = row.of(layout.positions)[None]
    axes.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto", extent=(0, values.shape[1], 1, 0))
    axes.set_yticks([])
    axes.set_xlabel("tokens, in order", fontsize=8)
    axes.tick_params(labelsize=7)


def draw_text(axes: Axes, row: RowRelevance) -> None:
    """Draw the relevance of the text tokens as bars, in reading order from the top."""
    positions = row.text_positions
    heights = row.values[positions]
    axes.barh(range(len(positions)), heights, color=_colours(heights))
    axes.set_yticks(range(len(positions)), [row.labels[p] for p in positions], fontsize=7, parse_math=False)
    axes.set_ylim(len(positions) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_title(f"relevance of the text: {heights.sum():+.2f}", fontsize=9)
    axes.set_xlabel("relevance of a token", fontsize=8)


def _colours(values: Sequence[float] | np.ndarray[Any, Any]) -> list[str]:
    return [POSITIVE if value > 0 else NEGATIVE for value in values]
