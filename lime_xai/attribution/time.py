"""Relevance over the time of a sound: per token, per second and per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lime_xai.model.layouts.layout import Layout, SoundLayout, UnknownLayout
from lime_xai.model.records import Content

from .events import Event, EventsLike, Interval, as_events, check_inside, union

if TYPE_CHECKING:
    import pandas

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class EventRelevance:
    r"""The relevance inside some stretches of time :math:`E` of a sound.

    A token :math:`i` that lies partly inside counts by :math:`w_i`, the part of its time that does.

    Attributes
    ----------
    name : str
        Of the event.
    intervals : tuple of (float, float)
        Seconds, without overlaps, in order.
    relevance : float
        :math:`\sum_i w_i R_i`.
    share : float
        :math:`\sum_i w_i \max(R_i, 0) / \sum_i \max(R_i, 0)`: temporal grounding. 0 if no relevance is positive.
    chance : float
        Share of the sound's time that is inside: the share that relevance spread evenly over time has.
    """

    name: str
    intervals: tuple[Interval, ...]
    relevance: float
    share: float
    chance: float


@dataclass(frozen=True)
class TemporalGrounding:
    """Relevance inside and outside the events of a sound.

    Attributes
    ----------
    events : dict of str to EventRelevance
        By name. Where events overlap, both count the time in which they do.
    inside, outside : EventRelevance
        The time in which any event sounds, and the rest; their relevance and shares add up to those of the sound.
    """

    events: dict[str, EventRelevance]
    inside: EventRelevance
    outside: EventRelevance

    def __getitem__(self, name: str) -> EventRelevance:
        """Return an event by its name."""
        return self.events[name]

    def to_frame(self) -> pandas.DataFrame:
        """Return a table with a row per event, then one for all of them and one for the rest of the sound."""
        import pandas

        rows = [*self.events.values(), self.inside, self.outside]
        names = ("name", "relevance", "share", "chance")
        return pandas.DataFrame([{name: getattr(row, name) for name in names} for row in rows])


@dataclass(frozen=True, eq=False, repr=False)
class TimeRelevance(Content):
    """The relevance of a sound over time.

    Attributes
    ----------
    start, stop : numpy.ndarray
        ``[N]`` float64: the stretch in seconds that each token stands for, from the beginning of the sound. Tokens may
        stand for the same stretch.
    relevance : numpy.ndarray
        ``[N]`` float64.
    """

    start: Numbers
    stop: Numbers
    relevance: Numbers

    @property
    def duration(self) -> float:
        """Seconds from the beginning of the sound to the end of its last token."""
        return float(self.stop.max())

    def per_second(self, seconds: float = 1.0) -> TimeRelevance:
        """Return the relevance in stretches of equal length; the last ends with the sound.

        The relevance of a token is spread evenly over its time, so that the sum stays the same.

        Parameters
        ----------
        seconds : float
            Length of a stretch.

        Raises
        ------
        ValueError
            If it is not positive, or no number.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
            raise ValueError(f"seconds is {seconds!r}; expected a positive number.")
        count = max(1, int(np.ceil(self.duration / seconds - 1e-9)))
        start: Numbers = np.arange(count, dtype=np.float64) * float(seconds)
        stop = np.append(start[1:], self.duration)
        sums = [float(self.relevance @ self._inside([interval])) for interval in zip(start, stop, strict=True)]
        return TimeRelevance(start, stop, np.array(sums, dtype=np.float64))

    def events(self, events: EventsLike) -> TemporalGrounding:
        """Return the relevance inside each event and outside all of them.

        Parameters
        ----------
        events : mapping or sequence
            ``{"dog": (0.5, 1.2), "bell": [(0.1, 0.4), (2.0, 2.4)]}`` in seconds, or ``[(0.5, 1.2, "dog"), ...]``.

        Raises
        ------
        ValueError
            If there is none, one is no stretch of time, or goes on behind the sound by more than a token.
        """
        found = as_events(events)
        if not found:
            raise ValueError('events is empty; give at least one: {"dog": (0.5, 1.2)}.')
        check_inside(found, self.duration, float((self.stop - self.start).max()))
        names = dict.fromkeys(event.name for event in found)
        every = self._within("all events", found)
        return TemporalGrounding(
            {name: self._within(name, [event for event in found if event.name == name]) for name in names},
            every,
            self._within("outside", [Event(*gap, "") for gap in gaps(every.intervals, self.duration)]),
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return a table with a row per stretch: start, stop and relevance."""
        import pandas

        return pandas.DataFrame({"start": self.start, "stop": self.stop, "relevance": self.relevance})

    def _inside(self, intervals: Sequence[Interval]) -> Numbers:
        """Return the part ``[N]`` of each token's time that lies in some stretches, which do not overlap."""
        total = np.zeros(len(self.start))
        for start, stop in intervals:
            total += (np.minimum(self.stop, stop) - np.maximum(self.start, start)).clip(min=0)
        return total / (self.stop - self.start)

    def _within(self, name: str, events: Sequence[Event]) -> EventRelevance:
        """Return the relevance in the time of some events."""
        intervals = union([(event.start, min(event.stop, self.duration)) for event in events])
        parts, positive = self._inside(intervals), self.relevance.clip(min=0)
        total = float(positive.sum())
        return EventRelevance(
            name,
            tuple(intervals),
            float(parts @ self.relevance),
            float(parts @ positive) / total if total > 0 else 0.0,
            sum(stop - start for start, stop in intervals) / self.duration,
        )


def gaps(intervals: Sequence[Interval], end: float) -> list[Interval]:
    """Return the stretches from 0 to ``end`` between others, which are in order and do not overlap."""
    edges = [0.0, *(edge for interval in intervals for edge in interval), end]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


def sound_of(layouts: Sequence[Layout], sound: int) -> Layout:
    """Return the layout of the ``sound``-th sound of a row, in order.

    Raises
    ------
    ValueError
        If there is no such sound.
    """
    kinds = (SoundLayout, UnknownLayout)
    found = [layout for layout in layouts if isinstance(layout, kinds) and layout.modality in ("", "audio")]
    if isinstance(sound, bool) or not isinstance(sound, int) or not 0 <= sound < len(found):
        raise ValueError(f"The row has {len(found)} sounds; number {sound} is not among them.")
    return found[sound]


def token_times(layout: Layout, sound: int, duration: float | None = None) -> Numbers:
    """Return start and stop of the tokens of a sound in seconds, ``[N, 2]`` float64.

    Parameters
    ----------
    layout : Layout
        Of the sound.
    sound : int
        Its number, for the message.
    duration : float, optional
        Of the sound in seconds, in place of what the layout says. Feature frames divide it evenly, or tokens where the
        frames are not known.

    Raises
    ------
    ValueError
        If seconds are not known, or the duration is no positive number.
    """
    known = layout if isinstance(layout, SoundLayout) else None
    if duration is None:
        if known is not None and known.intervals is not None:
            return np.array(known.intervals, dtype=np.float64)
        reason = layout.reason if isinstance(layout, UnknownLayout) else "no processor was given"
        raise ValueError(
            f"The seconds per token of sound {sound} are not known: {reason}. Give duration=, the length of the sound "
            "in seconds, or processor= where the prompt is read."
        )
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 < duration < float("inf"):
        raise ValueError(f"duration is {duration!r}; expected the length of the sound in seconds.")
    count = len(layout.positions)
    frames = [(token, token + 1) for token in range(count)] if known is None else known.frames
    times: Numbers = np.array(frames, dtype=np.float64)
    times *= duration / times.max()
    return times
