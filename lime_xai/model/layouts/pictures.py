"""The picture as the model received it: tiles and patches put back where they belong, so that maps lie on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lime_xai.model.records import Content

from .colours import Colours, coloured, normalisation
from .layout import WHOLE, Box, ImageLayout, Layout, SoundLayout, UnknownLayout, VideoLayout
from .pixels import Part, image_parts, video_parts
from .reading import NotKnown, Reading
from .spectrograms import spectrograms, waveforms
from .views import View, views

if TYPE_CHECKING:
    from lime_xai.model.prompt import Prompt

Array = NDArray[Any]
_Known = TypeVar("_Known", bound=Layout)

_EMPTY = "white parts are shown by no tile"


@dataclass(frozen=True, eq=False, repr=False)
class Received(Content):
    """What the model received of one image, video or sound.

    Attributes
    ----------
    pictures : tuple of numpy.ndarray
        Of an image or a video: one ``[H, W, 3]`` uint8 per map, aligned with ``views(layout)``. It covers x and y from
        0 to 1 of the picture in which the boxes of the tiles lie; for a tile of unknown place, it is the tile's pixels.
        For a frame of tokens that stands for several pictures, it is the first of them.
        Of a sound: one float32 array, a spectrogram ``[bands, frames]`` from feature frame 0 to the end of the last
        token, or a waveform ``[samples]``.
    kind : str or None
        ``pictures``, ``spectrogram`` or ``waveform``; None if there is none.
    reason : str or None
        Why there is none.
    note : str or None
        In what the pictures differ from what the model received.
    """

    pictures: tuple[Array, ...] = ()
    kind: str | None = None
    reason: str | None = None
    note: str | None = None


def received(prompt: Prompt) -> list[list[Received]]:
    """Return what the model received of every image, video and sound: per row, aligned with ``prompt.layouts``.

    Only what is in the inputs is read, and put back where it belongs. The normalisation of colours is undone with the
    settings of the processor; if it was not given to ``read_prompt``, colours are stretched, and a note says so.

    Parameters
    ----------
    prompt : Prompt
        ``B`` rows.

    Returns
    -------
    list of list of Received
        ``[B]``, and one per layout of the row. Where the form of the inputs is not known, it has a reason and no
        pictures.
    """
    rows: list[list[Received | None]] = [[_unknown(layout) for layout in row] for row in prompt.layouts]
    modalities = dict.fromkeys(layout.modality for row in prompt.layouts for layout in row)
    for modality in modalities:
        reading = Reading(prompt.model.config, prompt.inputs, prompt.positions, modality, prompt.processor)
        _fill(rows, prompt.layouts, reading, ImageLayout, _images)
        _fill(rows, prompt.layouts, reading, VideoLayout, _videos)
        _fill(rows, prompt.layouts, reading, SoundLayout, _sounds)
    return [[one or Received(reason="the kind of its layout is not known") for one in row] for row in rows]


def _unknown(layout: Layout) -> Received | None:
    return Received(reason=f"its layout is not known: {layout.reason}") if isinstance(layout, UnknownLayout) else None


def _fill(
    rows: list[list[Received | None]],
    layouts: Sequence[Sequence[Layout]],
    reading: Reading,
    kind: type[_Known],
    read: Callable[[Reading, Sequence[_Known]], list[Received]],
) -> None:
    """Read what was received of the layouts of one class and modality, which are in the order of the inputs."""
    places = [(row, place) for row, some in enumerate(layouts) for place, _ in enumerate(some)]
    chosen = [
        (row, place, layout)
        for row, place in places
        if isinstance(layout := layouts[row][place], kind) and layout.modality == reading.modality
    ]
    if not chosen:
        return
    try:
        found = read(reading, [layout for _, _, layout in chosen])
    except NotKnown as unknown:
        found = [Received(reason=str(unknown))] * len(chosen)
    for (row, place, _), one in zip(chosen, found, strict=True):
        rows[row][place] = one


def _images(reading: Reading, layouts: Sequence[ImageLayout]) -> list[Received]:
    parts = image_parts(reading, layouts)
    return [_drawn(layout, some, reading, "image_processor", None) for layout, some in zip(layouts, parts, strict=True)]


def _videos(reading: Reading, layouts: Sequence[VideoLayout]) -> list[Received]:
    parts, count = video_parts(reading, layouts)
    note = None if count == 1 else f"a frame of tokens stands for {count} pictures, of which the first is shown"
    return [_drawn(layout, some, reading, "video_processor", note) for layout, some in zip(layouts, parts, strict=True)]


def _sounds(reading: Reading, layouts: Sequence[SoundLayout]) -> list[Received]:
    if reading.inputs.get("input_features") is None and reading.inputs.get("input_values") is not None:
        return [Received((sound,), "waveform") for sound in waveforms(reading, layouts)]
    return [Received((sound,), "spectrogram") for sound in spectrograms(reading, layouts)]


def _drawn(layout: Layout, parts: Sequence[Part], reading: Reading, name: str, note: str | None) -> Received:
    """Return the pictures of the maps of an image or a video."""
    colours, stretched = coloured([part.pixels for part in parts], normalisation(reading.processor, name))
    placed = [(pixels, part.box) for pixels, part in zip(colours, parts, strict=True)]
    pictures: list[Colours] = []
    notes = dict.fromkeys([stretched, note])
    for view in views(layout):
        picture, complete = _of_view(view, layout, placed)
        pictures.append(picture)
        if not complete:
            notes[_EMPTY] = None
    if isinstance(layout, ImageLayout):
        pictures = _of_one_shape(layout, pictures)
    return Received(tuple(pictures), "pictures", None, "; ".join(text for text in notes if text) or None)


def _of_view(view: View, layout: Layout, placed: Sequence[tuple[Colours, Box | None]]) -> tuple[Colours, bool]:
    """Return the picture of one map, and whether its tiles cover it.

    Raises
    ------
    NotKnown
        If a tile lies beside the picture, as the box of a registered layout may.
    """
    some = [placed[layout.tiles.index(tile)] for tile in view.tiles]
    pixels, box = some[0]
    if box is None or (box == WHOLE and len(some) == 1):
        return pixels, True
    return _composed([_inside(pixels, box) for pixels, box in some if box is not None])


def _inside(pixels: Colours, box: Box) -> tuple[Colours, Box]:
    """Return the pixels between 0 and 1 of the picture, and their box."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box

    def edges(start: float, stop: float, count: int) -> tuple[int, int]:
        step = (stop - start) / count
        return max(0, round(-start / step)), min(count, round((1 - start) / step))

    left, right = edges(x0, x1, width)
    top, bottom = edges(y0, y1, height)
    if left >= right or top >= bottom:
        raise NotKnown(f"the box {box} of a tile lies beside the picture, which is 0 to 1")
    return pixels[top:bottom, left:right], (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))


def _composed(parts: Sequence[tuple[Colours, Box]]) -> tuple[Colours, bool]:
    """Return a picture of parts at their boxes, in the resolution of the finest, and whether they cover it."""
    height = round(max(pixels.shape[0] / (y1 - y0) for pixels, (_, y0, _, y1) in parts))
    width = round(max(pixels.shape[1] / (x1 - x0) for pixels, (x0, _, x1, _) in parts))
    found = np.full((height, width, 3), 255, np.uint8)
    covered = np.zeros((height, width), bool)
    for pixels, (x0, y0, x1, y1) in parts:
        rows = slice(round(y0 * height), max(round(y1 * height), round(y0 * height) + 1))
        columns = slice(round(x0 * width), max(round(x1 * width), round(x0 * width) + 1))
        found[rows, columns] = _resized(pixels, rows.stop - rows.start, columns.stop - columns.start)
        covered[rows, columns] = True
    return found, bool(covered.all())


def _of_one_shape(layout: ImageLayout, pictures: Sequence[Colours]) -> list[Colours]:
    """Return the pictures of an image in one aspect: that of the last placed one, which has the highest resolution.

    Processors resize an overview to a square, whatever the shape of the picture.
    """
    known = [view.tiles[0].box is not None for view in views(layout)]
    last = next((picture for picture, one in zip(pictures[::-1], known[::-1], strict=True) if one), None)
    if last is None:
        return list(pictures)
    found = []
    for picture, one in zip(pictures, known, strict=True):
        scale = max(1.0, picture.shape[0] / last.shape[0], picture.shape[1] / last.shape[1])
        height, width = round(last.shape[0] * scale), round(last.shape[1] * scale)
        found.append(_resized(picture, height, width) if one else picture)
    return found


def _resized(pixels: Colours, height: int, width: int) -> Colours:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
