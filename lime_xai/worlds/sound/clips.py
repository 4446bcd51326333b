"""Clips: which events sound when and at which pitch, the distributions of clips, and what is heard of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lime_xai.worlds.shared.language import drawn_pairs

from .events import (
    AUDIO_TOKENS,
    CLASSES,
    CLIP_SECONDS,
    HABITUAL_PITCH,
    HABITUAL_TIME,
    HALF_SECONDS,
    MOST_EVENTS,
    PAIR_POPULARITY,
    PAIRS,
    PER_HALF,
    PITCHES,
    SAMPLES,
    SAMPLING_RATE,
    TIMES,
)
from .synthesis import TRAINING_VARIANTS, event_samples, event_wave

HABITUAL_SHARE: Final = 0.85
"""How often text without a clip gives an event its habitual pitch and time."""
EVENT_LEVEL: Final = (0.025, 0.05)
"""Range of the root mean square of an event, drawn once per event; full scale is 1."""
SMALLEST_GAP: Final = 0.2
"""Seconds between two onsets, at least: which event comes first is beyond doubt."""


@dataclass(frozen=True)
class Event:
    """One event of a clip.

    Attributes
    ----------
    obj, pitch : int
        Indices into ``CLASSES`` and ``PITCHES``.
    onset : float
        Seconds from the beginning of the clip; a whole number of samples.
    variant : int
        Of ``event_wave``; it decides the duration.
    level : float
        Root mean square of its samples.
    """

    obj: int
    pitch: int
    onset: float
    variant: int
    level: float

    @property
    def samples(self) -> NDArray[np.float32]:
        """Its samples at 16 kHz, float32 of shape [N]."""
        wave: NDArray[np.float32] = np.float32(self.level) * event_wave(self.obj, self.pitch, self.variant)
        return wave

    @property
    def offset(self) -> float:
        """Seconds from the beginning of the clip to its end."""
        return self.onset + event_samples(self.obj, self.pitch, self.variant) / SAMPLING_RATE

    @property
    def time(self) -> int:
        """The half of the clip that it lies in, an index into ``TIMES``."""
        return int(self.onset >= HALF_SECONDS)

    @property
    def span(self) -> slice:
        """Its samples within those of the clip."""
        first = round(self.onset * SAMPLING_RATE)
        return slice(first, first + event_samples(self.obj, self.pitch, self.variant))


@dataclass(frozen=True)
class Clip:
    """The events of four seconds.

    Attributes
    ----------
    events : tuple of Event
        One to four, of different classes, ordered by their onset.

    Raises
    ------
    ValueError
        If a class occurs twice, there are more than two events in a half, an event leaves its half, or onsets are
        out of order.
    """

    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        if len(set(self.present)) != len(self.events):
            raise ValueError(f"an event occurs twice in {self.names}; a clip holds each class at most once")
        onsets = [event.onset for event in self.events]
        if onsets != sorted(onsets):
            raise ValueError(f"onsets {onsets} are out of order; give the events in the order of their onsets")
        for time, name in enumerate(TIMES):
            if sum(event.time == time for event in self.events) > PER_HALF:
                raise ValueError(f"more than {PER_HALF} events are {name}; a half of a clip holds {PER_HALF}")
        for event in self.events:
            if not event.time * HALF_SECONDS <= event.onset <= event.offset <= (event.time + 1) * HALF_SECONDS:
                raise ValueError(
                    f"the {CLASSES[event.obj]} sounds from {event.onset:g} to {event.offset:g} s; expected an event "
                    f"within one half of a clip of {CLIP_SECONDS:g} s"
                )

    @property
    def present(self) -> tuple[int, ...]:
        """Class indices of the events in the order of their onsets."""
        return tuple(event.obj for event in self.events)

    @property
    def absent(self) -> tuple[int, ...]:
        """Class indices of what does not sound, ascending."""
        return tuple(c for c in range(len(CLASSES)) if c not in self.present)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the events in the order of their onsets."""
        return tuple(CLASSES[c] for c in self.present)

    def event_of(self, obj: int) -> Event:
        """Return the event of class ``obj``.

        Raises
        ------
        ValueError
            If it does not sound in the clip.
        """
        if obj not in self.present:
            raise ValueError(f"class {obj} is not in the clip; present are {self.present}")
        return self.events[self.present.index(obj)]

    def value_of(self, attribute: str, obj: int) -> int:
        """Return the pitch or the time of class ``obj`` (ValueError if it does not sound, or for another attribute)."""
        event = self.event_of(obj)
        if attribute not in ("pitch", "time"):
            raise ValueError(f"unknown attribute {attribute!r}; an event has pitch and time")
        return event.pitch if attribute == "pitch" else event.time

    def without(self, obj: int) -> "Clip":
        """Return the clip without the event of class ``obj`` (ValueError if it does not sound)."""
        gone = self.event_of(obj)
        return Clip(tuple(event for event in self.events if event is not gone))


def _onsets(rng: np.random.Generator, time: int, seconds: Sequence[float]) -> list[float]:
    """Return onsets of the events of one half, at least ``SMALLEST_GAP`` apart, on whole samples."""
    while True:
        drawn = [float(rng.uniform(0, HALF_SECONDS - length)) for length in seconds]
        if len(drawn) < PER_HALF or abs(drawn[0] - drawn[1]) >= SMALLEST_GAP:
            return [time * HALF_SECONDS + round(onset * SAMPLING_RATE) / SAMPLING_RATE for onset in drawn]


def place(
    rng: np.random.Generator,
    objects: Sequence[int],
    habitual_pitch: float = 0.0,
    habitual_time: float = 0.0,
    variants: range = range(TRAINING_VARIANTS),
) -> Clip:
    """Let events sound at random times.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    objects : sequence of int
        Different class indices, at most four.
    habitual_pitch : float
        Probability that an event has its habitual pitch; otherwise its pitch is uniform.
    habitual_time : float
        Probability that an event has its habitual time, if that half has room.
    variants : range
        To draw from.

    Returns
    -------
    Clip
        The clip.
    """
    halves: tuple[list[Event], ...] = ([], [])
    free: list[int] = rng.permutation(np.arange(MOST_EVENTS) % len(TIMES)).tolist()
    for obj in objects:
        liked = HABITUAL_TIME[obj] in free and habitual_time and rng.random() < habitual_time
        time = HABITUAL_TIME[obj] if liked else free[0]
        free.remove(time)
        habit = rng.random() < habitual_pitch
        pitch = HABITUAL_PITCH[obj] if habit else int(rng.integers(len(PITCHES)))
        variant, level = int(variants[int(rng.integers(len(variants)))]), float(rng.uniform(*EVENT_LEVEL))
        halves[time].append(Event(int(obj), pitch, time * HALF_SECONDS, variant, level))
    made = []
    for time, events in enumerate(halves):
        onsets = _onsets(rng, time, [event.offset - event.onset for event in events])
        made += [Event(e.obj, e.pitch, onset, e.variant, e.level) for e, onset in zip(events, onsets, strict=True)]
    return Clip(tuple(sorted(made, key=lambda event: event.onset)))


def independent_clip(
    rng: np.random.Generator, smallest: int = 1, habitual: float = 0.0, variants: range = range(TRAINING_VARIANTS)
) -> Clip:
    """Draw ``smallest`` to four events, their pitches and times uniformly: what all clips hold.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    smallest : int
        Fewest events, 1 to 4.
    habitual : float
        Probability that an event has its habitual pitch, and its habitual time.
    variants : range
        To draw from.

    Returns
    -------
    Clip
        The clip; no event tells anything about another beyond not being drawn twice.
    """
    count = int(rng.integers(smallest, MOST_EVENTS + 1))
    return place(rng, rng.permutation(len(CLASSES))[:count].tolist(), habitual, habitual, variants)


def themed_clip(rng: np.random.Generator, together: float = 0.94, habitual: float = HABITUAL_SHARE) -> Clip:
    """Draw one or two popular pairs: what the text-only training documents speak of.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    together : float
        Probability that both members of a chosen pair sound.
    habitual : float
        Probability that an event has its habitual pitch, and its habitual time.

    Returns
    -------
    Clip
        A clip with strong co-occurrence, popularity, pitch and time priors.
    """
    return place(rng, drawn_pairs(rng, len(PAIRS), together, PAIR_POPULARITY), habitual, habitual)


def render(
    rng: np.random.Generator, clips: Sequence[Clip], *, noise: float | tuple[float, float]
) -> NDArray[np.float32]:
    """Mix the events of clips with noise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    clips : sequence of Clip
        What sounds.
    noise : float or (float, float)
        Root mean square of white noise; full scale is 1. A range is drawn from once per clip.

    Returns
    -------
    numpy.ndarray
        Samples at 16 kHz, float32 of shape [B, 64000].

    Raises
    ------
    ValueError
        If the noise is negative, or the range is empty.
    """
    low, high = noise if isinstance(noise, tuple) else (noise, noise)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"noise is {noise}; expected a number or a (low, high) range within 0 and 1")
    mixed = np.zeros((len(clips), SAMPLES), np.float32)
    for row, clip in enumerate(clips):
        for event in clip.events:
            mixed[row, event.span] += event.samples
    deviation = rng.uniform(low, high, (len(clips), 1)).astype(np.float32)
    return mixed + deviation * rng.standard_normal(mixed.shape, np.float32)


def silence(samples: NDArray[np.float32], clip: Clip, obj: int) -> NDArray[np.float32]:
    """Take one event out of the mix, exactly: noise and other events stay sample by sample.

    Parameters
    ----------
    samples : numpy.ndarray
        What ``render`` made of the clip, shape [64000].
    clip : Clip
        The clip.
    obj : int
        Class index of the event to remove.

    Returns
    -------
    numpy.ndarray
        New samples of the same shape.

    Raises
    ------
    ValueError
        If the shape differs or the event does not sound.
    """
    if samples.shape != (SAMPLES,):
        raise ValueError(f"the samples have shape {samples.shape}; expected ({SAMPLES},), as made by render")
    event = clip.event_of(obj)
    rest = samples.copy()
    rest[event.span] -= event.samples
    return rest


def event_tokens(event: Event) -> tuple[int, ...]:
    """Return the audio tokens, 0 to 39, in whose tenth of a second an event sounds: its ground-truth region."""
    samples = SAMPLES // AUDIO_TOKENS
    return tuple(range(event.span.start // samples, -(-event.span.stop // samples)))
