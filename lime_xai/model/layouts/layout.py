"""Layouts: which token of an image, a video or a sound stands for which part of it.

Positions are positions of a row. Boxes are fractions of the picture as the model received it, after the processor's
resizing and cropping: ``(x0, y0, x1, y1)``, x to the right and y downwards. A box may end a little outside 0 and 1
where the model pads the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lime_xai.model.modalities import Span

Grid = tuple[int, int]
"""Rows and columns of tokens."""

Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in fractions of width and height."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""The whole picture."""

AnyLayout = TypeVar("AnyLayout", bound="Layout")


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture that a grid of tokens divides evenly.

    Attributes
    ----------
    rows, columns : int
        Of tokens.
    positions : tuple of int
        Of the tokens, row by row.
    box : tuple of float or None
        Where the tile lies in the picture; None: not known.
    """

    rows: int
    columns: int
    positions: tuple[int, ...]
    box: Box | None = WHOLE

    def __post_init__(self) -> None:
        if self.rows * self.columns != len(self.positions):
            raise ValueError(f"A tile of {self.rows} x {self.columns} tokens has {len(self.positions)} positions.")

    @property
    def grid(self) -> Grid:
        """Rows and columns of tokens."""
        return self.rows, self.columns

    @property
    def whole(self) -> bool:
        """Whether the tile shows the whole picture, but for less than a token at its edges."""
        if self.box is None:
            return False
        x0, y0, x1, y1 = self.box
        x, y = (x1 - x0) / self.columns, (y1 - y0) / self.rows
        return x0 < x and y0 < y and x1 > 1 - x and y1 > 1 - y

    def centres(self) -> Tensor:
        """Return the centres ``[N, 2]`` (x, y) of the tokens in the picture, float64.

        Raises
        ------
        ValueError
            If the tile's place is not known.
        """
        if self.box is None:
            raise ValueError("The place of this tile in the picture is not known.")
        x0, y0, x1, y1 = self.box
        x = x0 + (torch.arange(self.columns, dtype=torch.float64) + 0.5) / self.columns * (x1 - x0)
        y = y0 + (torch.arange(self.rows, dtype=torch.float64) + 0.5) / self.rows * (y1 - y0)
        return torch.stack([x.repeat(self.rows), y.repeat_interleave(self.columns)], 1)

    def at(self, places: Sequence[int]) -> Tile:
        """Return the tile with the positions that ``places`` has at its positions."""
        return replace(self, positions=tuple(places[position] for position in self.positions))


@dataclass(frozen=True)
class Layout:
    """One image, video or sound of a row.

    Attributes
    ----------
    modality : str
        As in the spans of the prompt. Frames of a video are of modality ``image`` where the family writes them with
        image tokens.
    positions : tuple of int
        All its tokens in the row, ascending.
    """

    modality: str
    positions: tuple[int, ...]

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Grids of tokens: tiles of an image, frames of a video."""
        return ()

    @property
    def unplaced(self) -> tuple[int, ...]:
        """Positions in no tile: newline tokens, class tokens; all of them for a sound and an unknown layout."""
        placed = {position for tile in self.tiles for position in tile.positions}
        return tuple(position for position in self.positions if position not in placed)

    def at(self: AnyLayout, places: Sequence[int]) -> AnyLayout:
        """Return the layout with the positions that ``places`` has at its positions."""
        return replace(self, positions=tuple(places[position] for position in self.positions))


@dataclass(frozen=True)
class ImageLayout(Layout):
    """An image.

    Attributes
    ----------
    parts : tuple of Tile
        Its tiles: one, or an overview and tiles of higher resolution.
    reason : str or None
        Why the place of a tile is not known.
    """

    parts: tuple[Tile, ...] = ()
    reason: str | None = None

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles."""
        return self.parts

    def at(self, places: Sequence[int]) -> ImageLayout:
        """Return the layout with the positions that ``places`` has at its positions."""
        return replace(super().at(places), parts=tuple(tile.at(places) for tile in self.parts))


@dataclass(frozen=True)
class VideoLayout(Layout):
    """A video.

    Attributes
    ----------
    frames : tuple of Tile
        In order of time. A frame of tokens may stand for several pictures.
    seconds : float or None
        Per frame of tokens; None: not known.
    """

    frames: tuple[Tile, ...] = ()
    seconds: float | None = None

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The frames."""
        return self.frames

    def at(self, places: Sequence[int]) -> VideoLayout:
        """Return the layout with the positions that ``places`` has at its positions."""
        return replace(super().at(places), frames=tuple(tile.at(places) for tile in self.frames))


@dataclass(frozen=True)
class SoundLayout(Layout):
    """A sound.

    Attributes
    ----------
    frames : tuple of (int, int)
        Per position: the feature frames that the token stands for, ``start <= frame < stop``. Tokens that attend to
        one window of frames have the same.
    seconds_per_frame : float or None
        Hop of the feature extractor; None: not known, as no processor was given.
    """

    frames: tuple[tuple[int, int], ...] = ()
    seconds_per_frame: float | None = None

    @property
    def intervals(self) -> tuple[tuple[float, float], ...] | None:
        """Per position: its stretch of time in seconds; None if the length of a frame is not known."""
        step = self.seconds_per_frame
        return None if step is None else tuple((start * step, stop * step) for start, stop in self.frames)

    @property
    def duration(self) -> float | None:
        """End of the last token in seconds."""
        return None if self.intervals is None else max(stop for _, stop in self.intervals)


@dataclass(frozen=True)
class UnknownLayout(Layout):
    """A run of perceptual tokens of which only the order is known.

    Attributes
    ----------
    reason : str
        Why.
    """

    reason: str = ""


def with_grid(layout: Layout, grid: Grid) -> ImageLayout:
    """Return a layout whose tokens form one grid over the whole picture, as a user says.

    Raises
    ------
    ValueError
        If the grid has another number of cells.
    TypeError
        If it is no pair of int.
    """
    if (
        not isinstance(grid, (tuple, list))
        or len(grid) != 2
        or not all(isinstance(side, int) and not isinstance(side, bool) for side in grid)
    ):
        raise TypeError(f"grid is {grid!r}; expected (rows, columns).")
    rows, columns = grid
    if min(grid) < 1 or rows * columns != len(layout.positions):
        raise ValueError(
            f"grid {(rows, columns)} has {rows * columns} cells, the {layout.modality or 'run'} has "
            f"{len(layout.positions)} tokens."
        )
    return ImageLayout(layout.modality, layout.positions, (Tile(rows, columns, layout.positions),))


def unknown_layouts(spans: Iterable[Span], reason: str) -> list[Layout]:
    """Return an unknown layout for every perceptual run of a row."""
    return [
        UnknownLayout(span.modality, tuple(range(span.start, span.stop)), reason)
        for span in spans
        if span.modality != "text"
    ]


def layout_to_dict(layout: Layout) -> dict[str, Any]:
    """Return a layout as a dictionary for JSON."""
    data = {"kind": type(layout).__name__, "modality": layout.modality, "positions": layout.positions}
    if layout.tiles:
        data["tiles"] = [[tile.rows, tile.columns, tile.positions, tile.box] for tile in layout.tiles]
    for name in ("reason", "seconds", "frames", "seconds_per_frame"):
        if hasattr(layout, name) and not (name == "frames" and layout.tiles):
            data[name] = getattr(layout, name)
    return data


def layout_from_dict(data: dict[str, Any]) -> Layout:
    """Return the layout that ``layout_to_dict`` wrote.

    Raises
    ------
    ValueError
        For anything else.
    """
    try:
        return _made(data)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{data} is no layout ({type(error).__name__}: {error})") from error


def _made(data: dict[str, Any]) -> Layout:
    common = data["modality"], tuple(data["positions"])
    tiles = tuple(
        Tile(rows, columns, tuple(positions), None if box is None else (box[0], box[1], box[2], box[3]))
        for rows, columns, positions, box in data.get("tiles", ())
    )
    makers: dict[str, Callable[[], Layout]] = {
        "ImageLayout": lambda: ImageLayout(*common, tiles, data["reason"]),
        "VideoLayout": lambda: VideoLayout(*common, tiles, data["seconds"]),
        "SoundLayout": lambda: SoundLayout(
            *common, tuple((start, stop) for start, stop in data["frames"]), data["seconds_per_frame"]
        ),
        "UnknownLayout": lambda: UnknownLayout(*common, data["reason"]),
    }
    if data["kind"] not in makers:
        raise ValueError(f"The kind of a layout is {data['kind']!r}; expected one of {sorted(makers)}.")
    return makers[data["kind"]]()
