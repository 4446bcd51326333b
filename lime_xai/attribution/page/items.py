"""What an HTML page needs of relevance: pictures as data, maps as cells, relevance as 16-bit integers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lime_xai.attribution.events import Event, lanes_of
from lime_xai.attribution.row import RowRelevance, stretches
from lime_xai.attribution.sounds import sound_picture
from lime_xai.model.layouts.layout import WHOLE, Layout, SoundLayout, Tile
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.layouts.views import View, views

LEVELS = 32767
"""Of relevance: the largest 16-bit integer."""

SMALL = 40_000
"""Pixels up to which a picture is stored without loss."""

LARGEST = 1024
"""Pixels of the longer side of a stored picture."""

LETTER = 0.015
"""Width of a letter of an event's name, as a fraction of the width of a sound."""

Pixels = NDArray[np.uint8]


def maps_data(
    row: RowRelevance,
    values: NDArray[np.float64],
    lengths: Sequence[int],
    events: Mapping[int, Sequence[Event]] | None = None,
) -> dict[str, Any]:
    """Return the relevance of several words or tokens, and the images, videos and sounds of their prompt.

    Relevance is rounded to 1/32767 of the largest absolute value of its word.

    Parameters
    ----------
    row : RowRelevance
        Where images, videos and sounds lie, and what the model received of them.
    values : numpy.ndarray
        ``[W, T]``: relevance of every position for each word.
    lengths : sequence of int
        ``[W]``: positions before each word; what follows them is zero and left out.
    events : mapping of int to sequence of Event, optional
        Of the sounds, by their places among the layouts, as ``placed_events`` returns them.
    """
    scales = np.abs(values).max(1).clip(1e-30) / LEVELS
    rounded = np.round(values / scales[:, None]).astype("<i2")
    rows = np.concatenate([row[:count] for row, count in zip(rounded, lengths, strict=True)])
    return {
        "length": values.shape[1],
        "lengths": list(lengths),
        "relevance": base64.b64encode(rows.tobytes()).decode(),
        "scales": scales.tolist(),
        "limit": max(_limit(row, values), 1e-12),
        "items": [
            item_data(row, layout, name, row.picture_of(index), (events or {}).get(index, ()))
            for index, (layout, name) in enumerate(zip(row.layouts, row.names, strict=True))
        ],
    }


def _limit(row: RowRelevance, values: NDArray[np.float64]) -> float:
    """Return the largest absolute relevance of a cell of the maps; of a text alone, of a token."""
    found = [_cells(layout, values) for layout in row.layouts] or [values]
    return max(float(np.abs(cells).max()) for cells in found)


def _cells(layout: Layout, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relevance ``[W, cells]`` of a layout; tokens of one stretch of a sound are a cell together."""
    own = values[:, list(layout.positions)]
    if not isinstance(layout, SoundLayout):
        return own
    times = layout.frames if layout.intervals is None else layout.intervals
    order = {stretch: index for index, stretch in enumerate(dict.fromkeys(times))}
    members = np.eye(len(order))[[order[stretch] for stretch in times]]
    return np.asarray(own @ members)


def item_data(
    row: RowRelevance, layout: Layout, name: str, received: Received, events: Sequence[Event] = ()
) -> dict[str, Any]:
    """Return one image, video or sound with its maps."""
    item: dict[str, Any] = {"name": name, "reason": received.reason, "note": received.note, "kind": layout.modality}
    if isinstance(layout, SoundLayout):
        item["kind"] = "sound"
        item["views"] = [_sound(row, layout, received, events)]
    elif layout.tiles:
        pictures: Sequence[Any] = received.pictures or [None] * len(views(layout))
        item["views"] = [_view(view, picture) for view, picture in zip(views(layout), pictures, strict=True)]
    else:
        count = len(layout.positions)
        tiles = [_tile(Tile(1, count, layout.positions))]
        item["views"] = [{"title": "tokens in their order", "strip": True, "width": count, "height": 1, "tiles": tiles}]
    return item


def _view(view: View, picture: Pixels | None) -> dict[str, Any]:
    tiles = [_tile(tile) for tile in view.tiles]
    if picture is None:
        first = view.tiles[0]
        return {"title": view.title, "width": first.columns, "height": first.rows, "tiles": tiles}
    height, width = picture.shape[:2]
    return {"title": view.title, "source": data_uri(picture), "width": width, "height": height, "tiles": tiles}


def _tile(tile: Tile) -> dict[str, Any]:
    box = [round(side, 6) for side in tile.box or WHOLE]
    return {"rows": tile.rows, "columns": tile.columns, "box": box, "positions": runs(tile.positions)}


def _sound(row: RowRelevance, layout: SoundLayout, received: Received, events: Sequence[Event]) -> dict[str, Any]:
    """Return a sound over time: tokens of one stretch together, in fractions of its length."""
    times = layout.frames if layout.intervals is None else layout.intervals
    end = max(stop for _, stop, _ in stretches(row, layout))
    members: dict[tuple[float, float], list[int]] = {}
    for stretch, position in zip(times, layout.positions, strict=True):
        members.setdefault(stretch, []).append(position)
    unit = "s" if layout.intervals else "feature frames (seconds need the processor)"
    found: dict[str, Any] = {
        "title": f"{received.kind or 'time'}, 0 to {end:g} {unit}",
        "width": 6,
        "height": 1,
        "tiles": [],
        "ticks": ticks(end, "s" if layout.intervals else ""),
        "stretches": [
            {"start": start / end, "stop": stop / end, "positions": runs(positions)}
            for (start, stop), positions in members.items()
        ],
    }
    if received.pictures:
        picture = sound_picture(received)
        found |= {"source": data_uri(picture), "width": picture.shape[1], "height": picture.shape[0]}
    if events:
        found |= _lanes(events, end)
    return found


def ticks(end: float, unit: str) -> list[dict[str, Any]]:
    """Return at most seven round times from 0 to ``end``, as fractions of it and as text."""
    from matplotlib.ticker import MaxNLocator  # matplotlib is slow to import

    found = [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, end) if 0 <= tick <= end * (1 + 1e-9)]
    return [{"place": round(tick / end, 6), "text": f"{round(tick, 9):g} {unit}".strip()} for tick in found]


def _lanes(events: Sequence[Event], end: float) -> dict[str, Any]:
    """Return the bars of events in fractions of the sound's length, and in which lane each lies."""
    bars: list[dict[str, Any]] = []
    extents: list[tuple[float, float]] = []
    for event in events:
        start, stop, wide = event.start / end, min(event.stop / end, 1.0), len(event.name) * LETTER
        left = start + wide > 1  # the name ends with the bar, not to leave the page
        bars.append({"name": event.name, "start": start, "stop": stop, "left": left})
        extents.append((min(start, stop - wide), stop) if left else (start, max(stop, start + wide)))
    lanes = lanes_of(extents)
    return {"lanes": max(lanes) + 1, "events": [bar | {"lane": lane} for bar, lane in zip(bars, lanes, strict=True)]}


def runs(positions: Sequence[int]) -> list[list[int]]:
    """Return positions as pairs of start and count."""
    found: list[list[int]] = []
    for position in positions:
        if found and position == sum(found[-1]):
            found[-1][1] += 1
        else:
            found.append([position, 1])
    return found


def data_uri(picture: Pixels, largest: int = LARGEST) -> str:
    """Return a picture ``[H, W, 3]`` as a data URI: PNG if it is small, else JPEG, at most ``largest`` pixels wide."""
    image = Image.fromarray(picture)
    image.thumbnail((largest, largest))
    kind = "PNG" if image.width * image.height <= SMALL else "JPEG"
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
