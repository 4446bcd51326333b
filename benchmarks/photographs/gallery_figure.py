"""Figures of the gallery: a picture, and the map of each object that the answer names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from lime_xai.attribution.figure import MARGIN, draw_items, draw_scale, numbers_of
from lime_xai.attribution.maps import largest
from lime_xai.attribution.row import RowRelevance
from lime_xai.attribution.sheet import LARGE, LINE, NORMAL, SMALL, Sheet, ShownFigure, signed
from lime_xai.model.layouts.pictures import Received
from lime_xai.report.answer import ExplainedAnswer
from lime_xai.report.figures import name_of, row_of

from .placed import Box

DPI: Final = 110
QUALITY: Final = 88
"""Of the WebP files, out of 100."""
ACROSS: Final = 4
"""Pictures beside each other."""
_GAP: Final = 0.12
_THERE, _ABSENT, _LINES = "#00664b", "#b2182b", "#222222"


@dataclass(frozen=True)
class Named:
    """An object that an answer names.

    Attributes
    ----------
    word : int
        Its first word in the answer.
    name : str
        Of the object.
    there : bool
        Whether the picture shows it.
    """

    word: int
    name: str
    there: bool

    @property
    def judged(self) -> str:
        """``"in the picture"`` or ``"invented"``."""
        return "in the picture" if self.there else "invented"


def maps_figure(
    answer: ExplainedAnswer,
    named: Sequence[Named],
    picture: NDArray[Any] | None = None,
    boxes: Mapping[str, Box] = MappingProxyType({}),
) -> ShownFigure:
    """Return the picture in colour, and beside it the map of each object that an answer names, with one scale.

    Parameters
    ----------
    answer : ExplainedAnswer
        About one picture.
    named : sequence of Named
        At least one.
    picture : numpy.ndarray, optional
        Shown in place of the picture that the model received: uint8 of shape [H, W, 3].
    boxes : mapping of str to Box
        Drawn on every picture with their names: left, top, right and bottom in pixels of ``picture``.
    """
    shown = answer.received[0].pictures[0] if picture is None else picture
    rows = [replace(row_of(answer, one.word), received=[Received((shown,), "pictures")]) for one in named]
    limit = max(map(largest, rows))
    sheet = Sheet(2)
    inner = sheet.width - 2 * MARGIN
    top = sheet.wrapped(MARGIN, MARGIN, f"“{answer.text}”", inner, LARGE) + 0.05
    wide = (inner - (ACROSS - 1) * _GAP) / ACROSS
    lefts = [MARGIN + number * (wide + _GAP) for number in range(ACROSS)]
    place = {name: tuple(side / shown.shape[0] for side in box) for name, box in boxes.items()}
    cells: list[tuple[Named, RowRelevance] | None] = [None, *zip(named, rows, strict=True)]
    for start in range(0, len(cells), ACROSS):
        ends = []
        for left, cell in zip(lefts, cells[start : start + ACROSS], strict=False):
            if cell is None:
                ends.append(_draw_picture(sheet, shown, (left, top, wide), boxed=bool(boxes)))
            else:
                ends.append(_draw_word(sheet, answer, *cell, (left, top, wide), limit))
            own = None if cell is None else cell[0].name
            _draw_boxes(sheet.figure.axes[-1], place, own)
        top = max(ends)
    bottom = draw_scale(sheet, rows[0], (MARGIN, top, inner), limit)
    numbers = [
        {"word": one.name} | entry
        for one, row in zip(named, rows, strict=True)
        for entry in numbers_of(row, (), "word")
    ]
    return sheet.finished(bottom + MARGIN, numbers)


def _draw_picture(sheet: Sheet, picture: NDArray[Any], place: tuple[float, float, float], *, boxed: bool) -> float:
    """Draw a picture in colour under a title as high as that of a word, and return where it ends."""
    left, top, wide = place
    title = "background of the scene" if boxed else "as the model received it"
    sheet.wrapped(left, top, title, wide, NORMAL)
    top += _title_height()
    axes = sheet.axes(left, top, wide, wide)
    axes.imshow(picture, extent=(0, 1, 1, 0))
    axes.set_xticks([])
    axes.set_yticks([])
    return top + wide


def _draw_word(
    sheet: Sheet,
    answer: ExplainedAnswer,
    named: Named,
    row: RowRelevance,
    place: tuple[float, float, float],
    limit: float,
) -> float:
    """Draw the map of a word with its numbers above, and return where it ends."""
    left, top, wide = place
    word = answer.words[named.word]
    grounding = "not known" if word.grounding is None else f"{signed(word.grounding)} nats"
    colour = _THERE if named.there else _ABSENT
    below = sheet.text(left, top, f"{name_of(answer, named.word)}: {named.judged}", NORMAL, color=colour)
    sheet.text(left, below, f"image share {word.shares['image']:.0%}\ngrounding {grounding}", SMALL)
    start = top + _title_height() - NORMAL * LINE - 0.03  # draw_items begins with a line of its own
    return draw_items(sheet, row, (left, start, wide), limit)


def _title_height() -> float:
    """Return the inches from the top of a cell to its picture: two lines of text, and two of notes."""
    return 2 * NORMAL * LINE + 2 * SMALL * LINE + 0.03


def _draw_boxes(axes: Axes, boxes: Mapping[str, tuple[float, ...]], own: str | None) -> None:
    """Draw boxes (fractions of the picture) with their names; that of the object ``own`` has a thick line."""
    halo = [withStroke(linewidth=2, foreground="white")]
    for name, (left, top, right, bottom) in boxes.items():
        line = 1.6 if name == own else 0.7
        axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=_LINES,
                linewidth=line,
                path_effects=[withStroke(linewidth=line + 1.2, foreground="white")],
            )
        )
        axes.text(left + 0.01, top + 0.01, name, fontsize=SMALL, va="top", color=_LINES, path_effects=halo)


def save_small(figure: ShownFigure, path: Path) -> None:
    """Write a figure as WebP: a fifth of the bytes of a PNG file; a palette would lose the pale colours of maps."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    Image.open(file).convert("RGB").save(path, format="WEBP", quality=QUALITY, method=6)
