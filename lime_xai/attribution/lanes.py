"""Bounds of events in a figure of a sound: a bar per event above it, and lines down through what is drawn below.

Bars carry names and not colours, so that they are told apart without colours.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from .events import Event, lanes_of
from .sheet import SMALL, Sheet, fonts, text_width

LANE = 0.15
"""Inches that a lane is high."""

_BAR, _EDGE = "#dddddd", "#000000"
_PAD = 0.04
"""Inches between a bar and its name, and between neighbours in one lane."""


def draw_lanes(
    sheet: Sheet, events: Sequence[Event], place: tuple[float, float, float], end: float
) -> tuple[Axes | None, float]:
    """Draw a bar with its name for every event, and return the axes and where they end; None without events.

    Parameters
    ----------
    sheet : Sheet
        Where to.
    events : sequence of Event
        Of the sound.
    place : (left, top, width)
        Inches of the sound below.
    end : float
        Of the sound, in the unit of the events.
    """
    if not events:
        return None, place[1]
    left, top, width = place
    scale = width / end  # inches per second
    named = [_name_place(event, scale, end) for event in events]
    lanes = lanes_of(
        [
            (min(event.start, at) * scale, max(event.stop, at + wide) * scale + _PAD)
            for event, (at, wide) in zip(events, named, strict=True)
        ]
    )
    count = max(lanes) + 1
    axes = sheet.axes(left, top, width, LANE * count)
    axes.set_axis_off()
    axes.set_xlim(0, end)
    axes.set_ylim(count, 0)
    for event, lane, (at, _) in zip(events, lanes, named, strict=True):
        length = min(event.stop, end) - event.start
        axes.broken_barh([(event.start, length)], (lane + 0.12, 0.76), facecolor=_BAR, edgecolor=_EDGE, linewidth=0.5)
        axes.text(
            at,
            lane + 0.53,
            event.name,
            va="center",
            fontsize=SMALL,
            family=fonts(),
            parse_math=False,
            zorder=6,
            path_effects=[withStroke(linewidth=1.5, foreground=_BAR if at < event.stop else "white")],
        )
        for edge in (event.start, min(event.stop, end)):
            _line(axes, edge, lane + 0.12)
    return axes, top + LANE * count


def draw_bounds(axes: Axes, events: Sequence[Event], end: float) -> None:
    """Draw the bounds of events through axes over time."""
    for event in events:
        for edge in (event.start, min(event.stop, end)):
            axes.axvline(edge, color=_EDGE, linewidth=0.7, linestyle="--", zorder=4, path_effects=_outline())


def _name_place(event: Event, scale: float, end: float) -> tuple[float, float]:
    """Return where the name of an event begins and how wide it is: in its bar, else on its right, else on its left."""
    wide, pad = text_width(event.name, SMALL) / scale, _PAD / scale
    stop = min(event.stop, end)
    if wide + 2 * pad <= stop - event.start:
        return event.start + (stop - event.start - wide) / 2, wide
    if stop + pad + wide <= end:
        return stop + pad, wide
    return max(0.0, event.start - pad - wide), wide


def _line(axes: Axes, edge: float, top: float) -> None:
    """Draw the bound of an event from its bar down to the end of the lanes."""
    axes.plot([edge, edge], [top, axes.get_ylim()[0]], color=_EDGE, linewidth=0.7, linestyle="--", zorder=4)


def _outline() -> list[withStroke]:
    """Return what keeps a dark line visible on dark cells."""
    return [withStroke(linewidth=1.7, foreground="white", alpha=0.8)]
