"""Figures of explained answers over steps and over time: the objective of an edit, a word on a sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from lime_xai.attribution.events import Event, placed_events
from lime_xai.attribution.figure import MARGIN, numbers_of
from lime_xai.attribution.maps import draw_sound, largest
from lime_xai.attribution.row import RowRelevance, readable
from lime_xai.attribution.sheet import LARGE, LINE, SMALL, Columns, Sheet, ShownFigure, label_axes, signed
from lime_xai.attribution.time import TimeRelevance
from lime_xai.errors import unknown_name
from lime_xai.model.layouts.layout import SoundLayout, UnknownLayout

from .answer import ExplainedAnswer
from .figures import name_of, names_of, row_of, word_bars, word_caption
from .plots import StepMeasure

_TOLD = 8
"""Curves that are named one by one; more have a colour bar."""

_PALETTE = "cividis"
"""Sequential, with one order for every kind of colour blindness."""


_WORDS: Final = {"objective": "objective", "relevance": "perceptual share of absolute relevance"}
"""What is drawn over the steps, by measure."""


def _curves(found: ExplainedAnswer, measure: StepMeasure) -> Sequence[tuple[int, Sequence[float]]]:
    """Return the tokens for which a measure was noted, with its values over the steps."""
    if measure not in _WORDS:
        raise unknown_name("measure", measure, _WORDS)
    noted = [step.losses if measure == "objective" else step.shares for step in found.steps]
    curves = [(index, values) for index, values in enumerate(noted) if values]
    if not curves and measure == "relevance":
        raise ValueError(
            "plot_steps needs the relevance at every step of an edit, which this answer does not have; call "
            "explain(model, inputs, Edit(direction='backward')) without answer= and num_beams=."
        )
    if not curves:
        raise ValueError(
            "plot_steps needs the objective of an edit, which this answer does not have; call explain(model, inputs, "
            "'edit') without answer= and num_beams=."
        )
    return curves


def steps_figure(found: ExplainedAnswer, columns: Columns = 1, measure: StepMeasure = "objective") -> ShownFigure:
    """Return the objective or the perceptual relevance over the steps of an edit, one curve per token.

    Raises
    ------
    ValueError
        For another measure; if no policy noted it.
    """
    curves, words = _curves(found, measure), _WORDS[measure]
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    title = f"{words[0].upper()}{words[1:]} over the steps of the edit, one curve per token"
    top = sheet.wrapped(MARGIN, MARGIN, title, inner, LARGE) + 0.06
    left, tall = 0.55, 1.7
    told = len(curves) <= _TOLD
    room = 1.0 if told else 0.55
    axes = sheet.axes(left, top, sheet.width - left - room, tall)
    colours = colormaps[_PALETTE]
    last = max(len(curves) - 1, 1)
    for order, (index, values) in enumerate(curves):
        axes.plot(
            range(len(values)),
            values,
            color=colours(0.92 * order / last),
            linewidth=1.0,
            marker=".",
            markersize=3,
            label=_token_name(found, index),
        )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "update step", words)
    if told:
        _tell(sheet, curves, found, (sheet.width - room + 0.08, top))
    else:
        bar_axes = sheet.axes(sheet.width - room + 0.1, top, 0.08, tall)
        bar = sheet.figure.colorbar(ScalarMappable(Normalize(0, last / 0.92), colours), cax=bar_axes)
        bar.ax.set_ylim(0, last)
        label_axes(bar.ax, y="token of the answer")
    bottom = top + tall + 2.8 * SMALL * LINE
    change, moves = (-1, "the objective fell") if measure == "objective" else (1, "the share rose")
    moved = sum(change * (values[-1] - values[0]) > 0 for _, values in curves)
    caption = f"{names_of(found)}; {moves} at {moved} of {len(curves)} tokens"
    bottom = sheet.wrapped(MARGIN, bottom, caption, inner, SMALL, color="#333333")
    numbers = [
        {"token": index, "word": _token_name(found, index), "step": step, measure: value}
        for index, values in curves
        for step, value in enumerate(values)
    ]
    return sheet.finished(bottom + MARGIN, numbers)


def _token_name(found: ExplainedAnswer, token: int) -> str:
    """Return the word of a token, numbered where it has several."""
    for word in found.words:
        if word.start <= token < word.stop:
            part = f" {token - word.start + 1}/{word.stop - word.start}" if word.stop - word.start > 1 else ""
            return readable(word.text, 14) + part
    return f"token {token}"


def _tell(
    sheet: Sheet, curves: Sequence[tuple[int, Sequence[float]]], found: ExplainedAnswer, place: tuple[float, float]
) -> None:
    """Write the names of curves in their colours, in the order of the answer."""
    left, top = place
    last = max(len(curves) - 1, 1)
    for order, (index, _) in enumerate(curves):
        line = sheet.axes(left, top + 0.04, 0.14, 0.03)
        line.set_axis_off()
        line.axhline(0.5, color=colormaps[_PALETTE](0.92 * order / last), linewidth=1.5)
        top = sheet.text(left + 0.18, top, _token_name(found, index), SMALL)


def sound_figure(found: ExplainedAnswer, word: int, events: Any = None, columns: Columns = 2) -> ShownFigure:
    """Return every sound with the relevance of a word over time, and bounds of events.

    Raises
    ------
    ValueError
        If there is no sound; for events that are no stretches of time.
    """
    row = row_of(found, word)
    sounds = [(i, layout) for i, layout in enumerate(row.layouts) if isinstance(layout, SoundLayout)]
    if not sounds:
        raise ValueError(f"plot_sound needs a sound of known layout; {_without_sound(row)}. Use plot(word).")
    bounds = placed_events(row.layouts, events)
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    top = sheet.wrapped(MARGIN, MARGIN, f"Relevance for “{name_of(found, word)}” over time", inner, LARGE) + 0.05
    limit = largest(row)
    numbers = numbers_of(row, word_bars(found, word), "word")
    for index, layout in sounds:
        total = float(row.of(layout.positions).sum())
        top = sheet.text(MARGIN, top, f"relevance of {row.names[index]}: {signed(total)}") + 0.03
        received = row.picture_of(index)
        for note in (received.reason, received.note):
            if note is not None:
                top = sheet.wrapped(MARGIN, top, note, inner, SMALL, color="#555555")
        top = draw_sound(sheet, row, layout, received, (MARGIN, top, inner), limit, bounds[index])
        if bounds[index]:
            rows = _event_rows(row, layout, bounds[index], row.names[index])
            numbers += rows
            top = sheet.wrapped(MARGIN, top, _told_events(rows), inner, SMALL, color="#333333") + 0.04
    if any(row.picture_of(index).pictures for index, _ in sounds):
        top = sheet.colour_bar(MARGIN + 0.42, top, 2.0, limit, "relevance of a stretch")
    for line in word_caption(found, word):
        top = sheet.wrapped(MARGIN, top, line, inner, SMALL, color="#333333")
    return sheet.finished(top + MARGIN, numbers)


def _event_rows(row: RowRelevance, layout: SoundLayout, events: Sequence[Event], name: str) -> list[dict[str, Any]]:
    """Return the relevance in every event and outside, as numbers of a figure."""
    times = np.array(layout.frames if layout.intervals is None else layout.intervals, dtype=np.float64)
    parts = TimeRelevance(times[:, 0], times[:, 1], row.of(layout.positions).astype(np.float64)).events(events)
    every = [*parts.events.values(), parts.outside]
    return [
        {"part": name, "kind": "event", "label": one.name, "relevance": one.relevance}
        | {"share": one.share, "chance": one.chance}
        for one in every
    ]


def _without_sound(row: RowRelevance) -> str:
    """Return what a prompt has in place of a sound of known layout."""
    unknown = [layout for layout in row.layouts if isinstance(layout, UnknownLayout)]
    reasons = [layout.reason for layout in unknown if layout.modality == "audio"]
    if reasons:
        return f"that of this one is not known: {reasons[0]}"
    kinds = sorted({layout.modality for layout in row.layouts}) or ["no image, video or sound"]
    return f"the prompt has {', '.join(kinds)}"


def _told_events(rows: Sequence[dict[str, Any]]) -> str:
    shares = ", ".join(f"{row['label']} {row['share']:.0%} ({row['chance']:.0%})" for row in rows)
    return f"share of the positive relevance of the sound (share of its time): {shares}"
