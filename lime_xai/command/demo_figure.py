"""The figure of the demonstration: a scene, and a word that is not in it, without and with steering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea

from lime_xai.attribution.bars import chosen, draw_bars, token_bars
from lime_xai.attribution.events import Event
from lime_xai.attribution.figure import MARGIN, draw_items, draw_scale, numbers_of
from lime_xai.attribution.lanes import draw_bounds, draw_lanes
from lime_xai.attribution.maps import largest
from lime_xai.attribution.row import RowRelevance
from lime_xai.attribution.sheet import LARGE, LINE, NORMAL, SMALL, Sheet, ShownFigure, fonts, label_axes
from lime_xai.attribution.sounds import sound_picture
from lime_xai.worlds import World
from lime_xai.worlds.scene.objects import GRID
from lime_xai.worlds.shared.language import Language, Truth
from lime_xai.worlds.sound import SAMPLING_RATE

GAP = 0.2
"""Inches between panels."""

SOUND, LABEL = 0.9, 0.25
"""Inches that a spectrogram is high, and that the label on its left takes."""

ABSENT, PRESENT = "#b2182b", "#00664d"
"""Of the names of things that are not in the scene, and of those that are; the former are bold too."""


@dataclass(frozen=True, eq=False)
class NextWord:
    """What the model says after some words.

    Attributes
    ----------
    word : str
        The most probable next word.
    probability : float
        Its probability.
    invented : float
        Probability of the word that the model alone says and that is not in the scene.
    row : RowRelevance
        Relevance for ``word``, in the model without steering.
    """

    word: str
    probability: float
    invented: float
    row: RowRelevance


@dataclass(frozen=True, eq=False)
class Lead:
    """What the figure shows.

    Attributes
    ----------
    world : World
        Of the scene.
    medium : PIL.Image.Image or numpy.ndarray
        Of the scene: its picture, or its samples.
    truth : Truth
        What is in it.
    before : str
        The words before the word in question.
    word : str
        Which the model alone says and which is not in the scene.
    captions : (str, str)
        Without and with steering.
    alone, steered : NextWord
        After ``before``.
    """

    world: World
    medium: Any
    truth: Any
    before: str
    word: str
    captions: tuple[str, str]
    alone: NextWord
    steered: NextWord


def lead_figure(lead: Lead, notes: Sequence[str]) -> ShownFigure:
    """Return the figure: both captions; the scene with the names of its objects; the next word without and with.

    Parameters
    ----------
    lead : Lead
        What to draw.
    notes : sequence of str
        Lines below the scene: how it was chosen, and what the numbers are.
    """
    sheet = Sheet()
    inner = sheet.width - 2 * MARGIN
    medium, language = lead.world.medium, lead.world.language
    title = f"The model says “{lead.word}”, and there is no {lead.word} in the {medium}"
    top = sheet.wrapped(MARGIN, MARGIN, title, inner, LARGE) + 0.05
    for name, caption in zip(("without steering:", "with steering:"), lead.captions, strict=True):
        top = _caption(sheet, name, caption, lead.truth, language, top)
    top += 0.08
    wide = (inner - 2 * GAP) / 3
    lefts = [MARGIN + index * (wide + GAP) for index in range(3)]
    words = f"after “... {' '.join(lead.before.split()[-4:])}”"
    start = sheet.wrapped(lefts[0], top, f"the {medium}, and what is in it", wide, NORMAL)
    sides = (("without steering", lead.alone), ("with steering", lead.steered))
    for left, (name, said) in zip(lefts[1:], sides, strict=True):
        start = max(start, sheet.wrapped(left, top, f"{name} {words}:\n{heading(said, lead)}", wide, NORMAL))
    limit = max(largest(said.row) for _, said in sides)
    if lead.world.modality == "image":
        bottom = _picture(sheet, lead, (lefts[0], start + NORMAL * LINE + 0.03, wide))  # level with the maps
    else:
        bottom = _sound(sheet, lead, (lefts[0] + LABEL, top + 1.6 * NORMAL * LINE, wide - LABEL))
    for left, (_, said) in zip(lefts[1:], sides, strict=True):
        bottom = max(bottom, draw_items(sheet, said.row, (left, start, wide), limit))
    under = draw_scale(sheet, lead.alone.row, (lefts[0], bottom, wide), limit) + 0.08
    for line in notes:
        under = sheet.wrapped(lefts[0], under, line, wide, SMALL, color="#333333") + 0.05
    bars = [token_bars(said.row) for _, said in sides]
    end = max([1e-12, *(abs(bar.value) for some in bars for bar in some)])
    ends = [
        draw_bars(sheet, chosen(some), sum(bar.value for bar in some), (left, bottom, wide), end, "word")
        for left, some in zip(lefts[1:], bars, strict=True)
    ]
    numbers = [
        {"steering": name, "word": said.word, "probability": said.probability} | entry
        for (name, said), some in zip(sides, bars, strict=True)
        for entry in numbers_of(said.row, some, "word")
    ]
    return sheet.finished(max(under, *ends) + MARGIN, numbers)


def heading(said: NextWord, lead: Lead) -> str:
    """Return what the model says next, and how sure it is."""
    text = f"“{said.word}” ({said.probability:.0%})"
    return text if said.word == lead.word else f"{text}, and “{lead.word}” has {said.invented:.0%}"


def _picture(sheet: Sheet, lead: Lead, place: tuple[float, float, float]) -> float:
    """Draw the picture with the names of its objects; return where it ends."""
    left, top, wide = place
    axes = sheet.axes(left, top, wide, wide, xticks=[], yticks=[])
    axes.imshow(lead.medium, extent=(0, 1, 1, 0), interpolation="nearest")
    for obj in lead.truth.present:
        down, across = divmod(lead.truth.cell_of(obj), GRID)
        axes.text(
            (across + 0.03) / GRID,
            (down + 0.03) / GRID,
            lead.world.language.classes[obj],
            fontsize=NORMAL,
            family=fonts(),
            va="top",
            color=PRESENT,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
        )

    return top + wide


def _sound(sheet: Sheet, lead: Lead, place: tuple[float, float, float]) -> float:
    """Draw the spectrogram that the model received, with a bar for each event; return where it ends."""
    left, top, wide = place
    end = len(lead.medium) / SAMPLING_RATE
    names = lead.world.language.classes
    events = [Event(one.onset, one.offset, names[one.obj]) for one in lead.truth.events]
    _, top = draw_lanes(sheet, events, place, end)
    axes = sheet.axes(left, top, wide, SOUND, yticks=[])
    received = sound_picture(lead.alone.row.picture_of(0))
    axes.imshow(received, extent=(0, end, 0, 1), aspect="auto", interpolation="nearest")
    axes.set_xlim(0, end)
    draw_bounds(axes, events, end)
    label_axes(axes, "seconds", "frequency")
    return top + SOUND + 2.8 * SMALL * LINE


def _caption(sheet: Sheet, name: str, caption: str, truth: Truth, language: Language, top: float) -> float:
    """Write a caption with the names of things marked, and return where it ends."""
    sheet.text(MARGIN, top, name, NORMAL, color="#555555")
    axes = sheet.axes(MARGIN + 1.0, top, sheet.width - 2 * MARGIN - 1.0, NORMAL * LINE)
    axes.set_axis_off()
    parts: list[Artist] = [_word(word, truth, language) for word in caption.replace("</s>", "").split()]
    line = HPacker(children=parts, pad=0, sep=2.6)
    axes.add_artist(
        AnnotationBbox(
            line, (0, 1), xycoords="axes fraction", box_alignment=(0, 1), frameon=False, pad=0, annotation_clip=False
        )
    )
    return top + NORMAL * LINE + 0.02


def _word(word: str, truth: Truth, language: Language) -> TextArea:
    style = {"fontsize": NORMAL, "family": fonts(), "parse_math": False}
    if word in language.classes:
        there = language.classes.index(word) in truth.present
        style |= {"color": PRESENT if there else ABSENT, "weight": "normal" if there else "bold"}
    return TextArea(word, textprops=style)
