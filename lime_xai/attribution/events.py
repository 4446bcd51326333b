"""Named stretches of time of a sound, as a user gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from lime_xai.model.layouts.layout import Layout, SoundLayout

Interval = tuple[float, float]
"""Start and stop in seconds."""


class Event(NamedTuple):
    """One stretch of time; several may have one name.

    Attributes
    ----------
    start, stop : float
        Seconds; feature frames where seconds are not known.
    name : str
        What sounds.
    """

    start: float
    stop: float
    name: str


EventsLike: TypeAlias = Mapping[str, Any] | Sequence[Any] | None
"""``{"dog": (0.5, 1.2), "bell": [(0.1, 0.4), (2.0, 2.4)]}``, or ``[(0.5, 1.2, "dog"), ...]``, of one sound."""


def as_events(events: EventsLike) -> list[Event]:
    """Return the events of one sound, in the order in which they are given.

    Raises
    ------
    ValueError
        If one is no stretch of time with a name.
    """
    return [_event(item) for item in _items(events)]


def _items(events: EventsLike) -> list[Any]:
    """Return one item per stretch of time: start, stop and name if they are what they should be."""
    if events is None:
        return []
    if isinstance(events, str) or not isinstance(events, (Mapping, Sequence)):
        return [events]
    if not isinstance(events, Mapping):
        return list(events)
    found: list[Any] = []
    for name, times in events.items():
        several = isinstance(times, Sequence) and all(isinstance(one, Sequence) for one in times)
        found += [(*one, name) if isinstance(one, Sequence) else (one, name) for one in (times if several else [times])]
    return found


def _event(item: Any) -> Event:
    """Return an event, or refuse what is none."""
    try:
        start, stop, name = item
        start, stop = float(start), float(stop)
    except (TypeError, ValueError):
        start, stop, name = math.nan, math.nan, None
    if not (math.isfinite(stop) and 0 <= start < stop and isinstance(name, str)):
        raise ValueError(
            f"events has {item!r}; expected (start, stop, name) with 0 <= start < stop in seconds, or a mapping of "
            'names to such stretches: {"dog": (0.5, 1.2)}.'
        )
    return Event(start, stop, name)


def events_per_sound(events: Any, sounds: int) -> list[list[Event]]:
    """Return the events of every sound of a row.

    Parameters
    ----------
    events : mapping or sequence
        As ``as_events`` takes it, of the only sound; or a list of these, one per sound, None for a sound without.
    sounds : int
        Number of sounds.

    Raises
    ------
    ValueError
        For events of one sound where there are several, and for another number of entries.
    """
    if events is None:
        return [[]] * sounds
    single = isinstance(events, Mapping) or not isinstance(events, Sequence) or any(map(_stretch, events))
    found = [events] if single else list(events)
    if len(found) != sounds:
        raise ValueError(
            f"events has entries for {len(found)} sound(s), the prompt has {sounds}; give a list with one entry for "
            "each, None for a sound without events."
        )
    return [as_events(one) for one in found]


def _stretch(item: Any) -> bool:
    """Whether an item of a list is no entry for a whole sound."""
    if item is None or isinstance(item, Mapping):
        return False
    return isinstance(item, str) or not isinstance(item, Sequence) or not all(isinstance(one, Sequence) for one in item)


def check_inside(events: Sequence[Event], end: float, token: float) -> None:
    """Refuse events that go on behind a sound, whose end is known to the length of a token.

    Raises
    ------
    ValueError
        Naming the event and the end.
    """
    for event in events:
        if event.start >= end or event.stop > end + token:
            raise ValueError(
                f"The event {event.name!r} lasts from {event.start:g} to {event.stop:g}, the sound from 0 to {end:g}; "
                "give times in the unit of the sound, seconds where they are known."
            )


def placed_events(layouts: Sequence[Layout], events: Any) -> dict[int, list[Event]]:
    """Return the events of every sound of known layout, by its place among the layouts of a row.

    Parameters
    ----------
    layouts : sequence of Layout
        Of every image, video and sound of the row.
    events : mapping or sequence
        As ``events_per_sound`` takes it.

    Raises
    ------
    ValueError
        As ``events_per_sound``, and for events that go on behind their sound.
    """
    sounds = [(index, layout) for index, layout in enumerate(layouts) if isinstance(layout, SoundLayout)]
    found: dict[int, list[Event]] = {}
    for (index, layout), some in zip(sounds, events_per_sound(events, len(sounds)), strict=True):
        times = layout.frames if layout.intervals is None else layout.intervals
        check_inside(some, max(stop for _, stop in times), max(stop - start for start, stop in times))
        found[index] = some
    return found


def union(intervals: Sequence[Interval]) -> list[Interval]:
    """Return stretches that do not overlap and cover the same time, in order."""
    found: list[Interval] = []
    for start, stop in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found


def lanes_of(extents: Sequence[Interval]) -> list[int]:
    """Return a lane for each extent, counted from 0, so that no two in one lane overlap; in as few lanes as can be.

    In the order of their starts, each gets the first lane that is free.
    """
    ends: list[float] = []
    found = [0] * len(extents)
    for index in sorted(range(len(extents)), key=lambda one: extents[one]):
        start, stop = extents[index]
        free = [lane for lane, end in enumerate(ends) if end <= start]
        lane = free[0] if free else len(ends)
        ends[lane : lane + 1] = [stop]
        found[index] = lane
    return found
