"""Bars of text: the words or tokens with the most relevance, in reading order, with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colours import hexadecimal, rgb_of
from .row import RowRelevance, readable
from .sheet import LINE, NORMAL, SMALL, Sheet, fonts, label_axes, signed, text_width

MOST = 25
"""Words that are drawn because of their relevance."""

LONGEST = 44
"""Bars and gaps of a figure."""

GAP_LABEL = "…"

_BAR = 0.118
"""Inches of a bar with its gap."""

_LABEL = 1.1
"""Inches that labels take at most."""


@dataclass(frozen=True)
class Bar:
    """A word or token of the text.

    Attributes
    ----------
    label : str
        As it is.
    value : float
        Its relevance.
    position : int
        Of its first token.
    strong : bool
        False for a neighbour, which is drawn for context.
    """

    label: str
    value: float
    position: int
    strong: bool = True


@dataclass(frozen=True)
class Chosen:
    """The bars of a figure.

    Attributes
    ----------
    bars : tuple of Bar or None
        In reading order; None: a gap.
    left_out : int
        Words that are not drawn.
    rest : float
        Their relevance.
    """

    bars: tuple[Bar | None, ...]
    left_out: int = 0
    rest: float = 0.0


def token_bars(row: RowRelevance) -> list[Bar]:
    """Return a bar for every text token."""
    return [Bar(row.labels[position], float(row.values[position]), position) for position in row.text_positions]


def chosen(bars: Sequence[Bar], most: int = MOST, longest: int = LONGEST) -> Chosen:
    """Return the bars that fit a figure.

    All, if there are at most ``most``. Otherwise those with the largest absolute values, as many of ``most`` as fit in
    ``longest`` lines together with one neighbour on each side and a line for every gap.
    """
    if len(bars) <= most:
        return Chosen(tuple(bars))
    order = np.argsort([-abs(bar.value) for bar in bars], kind="stable").tolist()
    lines = _with_neighbours(bars, set(order[:1]))
    for count in range(2, most + 1):
        more = _with_neighbours(bars, set(order[:count]))
        if len(more) > longest:
            break
        lines = more
    shown = {bar.position for bar in lines if bar is not None}
    rest = [bar.value for bar in bars if bar.position not in shown]
    return Chosen(tuple(lines), len(rest), float(sum(rest)))


def _with_neighbours(bars: Sequence[Bar], strong: set[int]) -> list[Bar | None]:
    """Return bars, their neighbours, and None for every gap."""
    near = sorted({index + step for index in strong for step in (-1, 0, 1)} & set(range(len(bars))))
    lines: list[Bar | None] = []
    last = -1
    for index in near:
        if index != last + 1:
            lines.append(None)
        bar = bars[index]
        lines.append(Bar(bar.label, bar.value, bar.position, index in strong))
        last = index
    return lines if last == len(bars) - 1 else [*lines, None]


def height_of(found: Chosen) -> float:
    """Return how many inches bars take, with title and axis."""
    return (2 + bool(found.left_out)) * NORMAL * LINE + _BAR * len(found.bars) + 2.8 * SMALL * LINE + 0.05


def draw_bars(
    sheet: Sheet,
    found: Chosen,
    total: float,
    place: tuple[float, float, float],
    limit: float | None = None,
    kind: str = "token",
) -> float:
    """Draw bars from the top, and return where they end.

    Parameters
    ----------
    sheet : Sheet
        Where to.
    found : Chosen
        Not empty.
    total : float
        Relevance of the whole text.
    place : (left, top, width)
        Inches.
    limit : float, optional
        End of the axis; by default the largest value.
    kind : str
        Of a bar: token or word.
    """
    left, top, width = place
    top = sheet.text(left, top, f"relevance of the text: {signed(total)}", NORMAL)
    if found.left_out:
        count = f"{found.left_out} {kind}{'' if found.left_out == 1 else 's'}"
        note = f"{count} left out, together {signed(found.rest)}"
        top = sheet.wrapped(left, top, note, width, SMALL, color="#555555")
    top += 0.03
    labels = [GAP_LABEL if bar is None else readable(bar.label, 18) for bar in found.bars]
    margin = min(_LABEL, max(text_width(label, SMALL) for label in labels) + 0.08)
    tall = _BAR * len(labels)
    axes = sheet.axes(left + margin, top, width - margin - 0.03, tall)
    places = [index for index, bar in enumerate(found.bars) if bar is not None]
    bars = [bar for bar in found.bars if bar is not None]
    axes.barh(places, [bar.value for bar in bars], 0.75, color=[hexadecimal(rgb_of(bar.value)) for bar in bars])
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL, parse_math=False, family=fonts())
    for label, bar in zip(axes.get_yticklabels(), found.bars, strict=True):
        label.set_color("black" if bar is not None and bar.strong else "#777777")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    largest = max([1e-12, *(abs(bar.value) for bar in bars)]) if limit is None else limit
    low, high = min([0.0, *(bar.value for bar in bars)]), max([0.0, *(bar.value for bar in bars)])
    ends = (low, high) if limit is None else (-limit, limit)
    axes.set_xlim(ends[0] - 0.04 * largest, ends[1] + 0.04 * largest)
    axes.locator_params(axis="x", nbins=4)
    axes.axvline(0, color="black", linewidth=0.5)
    label_axes(axes, x=f"relevance of a {kind}")
    return top + tall + 2.8 * SMALL * LINE
