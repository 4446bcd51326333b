"""Figures of attributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from lime_xai.model.layouts.layout import Layout, SoundLayout
from lime_xai.model.layouts.pictures import Received

from .bars import Bar, chosen, draw_bars, token_bars
from .events import Event, placed_events
from .maps import GAP, Drawn, Picture, draw_item, largest
from .row import GridLike, RowRelevance, views
from .sheet import LARGE, SMALL, Columns, Sheet, ShownFigure, signed

MARGIN = 0.06
"""Inches around a figure."""

_TEXT = 2.55
"""Inches of the bars beside maps."""


@dataclass(frozen=True)
class Words:
    """What a figure says besides the relevance of a row.

    Attributes
    ----------
    title : str
        Over the figure.
    caption : sequence of str
        Lines below.
    bars : sequence of Bar
        Of the text.
    kind : str
        Of a bar: token or word.
    """

    title: str
    caption: Sequence[str]
    bars: Sequence[Bar]
    kind: str = "token"


def attribution_figure(
    row: RowRelevance,
    image: Any = None,
    grid: GridLike = None,
    title: str | None = None,
    *,
    columns: Columns = 2,
    events: Any = None,
) -> ShownFigure:
    """Return a figure of one row of an attribution.

    Maps of images, videos and sounds, on what the model received; beside them (in one column: below) text tokens as
    bars; below, what was explained, with the shares and the residual. All maps have one scale.

    Parameters
    ----------
    row : RowRelevance
        The row.
    image : PIL.Image or array ``[H, W]`` or ``[H, W, 3]``, or a list of them, optional
        The picture, or one per image of the row, under its map in place of what the model received. Where it is not
        known which part a map shows (videos, tiles of unknown place, a single picture for several images), it is drawn
        above the maps.
    grid : (int, int) or sequence of (int, int) or None, optional
        Rows and columns of the only image, or of each, instead of its layout.
    title : str, optional
        Over the whole figure.
    columns : int
        Of a page: 1 or 2.
    events : mapping or sequence, optional
        Bounds on the sounds, as ``lime_xai.attribution.events.events_per_sound`` takes them.

    Returns
    -------
    ShownFigure

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit the row.
    """
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title is {type(title).__name__}; expected str.")
    row = row.with_grids(grid)
    bounds = placed_events(row.layouts, events)
    shown, above = _with_image(row, image)
    heading = title if title is not None else _heading(row)
    return composed_figure(shown, Words(heading, caption_of(row), token_bars(row)), columns, above, bounds)


def composed_figure(
    row: RowRelevance,
    words: Words,
    columns: Columns = 2,
    above: Sequence[Picture] = (),
    events: Mapping[int, Sequence[Event]] = MappingProxyType({}),
) -> ShownFigure:
    """Return a figure of maps and bars.

    Parameters
    ----------
    row : RowRelevance
        The row, with what the model received.
    words : Words
        Title, caption and bars.
    columns : int
        Of a page.
    above : sequence of numpy.ndarray
        Pictures over the maps.
    events : mapping of int to sequence of Event
        Bounds that are drawn on the sounds, from ``placed_events``.
    """
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    top = sheet.wrapped(MARGIN, MARGIN, words.title, inner, LARGE) + 0.05 if words.title else MARGIN
    found = chosen(words.bars)
    beside = columns == 2 and bool(row.layouts) and bool(found.bars)
    bottom = top
    if row.layouts:
        wide = inner - (_TEXT + 0.2 if beside else 0)
        limit = largest(row)
        below = _draw_above(sheet, above, (MARGIN, top, wide))
        bottom = draw_items(sheet, row, (MARGIN, below, wide), limit, events)
        bottom = draw_scale(sheet, row, (MARGIN, bottom, wide), limit)
    if found.bars:
        total = sum(bar.value for bar in words.bars)
        start = (sheet.width - MARGIN - _TEXT, top) if beside else (MARGIN, bottom + (0.05 if row.layouts else 0))
        ends = draw_bars(sheet, found, total, (*start, _TEXT if beside else inner), kind=words.kind)
        bottom = max(bottom, ends)
    bottom += 0.06
    for line in words.caption:
        bottom = sheet.wrapped(MARGIN, bottom, line, inner, SMALL, color="#333333")
    return sheet.finished(bottom + MARGIN, numbers_of(row, words.bars, words.kind))


def draw_items(
    sheet: Sheet,
    row: RowRelevance,
    place: tuple[float, float, float],
    limit: float,
    events: Mapping[int, Sequence[Event]] = MappingProxyType({}),
) -> float:
    """Draw all images, videos and sounds at a place (left, top, width in inches), and return where they end."""
    left, top, width = place
    for index, (layout, name) in enumerate(zip(row.layouts, row.names, strict=True)):
        item = Drawn(layout, name, row.picture_of(index), events.get(index, ()))
        top = draw_item(sheet, row, item, (left, top, width), limit) + 0.04
    return top


def draw_scale(sheet: Sheet, row: RowRelevance, place: tuple[float, float, float], limit: float) -> float:
    """Draw the colour bar of maps, if something is read from its colour alone, and return where it ends."""
    left, top, width = place
    if not _coloured(row):
        return top
    unit = "stretch" if isinstance(row.layouts[0], SoundLayout) else "token"
    return sheet.colour_bar(left + 0.05, top + 0.02, min(width - 0.1, 2.0), limit, f"relevance of a {unit}")


def _draw_above(sheet: Sheet, pictures: Sequence[Picture], place: tuple[float, float, float]) -> float:
    """Draw pictures of which it is not known which maps show them, and return where they end."""
    left, top, width = place
    for picture in pictures:
        wide = min(width, 1.6, 1.6 * picture.shape[1] / picture.shape[0])
        tall = wide * picture.shape[0] / picture.shape[1]
        axes = sheet.axes(left, top, wide, tall)
        axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None)
        axes.set_axis_off()
        top += tall + GAP
    return top


def _coloured(row: RowRelevance) -> bool:
    """Whether something is drawn whose relevance is read from its colour alone."""
    return any(
        not isinstance(layout, SoundLayout) or bool(row.picture_of(index).pictures)
        for index, layout in enumerate(row.layouts)
    )


def numbers_of(row: RowRelevance, bars: Sequence[Bar], kind: str = "token") -> list[dict[str, Any]]:
    """Return the numbers behind maps and bars: one entry per token of an image, video or sound, and per bar."""
    found: list[dict[str, Any]] = []
    for layout, name in zip(row.layouts, row.names, strict=True):
        found += _numbers_of(row, layout, name)
    return found + [
        {"part": "text", "kind": kind, "position": bar.position, "label": bar.label, "relevance": bar.value}
        for bar in bars
    ]


def _numbers_of(row: RowRelevance, layout: Layout, name: str) -> list[dict[str, Any]]:
    places: dict[int, dict[str, Any]] = {}
    for view in views(layout):
        for tile in view.tiles:
            for index, position in enumerate(tile.positions):
                down, across = divmod(index, tile.columns)
                places[position] = {"map": view.title, "row": down, "column": across}
                if tile.box is not None:
                    x0, y0, x1, y1 = tile.box
                    width, height = (x1 - x0) / tile.columns, (y1 - y0) / tile.rows
                    places[position] |= {"x0": x0 + across * width, "y0": y0 + down * height}
                    places[position] |= {"x1": x0 + (across + 1) * width, "y1": y0 + (down + 1) * height}
    if isinstance(layout, SoundLayout):
        times = layout.frames if layout.intervals is None else layout.intervals
        for position, (start, stop) in zip(layout.positions, times, strict=True):
            places[position] = {"start": start, "stop": stop}
    return [
        {
            "part": name,
            "kind": "token",
            "position": position,
            "relevance": float(row.values[position]),
            **places.get(position, {}),
        }
        for position in layout.positions
    ]


def _heading(row: RowRelevance) -> str:
    return "" if row.explained is None else f"Relevance for “{row.explained.target}”"


def caption_of(row: RowRelevance) -> list[str]:
    """Return the lines that name method, logit or margin, shares and residual, and the strongest token of each kind."""
    first = [f"share of {name} {share:.1%}" for name, share in row.shares.items()]
    if row.explained is not None and row.residual is not None:
        logit = f"{row.explained.kind} {signed(row.explained.logit)}"
        first = [f"method {row.explained.method}", logit, *first, f"residual {signed(row.residual)}"]
    strongest = [f"{name} token {signed(value)}" for name, value in row.strongest().items()]
    return [", ".join(first), f"strongest {', strongest '.join(strongest)}"]


def _with_image(row: RowRelevance, image: Any) -> tuple[RowRelevance, list[Picture]]:
    """Return the row with a user's pictures in place of those the model received, and pictures to draw above.

    Raises
    ------
    TypeError, ValueError
        For something that is no picture, and for another number of pictures than of images.
    """
    if image is None:
        return row, []
    images = [index for index, layout in enumerate(row.layouts) if layout.modality in ("image", "video")]
    given = list(image) if isinstance(image, (list, tuple)) else [image]
    if len(given) == 1 and len(images) > 1 and not isinstance(image, (list, tuple)):
        return row, [_array(image)]
    if len(given) != len(images):
        raise ValueError(f"image holds {len(given)} pictures, the row {len(images)} images; give a list of one each.")
    received = [row.picture_of(index) for index in range(len(row.layouts))]
    above = []
    for index, one in zip(images, given, strict=True):
        picture = _array(one)
        found = views(row.layouts[index])
        if found and row.layouts[index].modality == "image" and all(v.tiles[0].box is not None for v in found):
            received[index] = Received((picture,) * len(found), "pictures")
        else:
            above.append(picture)
    return replace(row, received=received), above


def _array(picture: Any) -> Picture:
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
