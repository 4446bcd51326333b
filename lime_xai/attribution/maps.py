"""Maps of relevance on pictures and sounds as the model received them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lime_xai.model.layouts.layout import WHOLE, ImageLayout, Layout, SoundLayout, UnknownLayout
from lime_xai.model.layouts.pictures import Received

from .colours import greyed, hexadecimal, rgb_of
from .events import Event
from .lanes import draw_bounds, draw_lanes
from .row import RowRelevance, View, stretches, views
from .sheet import LINE, NORMAL, OVERLAY, SMALL, Sheet, label_axes, signed
from .sounds import sound_picture

GAP = 0.08
"""Inches between maps."""

_TALLEST, _WIDEST = 3.0, 3.0
"""Inches of a map."""

_SOUND, _BARS, _STRIP = 0.55, 0.8, 0.22
"""Inches that a sound, its bars and a strip are high."""

_LEFT = 0.42
"""Inches for the labels of an axis."""

Picture = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Drawn:
    """One image, video or sound to draw.

    Attributes
    ----------
    layout : Layout
        Its layout.
    name : str
        As in ``RowRelevance.names``.
    received : Received
        What the model received of it.
    events : sequence of Event
        Of a sound: bounds that are drawn.
    """

    layout: Layout
    name: str
    received: Received
    events: Sequence[Event] = ()


def draw_item(sheet: Sheet, row: RowRelevance, item: Drawn, place: tuple[float, float, float], limit: float) -> float:
    """Draw one image, video or sound, and return where it ends.

    Parameters
    ----------
    sheet : Sheet
        Where to.
    row : RowRelevance
        The relevance.
    item : Drawn
        What to draw.
    place : (left, top, width)
        Inches.
    limit : float
        Relevance of the strongest colour.
    """
    left, top, width = place
    layout = item.layout
    article = "the " if item.name.isalpha() else ""
    total = float(row.of(layout.positions).sum())
    top = sheet.text(left, top, f"relevance of {article}{item.name}: {signed(total)}", NORMAL)
    for note in notes_of(row, item):
        top = sheet.wrapped(left, top, note, width, SMALL, color="#555555")
    top += 0.03
    if isinstance(layout, SoundLayout):
        return draw_sound(sheet, row, layout, item.received, (left, top, width), limit, item.events)
    if not layout.tiles:
        return _draw_strip(sheet, row, layout, (left, top, width), limit)
    pictures: Sequence[Picture | None] = item.received.pictures or [None] * len(views(layout))
    return _draw_views(sheet, row, list(zip(views(layout), pictures, strict=True)), (left, top, width), limit)


def notes_of(row: RowRelevance, item: Drawn) -> list[str]:
    """Return what a reader of a map must know: what is not drawn, and what is not known."""
    layout, found = item.layout, []
    if layout.tiles and layout.unplaced:
        rest = row.of(layout.unplaced)
        found.append(f"not drawn: {len(rest)} tokens of no place, {signed(float(rest.sum()))}")
    if isinstance(layout, UnknownLayout):
        found.append(f"layout unknown: {layout.reason}")
    elif item.received.reason is not None:
        found.append(f"not on the {'sound' if isinstance(layout, SoundLayout) else 'picture'}: {item.received.reason}")
    if isinstance(layout, ImageLayout) and layout.reason is not None:
        found.append(layout.reason)
    if item.received.note is not None:
        found.append(item.received.note)
    return found


def _draw_views(
    sheet: Sheet,
    row: RowRelevance,
    found: Sequence[tuple[View, Picture | None]],
    place: tuple[float, float, float],
    limit: float,
) -> float:
    """Draw the maps of an image or a video in lines, and return where they end."""
    left, top, width = place
    titled = len(found) > 1
    across = len(found) if len(found) <= 2 else min(len(found), max(3, round(width / 1.1)))
    side = min((width - (across - 1) * GAP) / across, _WIDEST)
    for start in range(0, len(found), across):
        part = found[start : start + across]
        sizes = [_size(view, picture, side) for view, picture in part]
        if titled:
            for number, (view, _) in enumerate(part):
                sheet.text(left + number * (side + GAP), top, view.title, SMALL, color="#555555")
            top += SMALL * LINE
        for number, ((view, picture), size) in enumerate(zip(part, sizes, strict=True)):
            axes = sheet.axes(left + number * (side + GAP), top, *size)
            draw_view(axes, row, view, limit, picture)
        top += max(height for _, height in sizes) + GAP
    return top


def _size(view: View, picture: Picture | None, side: float) -> tuple[float, float]:
    """Return width and height of a map in inches; a map without a picture has square tokens."""
    aspect = _aspect(view, picture)
    width = min(side, _TALLEST / aspect)
    return width, max(width * aspect, 0.05)


def _aspect(view: View, picture: Picture | None) -> float:
    """Return height by width of a view."""
    if picture is not None:
        return float(picture.shape[0] / picture.shape[1])
    boxes = [tile.box or WHOLE for tile in view.tiles]
    x0, y0, x1, y1 = boxes[0]
    square = (x1 - x0) / view.tiles[0].columns / ((y1 - y0) / view.tiles[0].rows)
    (left, right), (above, below) = _range(boxes, 0), _range(boxes, 1)
    return square * (below - above) / (right - left)


def _range(boxes: Sequence[tuple[float, float, float, float]], axis: int) -> tuple[float, float]:
    return min(0.0, *(box[axis] for box in boxes)), max(1.0, *(box[axis + 2] for box in boxes))


def draw_view(axes: Axes, row: RowRelevance, view: View, limit: float, picture: Picture | None = None) -> None:
    """Draw tiles at their places, over the picture in grey; what of a tile is beside the picture is cut off."""
    boxes = [tile.box or WHOLE for tile in view.tiles]
    xs, ys = (0.0, 1.0), (0.0, 1.0)
    if picture is None:
        xs, ys = _range(boxes, 0), _range(boxes, 1)
    else:
        smooth = "antialiased" if min(picture.shape[:2]) > 100 else "nearest"
        axes.imshow(greyed(picture), extent=(0, 1, 1, 0), interpolation=smooth)
    for tile, (x0, y0, x1, y1) in zip(view.tiles, boxes, strict=True):
        axes.imshow(
            row.tile(tile), cmap=OVERLAY, vmin=-limit, vmax=limit, extent=(x0, x1, y1, y0), interpolation="nearest"
        )
    axes.set_aspect(_aspect(view, picture) * (xs[1] - xs[0]) / (ys[1] - ys[0]))
    axes.set_xlim(*xs)
    axes.set_ylim(*ys[::-1])
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_strip(
    sheet: Sheet, row: RowRelevance, layout: Layout, place: tuple[float, float, float], limit: float
) -> float:
    """Draw tokens of unknown layout in their order, and return where they end."""
    left, top, width = place
    axes = sheet.axes(left, top, width, _STRIP)
    values = row.of(layout.positions)[None]
    extent = (0, values.shape[1], 1, 0)
    axes.imshow(values, cmap=OVERLAY, vmin=-limit, vmax=limit, aspect="auto", extent=extent, interpolation="nearest")
    axes.set_yticks([])
    axes.set_xticks([0, values.shape[1]])
    label_axes(axes, x="tokens, in order")
    return top + _STRIP + 2.6 * SMALL * LINE + GAP


def draw_sound(
    sheet: Sheet,
    row: RowRelevance,
    layout: SoundLayout,
    received: Received,
    place: tuple[float, float, float],
    limit: float,
    events: Sequence[Event] = (),
) -> float:
    """Draw a sound with its map, and the relevance over time below; return where they end.

    Parameters
    ----------
    sheet, row, layout, received, place, limit
        As in ``draw_item``.
    events : sequence of Event
        Bounds that are drawn, in the unit of the axis; events that overlap have bars in lanes of their own.
    """
    left, top, width = place
    found = stretches(row, layout)
    end = max(stop for _, stop, _ in found)
    left, width = left + _LEFT, width - _LEFT - 0.05
    _, top = draw_lanes(sheet, events, (left, top, width), end)
    drawn: list[Axes] = []
    if received.pictures:
        drawn.append(sheet.axes(left, top, width, _SOUND))
        _draw_received(drawn[0], received, end)
        for start, stop, value in found:
            colour = OVERLAY(0.5 + 0.5 * max(-1.0, min(1.0, value / limit)))
            drawn[0].axvspan(start, stop, facecolor=colour, edgecolor="none", linewidth=0, zorder=3)
        top += _SOUND + 0.05
    drawn.append(sheet.axes(left, top, width, _BARS))
    name = _draw_bars(drawn[-1], found, limit)
    label_axes(drawn[-1], "seconds" if layout.intervals else "feature frames (seconds need the processor)", name)
    for axes in drawn:
        axes.set_xlim(0, end)
        draw_bounds(axes, events, end)
    return top + _BARS + 2.8 * SMALL * LINE + GAP


def _draw_bars(axes: Axes, found: Sequence[tuple[float, float, float]], limit: float) -> str:
    """Draw relevance over time; return the name of the axis, which has the power of ten of its tick labels."""
    heights = [value for _, _, value in found]
    widths = [stop - start for start, stop, _ in found]
    axes.bar([start for start, _, _ in found], heights, widths, align="edge", color=colours_of(heights))
    axes.axhline(0, color="black", linewidth=0.5)
    tallest = max(limit, *(abs(value) for value in heights))
    axes.set_ylim(-1.05 * tallest, 1.05 * tallest)
    power = 0 if not tallest or 0.1 <= tallest < 1000 else math.floor(math.log10(tallest))  # labels stay short
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10.0**power:g}")
    return f"relevance, 1e{power}" if power else "relevance"


def _draw_received(axes: Axes, received: Received, end: float) -> None:
    """Draw a spectrogram or a waveform from 0 to the end of the last token."""
    axes.set_xticks([])
    axes.set_yticks([])
    if received.kind == "spectrogram":
        axes.imshow(sound_picture(received), extent=(0, end, 0, 1), aspect="auto", interpolation="antialiased")
        axes.set_ylim(0, 1)
        label_axes(axes, y="frequency")
        return
    samples = np.asarray(received.pictures[0], dtype=np.float64)
    count = min(len(samples), 1200)
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    lows, highs = (function.reduceat(samples, edges) for function in (np.minimum, np.maximum))
    tallest = max(float(np.abs(samples).max()), 1e-12)
    axes.fill_between((np.arange(count) + 0.5) * end / count, lows, highs, color="#5a5a5a", linewidth=0.4)
    axes.set_ylim(-1.05 * tallest, 1.05 * tallest)
    label_axes(axes, y="waveform")


def colours_of(values: Sequence[float] | NDArray[Any]) -> list[str]:
    """Return the colours of bars."""
    return [hexadecimal(rgb_of(value)) for value in values]


def largest(row: RowRelevance) -> float:
    """Return the largest absolute relevance of a cell of the maps; sounds count by their stretches."""
    found = [1e-12]
    for layout in row.layouts:
        cells = (
            [value for _, _, value in stretches(row, layout)]
            if isinstance(layout, SoundLayout)
            else row.of([position for tile in layout.tiles for position in tile.positions] or layout.positions).tolist()
        )
        found += [abs(value) for value in cells]
    return max(value for value in found if math.isfinite(value))
