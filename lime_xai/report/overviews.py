"""Figures of all words of an answer: what they rest on as shares, and as a matrix of words by inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lime_xai.attribution.colours import ANSWER_COLOUR, PARTS, PROMPT_COLOUR
from lime_xai.attribution.figure import MARGIN
from lime_xai.attribution.row import readable, value_kind
from lime_xai.attribution.sheet import (
    LARGE,
    LINE,
    OVERLAY,
    SMALL,
    Columns,
    Sheet,
    ShownFigure,
    fonts,
    label_axes,
    signed,
    text_width,
)
from lime_xai.attribution.targets import target_name

from .answer import ExplainedAnswer, ExplainedWord
from .making import ANSWER, PROMPT

_PER_LINE = {1: 22, 2: 48}
"""Words beside each other."""

_SHARES, _GROUNDING = 1.0, 0.75
"""Inches of the bars of shares and of grounding."""

_MOST_INPUTS = {1: 18, 2: 42}
"""Columns of a matrix; of longer texts, the rest is one column."""


def part_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of every part of the input."""
    perceived = [name for name in names if name not in (PROMPT, ANSWER)]
    colours = {name: PARTS[index % len(PARTS)] for index, name in enumerate(perceived)}
    return colours | {PROMPT: PROMPT_COLOUR, ANSWER: ANSWER_COLOUR}


def words_figure(found: ExplainedAnswer, columns: Columns = 2) -> ShownFigure:
    """Return the shares of every word as stacked bars, and its grounding below; long answers in several lines."""
    sheet = Sheet(columns)
    names = list(found.words[0].shares)
    colours = part_colours(names)
    inner = sheet.width - 2 * MARGIN
    top = sheet.wrapped(MARGIN, MARGIN, "On what each word of the answer rests", inner, LARGE) + 0.04
    top = _legend(sheet, colours, names, top) + 0.04
    known = [word.grounding for word in found.words if word.grounding is not None]
    ends = (min([0.0, *known]), max([0.0, *known])) if known else None
    per_line = _PER_LINE[columns]
    lines = [found.words[start : start + per_line] for start in range(0, len(found.words), per_line)]
    slots = per_line if len(lines) > 1 else max(len(found.words), 6)
    for line in lines:
        top = _draw_line(sheet, line, found.against, names, colours, top, slots, ends) + 0.08
    if found.no_grounding is not None:
        top = sheet.wrapped(MARGIN, top, f"no grounding: {found.no_grounding}", inner, SMALL, color="#333333")
    top = sheet.wrapped(MARGIN, top, _words_caption(found), inner, SMALL, color="#333333")
    numbers = [
        {"word": target_name(word.text, found.against), "number": index, "grounding": word.grounding}
        | {value_kind(found.against): word.logit, "residual": word.residual}
        | {f"share of {name}": word.shares[name] for name in names}
        for index, word in enumerate(found.words)
    ]
    return sheet.finished(top + MARGIN, numbers)


def _words_caption(found: ExplainedAnswer) -> str:
    """Return the line that names the method and the residuals, and the value of a margin."""
    low, high = (signed(end([word.residual for word in found.words])) for end in (min, max))
    residual = f"residual {low}" if low == high else f"residual of a word {low} to {high}"
    margin = "" if found.against is None else f", margin {signed(found.words[0].logit)}"
    return f"method {found.attribution.method}{margin}, {residual}"


def _legend(sheet: Sheet, colours: dict[str, str], names: Sequence[str], top: float) -> float:
    left = MARGIN
    for name in names:
        wide = text_width(name, SMALL) + 0.3
        if left > MARGIN and left + wide > sheet.width:
            left, top = MARGIN, top + SMALL * LINE
        patch = sheet.axes(left, top + 0.02, 0.1, 0.07, facecolor=colours[name], xticks=[], yticks=[])
        patch.set_label(f"legend {name}")
        sheet.text(left + 0.14, top, name, SMALL)
        left += wide
    return top + SMALL * LINE


def _draw_line(
    sheet: Sheet,
    words: Sequence[ExplainedWord],
    against: str | None,
    names: Sequence[str],
    colours: dict[str, str],
    top: float,
    slots: int,
    ends: tuple[float, float] | None,
) -> float:
    """Draw one line of words, and return where it ends."""
    left = 0.45
    width = sheet.width - left - MARGIN
    places = np.arange(len(words))
    axes = sheet.axes(left, top, width, _SHARES)
    below = np.zeros(len(words))
    for name in names:
        shares = np.array([word.shares[name] for word in words])
        axes.bar(places, shares, 0.8, below, color=colours[name], label=name)
        below += shares
    axes.set_ylim(0, 1)
    label_axes(axes, y="share")
    drawn = [axes]
    top += _SHARES
    if ends is not None:
        top += 0.06
        drawn.append(sheet.axes(left, top, width, _GROUNDING))
        heights = [np.nan if word.grounding is None else word.grounding for word in words]
        drawn[-1].bar(places, heights, 0.8, color="#404040")
        drawn[-1].axhline(0, color="black", linewidth=0.5)
        room = 0.05 * (ends[1] - ends[0] or 1.0)
        drawn[-1].set_ylim(ends[0] - room, ends[1] + room)
        label_axes(drawn[-1], y="grounding, nats")
        top += _GROUNDING
    for one in drawn:
        one.set_xlim(-0.6, slots - 0.4)
        one.set_xticks([])
    labels = [readable(target_name(word.text, against), 18) for word in words]
    return top + word_ticks(drawn[-1], labels, width / slots)


def word_ticks(axes: Any, labels: Sequence[str], slot: float) -> float:
    """Write words below axes, upright if they do not fit beside each other; return how many inches they take."""
    widest = max(text_width(label, SMALL) for label in labels)
    upright = widest > 0.95 * slot
    axes.set_xticks(range(len(labels)), labels, fontsize=SMALL, family=fonts(), parse_math=False)
    for label in axes.get_xticklabels():
        label.set_rotation(90 if upright else 0)
    axes.tick_params(axis="x", length=0)
    return (widest if upright else SMALL * LINE) + 0.06


def matrix_figure(found: ExplainedAnswer, columns: Columns = 2) -> ShownFigure:
    """Return the relevance of every input (images, sounds, words of the prompt and of the answer) for every word."""
    labels, values, groups = _matrix(found, _MOST_INPUTS[columns])
    limit = max(float(np.nanmax(np.abs(values))), 1e-12)
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    top = sheet.wrapped(MARGIN, MARGIN, "Relevance of every input for every word of the answer", inner, LARGE) + 0.16
    names = [target_name(word.text, found.against) for word in found.words]
    rows = [readable(name, 18) for name in names]
    left = MARGIN + max(text_width(label, SMALL) for label in rows) + 0.1
    width = sheet.width - left - MARGIN
    cell = min(width / len(labels), 0.25)
    tall = max(0.125, min(cell, 0.2)) * len(rows)
    axes = sheet.axes(left, top, cell * len(labels), tall)
    axes.imshow(values, cmap=OVERLAY, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(rows)), rows, fontsize=SMALL, family=fonts(), parse_math=False)
    axes.tick_params(axis="y", length=0)
    for name, start, stop in groups:
        if start:
            axes.axvline(start - 0.5, color="black", linewidth=0.6)
        if text_width(name, SMALL) < cell * (stop - start):
            sheet.text(left + start * cell, top - 0.13, name, SMALL, color="#333333")
    bottom = top + tall + word_ticks(axes, labels, cell)
    bottom = sheet.colour_bar(MARGIN + 0.05, bottom + 0.06, 2.0, limit, "sum of relevance of an input")
    numbers = [
        {"word": name, "number": row, "input": label, "column": column, "relevance": float(values[row, column])}
        for row, name in enumerate(names)
        for column, label in enumerate(labels)
        if np.isfinite(values[row, column])
    ]
    caption = f"method {found.attribution.method}; white: no relevance, or said after the word"
    bottom = sheet.wrapped(MARGIN, bottom, caption, inner, SMALL, color="#333333")
    return sheet.finished(bottom + MARGIN, numbers)


def _matrix(found: ExplainedAnswer, most: int) -> tuple[list[str], NDArray[Any], list[tuple[str, int, int]]]:
    """Return the labels of the columns, the values ``[words, inputs]``, and groups of columns: name, start, stop."""
    relevance = np.stack([found.relevance(word).numpy() for word in range(len(found.words))]).astype(np.float64)
    row, length = found.attribution.row(0), found.prompt_length
    perceived = [
        (name, relevance[:, list(layout.positions)].sum(1)) for name, layout in zip(row.names, row.layouts, strict=True)
    ]
    prompt = [(one.text, relevance[:, one.start : one.stop].sum(1)) for one in found.context]
    answer = []
    for index, one in enumerate(found.words[:-1]):
        column = relevance[:, length + one.start : length + one.stop].sum(1)
        column[: index + 1] = np.nan
        answer.append((one.text, column))
    room = max(6, most - len(perceived))
    keep = max(3, room * len(prompt) // max(1, len(prompt) + len(answer)))
    prompt = _strongest(prompt, max(keep, room - len(answer)))
    answer = _strongest(answer, max(3, room - len(prompt)))
    groups, start = [], 0
    for name, part in (("perceived", perceived), ("prompt", prompt), ("answer", answer)):
        if part:
            groups.append((name, start, start + len(part)))
        start += len(part)
    joined = [*perceived, *prompt, *answer]
    return [readable(label, 18) for label, _ in joined], np.stack([column for _, column in joined], 1), groups


def _strongest(columns: list[tuple[str, NDArray[Any]]], most: int) -> list[tuple[str, NDArray[Any]]]:
    """Return the columns with the largest values in their order, and the sum of the others as one column."""
    if len(columns) <= most:
        return columns
    heights = [float(np.nanmax(np.abs(np.nan_to_num(column)))) for _, column in columns]
    kept = sorted(np.argsort(heights)[::-1][: most - 1].tolist())
    others = [column for index, (_, column) in enumerate(columns) if index not in kept]
    rest = np.nansum(np.stack(others), 0)
    return [*(columns[index] for index in kept), (f"{len(others)} others", rest)]
