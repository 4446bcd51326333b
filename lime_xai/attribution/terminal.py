"""Relevance as text for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from lime_xai.model.layouts.layout import ImageLayout, Layout, SoundLayout, UnknownLayout, VideoLayout
from lime_xai.printing import signed

from .colours import Rgb, ink_on, on_white
from .row import GridLike, RowRelevance, Values, View, readable, stretches, views

_SHADES = " ░▒▓█"
"""Of a cell with positive relevance, from none to the most."""
_LINES = " .-=≡"
"""Of a cell with negative relevance: another mark, because the sign must be read without colours too."""
_GAP = 2
"""Blank columns between frames of a video."""


def relevance_text(row: RowRelevance, width: int | None = None, grid: GridLike = None) -> Text:
    """Return one row: maps of images and videos, sounds over time, text tokens with their values.

    Parameters
    ----------
    row : RowRelevance
        The row.
    width : int, optional
        Columns that maps may take; by default those of the terminal. Where a map has more, neighbouring tokens are
        summed into one cell, and its title says so.
    grid : (int, int) or sequence of (int, int) or None, optional
        Rows and columns of the only image, or of each, instead of its layout.

    Returns
    -------
    rich.text.Text
        Red where relevance is positive, blue where negative, as in figures: cells have the colour of a map on white.
        Without colours, blocks are positive and lines negative; the fuller a cell, the more relevance. A legend says
        it. Every map has its own scale, and a last line compares the strongest tokens. Tokens of unknown layout are a
        strip in their order, with the reason.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit the row.
    """
    columns = shutil.get_terminal_size().columns if width is None else width
    if not isinstance(columns, int) or isinstance(columns, bool):
        raise TypeError(f"width is {type(columns).__name__}; expected int.")
    if columns < 8:
        raise ValueError(f"width is {columns}; a map needs at least 8 columns.")
    row = row.with_grids(grid)
    first = {layout.positions[0]: (layout, name) for layout, name in zip(row.layouts, row.names, strict=True)}
    text = Text()
    loudest = max([1e-12, *np.abs(row.of(row.text_positions)).tolist()])
    for span in row.spans:
        if span.modality == "text":
            for position in range(span.start, span.stop):
                value = row.values[position]
                text.append(f"{readable(row.labels[position])} ")
                paper = on_white(value, loudest)
                text.append(signed(value), style=_style(ink_on(paper), paper))
                text.append(" ")
            text.append("\n")
        for position in range(span.start, span.stop):
            if position in first:
                _add_layout(text, row, *first[position], columns)
    if row.layouts:
        _add_legend(text)
    strongest = [f"{name} token {signed(value)}" for name, value in row.strongest().items()]
    if len(strongest) > 1:
        text.append(f"strongest {', strongest '.join(strongest)}\n")
    return text


def _add_legend(text: Text) -> None:
    """Add the cells of each sign, from little relevance to the most, and what the sign means."""
    text.append("\n")
    for sign, meaning in ((1, " supports the target, "), (-1, " speaks against it\n")):
        steps = len(_SHADES) - 1
        for step in range(1, steps + 1):
            _add_cells(text, [sign * (step + 0.5) / (steps + 1)], 1.0, 1)
        text.append(meaning)


def _add_layout(text: Text, row: RowRelevance, layout: Layout, name: str, width: int) -> None:
    """Add one image, video or sound."""
    values = row.of(layout.positions)
    scale = max(float(np.abs(values).max()), 1e-12)
    text.append(f"\n{name}: {len(values)} tokens, sum {signed(float(values.sum()))}, a full cell is {scale:.2f}\n")
    if layout.tiles and layout.unplaced:
        rest = row.of(layout.unplaced)
        text.append(f"not drawn: {len(rest)} tokens of no place, {signed(float(rest.sum()))}\n")
    if isinstance(layout, UnknownLayout):
        text.append(f"layout unknown: {layout.reason}; tokens in their order\n")
        _add_lines(text, values, scale, width)
    elif isinstance(layout, SoundLayout):
        _add_sound(text, row, layout, scale, width)
    elif isinstance(layout, VideoLayout):
        _add_frames(text, row, layout, scale, width)
    elif isinstance(layout, ImageLayout):
        if layout.reason is not None:
            text.append(f"{layout.reason}\n")
        found = views(layout)
        for view in found:
            for title, cells in _maps(row, view):
                _add_map(text, title if len(found) > 1 or len(view.tiles) > 1 else "", cells, scale, width)


def _maps(row: RowRelevance, view: View) -> Iterator[tuple[str, Values]]:
    """Yield titles and maps of a view: one map if its tiles have tokens of one size, otherwise one per tile."""
    joined = composed(row, view)
    if joined is not None:
        yield view.title, joined
        return
    for tile in view.tiles:
        x0, y0, x1, y1 = tile.box or (0.0, 0.0, 1.0, 1.0)
        yield f"tile at x {x0:.2f} to {x1:.2f}, y {y0:.2f} to {y1:.2f}", row.tile(tile)


def composed(row: RowRelevance, view: View) -> Values | None:
    """Return the tiles of a view as one map, NaN where there is none; None if their tokens differ in size."""
    if len(view.tiles) == 1:
        return row.tile(view.tiles[0])
    boxes = np.array([tile.box for tile in view.tiles], dtype=float)
    grids = np.array([tile.grid[::-1] for tile in view.tiles])
    tokens = (boxes[:, 2:] - boxes[:, :2]) / grids
    starts = (boxes[:, :2] - boxes[:, :2].min(0)) / tokens[0]
    if not np.allclose(tokens, tokens[0]) or not np.allclose(starts, starts.round(), atol=1e-3):
        return None
    places = starts.round().astype(int)
    across, down = (places + grids).max(0)
    found = np.full((down, across), np.nan, dtype=np.float32)
    for tile, (x, y) in zip(view.tiles, places, strict=True):
        found[y : y + tile.rows, x : x + tile.columns] = row.tile(tile)
    return found


def _add_map(text: Text, title: str, cells: Values, scale: float, width: int) -> None:
    """Add a map that fits the width, under its title."""
    edge = -(-cells.shape[1] // width)
    notes = [title] if title else []
    if edge > 1:
        cells = _summed(cells, edge)
        scale = max(float(np.nanmax(np.abs(cells))), 1e-12)
        notes.append(f"a cell is the sum of {edge} x {edge} tokens, a full one {scale:.2f}")
    if notes:
        text.append(f"{', '.join(notes)}:\n")
    repeat = 2 if 2 * cells.shape[1] <= width else 1
    for line in cells:
        _add_cells(text, line, scale, repeat)
        text.append("\n")


def _summed(cells: Values, edge: int) -> Values:
    """Return the sums of blocks of ``edge`` x ``edge`` cells; NaN where all of a block is."""
    down, across = (-(-side // edge) for side in cells.shape)
    padded = np.full((down * edge, across * edge), np.nan, dtype=np.float32)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    blocks = padded.reshape(down, edge, across, edge).transpose(0, 2, 1, 3).reshape(down, across, -1)
    sums: Values = np.where(np.isnan(blocks).all(-1), np.nan, np.nansum(blocks, -1)).astype(np.float32)
    return sums


def _add_frames(text: Text, row: RowRelevance, layout: VideoLayout, scale: float, width: int) -> None:
    """Add the frames of a video, as many beside each other as fit."""
    found = views(layout)
    size = 2 * layout.frames[0].columns + _GAP
    beside = max(1, (width + _GAP) // size)
    if beside == 1:
        for view in found:
            _add_map(text, view.title, row.tile(view.tiles[0]), scale, width)
        return
    for start in range(0, len(found), beside):
        part = found[start : start + beside]
        text.append("".join(view.title[: size - 1].ljust(size) for view in part).rstrip() + "\n")
        for line in range(layout.frames[0].rows):
            for view in part:
                _add_cells(text, row.tile(view.tiles[0])[line], scale, 2)
                text.append(" " * _GAP)
            text.append("\n")


def _add_sound(text: Text, row: RowRelevance, layout: SoundLayout, scale: float, width: int) -> None:
    """Add a sound: lines of stretches, with the time at which each line begins."""
    found = stretches(row, layout)
    scale = max(scale, *(abs(value) for _, _, value in found))
    unit = "s" if layout.intervals else "frames"
    lead = len(f"{found[-1][0]:.2f} {unit} ")
    per_line = max(1, (width - lead) // 2)
    for start in range(0, len(found), per_line):
        part = found[start : start + per_line]
        text.append(f"{part[0][0]:.2f} {unit} ".rjust(lead))
        _add_cells(text, [value for _, _, value in part], scale, 2)
        text.append("\n")


def _add_lines(text: Text, values: Values, scale: float, width: int) -> None:
    """Add values in their order, broken at the width."""
    per_line = width // 2
    for start in range(0, len(values), per_line):
        _add_cells(text, values[start : start + per_line], scale, 2)
        text.append("\n")


def _add_cells(text: Text, values: Sequence[float] | Values, scale: float, repeat: int) -> None:
    for value in values:
        if np.isnan(value):
            text.append(" " * repeat)
            continue
        marks = _SHADES if value > 0 else _LINES
        shade = marks[min(int(abs(value) / scale * len(marks)), len(marks) - 1)]
        colour = on_white(value, scale)
        text.append(shade * repeat, style=_style(colour, colour))


def _style(ink: Rgb, paper: Rgb) -> Style:
    return Style(color=Color.from_rgb(*ink), bgcolor=Color.from_rgb(*paper))
