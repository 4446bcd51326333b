"""Views: the maps that are drawn of one image or video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layout import ImageLayout, Layout, Tile, VideoLayout


@dataclass(frozen=True)
class View:
    """Tiles that are drawn as one map, because they do not overlap; without a place in the picture, a single tile.

    Attributes
    ----------
    title : str
        What it shows.
    tiles : tuple of Tile
        In the order of the layout.
    """

    title: str
    tiles: tuple[Tile, ...]


def views(layout: Layout) -> list[View]:
    """Return the maps of a layout: overviews, tiles at their places, tiles of unknown place, or frames."""
    if isinstance(layout, VideoLayout):
        return [View(_frame_title(layout, number), (tile,)) for number, tile in enumerate(layout.frames)]
    if not isinstance(layout, ImageLayout):
        return []
    found = [View(f"{tile.rows} x {tile.columns} tokens", (tile,)) for tile in layout.tiles if tile.whole]
    parts = tuple(tile for tile in layout.tiles if tile.box is not None and not tile.whole)
    alone = _overlap(parts)
    if parts and not alone:
        title = f"{len(parts)} tiles" if len(parts) > 1 else f"{parts[0].rows} x {parts[0].columns} tokens"
        found.append(View(title, parts))
    for number, tile in enumerate(layout.tiles):
        if tile.box is None or (alone and tile in parts):
            found.append(
                View(f"tile {number + 1}, place unknown" if tile.box is None else f"tile {number + 1}", (tile,))
            )
    return found


def _overlap(tiles: Sequence[Tile]) -> bool:
    """Whether two tiles show the same part of a picture; edges may touch."""
    boxes = [tile.box for tile in tiles if tile.box is not None]
    small = 1e-6
    return any(
        a[0] < b[2] - small and b[0] < a[2] - small and a[1] < b[3] - small and b[1] < a[3] - small
        for index, a in enumerate(boxes)
        for b in boxes[:index]
    )


def _frame_title(layout: VideoLayout, number: int) -> str:
    return f"frame {number + 1}" if layout.seconds is None else f"{number * layout.seconds:g} s"
