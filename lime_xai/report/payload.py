"""What an HTML page needs of an explained answer: pictures as data, relevance as 16-bit integers, words and numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lime_xai.attribution.events import Event, lanes_of, placed_events
from lime_xai.attribution.row import RowRelevance, stretches
from lime_xai.attribution.sounds import sound_picture
from lime_xai.model.layouts.layout import WHOLE, Layout, SoundLayout, Tile
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.layouts.views import View, views
from lime_xai.storage.store import number

from .answer import ExplainedAnswer, ExplainedWord

LEVELS = 32767
"""Of relevance: the largest 16-bit integer."""

SMALL = 40_000
"""Pixels up to which a picture is stored without loss."""

LARGEST = 1024
"""Pixels of the longer side of a stored picture."""

LETTER = 0.015
"""Width of a letter of an event's name, as a fraction of the width of a sound."""

Pixels = NDArray[np.uint8]


def payload(found: ExplainedAnswer, title: str, events: Any = None) -> dict[str, Any]:
    """Return an answer as JSON-ready data for the page.

    Relevance is rounded to 1/32767 of the word's largest absolute value. Rows are as long as what is before the word:
    ``lengths`` positions. ``events`` are those of its sounds, as ``placed_events`` takes them.
    """
    values = torch.stack([found.relevance(word) for word in range(len(found.words))]).double().numpy()
    scales = np.abs(values).max(1).clip(1e-30) / LEVELS
    rounded = np.round(values / scales[:, None]).astype("<i2")
    lengths = [found.prompt_length + word.stop - 1 for word in found.words]
    rows = np.concatenate([row[:count] for row, count in zip(rounded, lengths, strict=True)])
    row = found.attribution.row(0)
    bounds = placed_events(row.layouts, events)
    placed = [position for layout in row.layouts for position in layout.positions]
    limit = float(np.abs(values[:, placed]).max()) if placed else float(np.abs(values).max())
    return {
        "title": title,
        "length": values.shape[1],
        "lengths": lengths,
        "relevance": base64.b64encode(rows.tobytes()).decode(),
        "scales": scales.tolist(),
        "limit": max(limit, 1e-12),
        "first": found.first_word,
        "items": [
            _item(row, layout, name, received, bounds.get(index, []))
            for index, (layout, name, received) in enumerate(zip(row.layouts, row.names, found.received, strict=True))
        ],
        "context": _context(found, row),
        "words": [_word(found, word) for word in found.words],
    }


def _word(found: ExplainedAnswer, word: ExplainedWord) -> dict[str, Any]:
    names = ("text", "lead", "special", "alternative")
    numbers = ("logit", "residual", "probability", "entropy", "margin", "alternative_probability", "grounding")
    data: dict[str, Any] = {name: getattr(word, name) for name in names}
    for name in numbers:
        value = getattr(word, name)
        data[name] = None if value is None else number(value, 4)
    data["relevance"] = {name: number(value, 4) for name, value in word.relevance.items()}
    data["shares"] = {name: number(value, 4) for name, value in word.shares.items()}
    steps = found.steps[word.start : word.stop]
    if steps and steps[0].losses:
        data["losses"] = [number(loss, 5) for loss in steps[0].losses]
    if steps and steps[0].share_before and steps[0].share_after:
        data["steps"] = f"{steps[0].share_before[0]:.2f} to {steps[0].share_after[0]:.2f}"
    return data


def _context(found: ExplainedAnswer, row: RowRelevance) -> list[dict[str, Any]]:
    """Return the words of the prompt and of the answer, with images and sounds at their places."""
    parts: list[tuple[int, dict[str, Any]]] = [
        (
            word.start,
            {"text": word.text, "lead": word.lead, "start": word.start, "stop": word.stop, "special": word.special},
        )
        for word in found.context
    ]
    parts += [(layout.positions[0], {"item": index}) for index, layout in enumerate(row.layouts)]
    length = found.prompt_length
    parts += [
        (
            length + word.start,
            {
                "text": word.text,
                "lead": word.lead,
                "start": length + word.start,
                "stop": length + word.stop,
                "special": word.special,
            },
        )
        for word in found.words
    ]
    return [part for _, part in sorted(parts, key=lambda pair: pair[0])]


def _item(row: RowRelevance, layout: Layout, name: str, received: Received, events: Sequence[Event]) -> dict[str, Any]:
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
