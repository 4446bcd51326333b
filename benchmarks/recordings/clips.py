"""Clips: one to three recordings mixed at known times, with known truth.

1. A clip lasts three seconds. Of each recording an excerpt of at most 1.2 s is taken, from a random place of it, and
   set to a random level (root mean square). Edges are faded over 10 ms.
2. Onsets are uniform. Two excerpts overlap by at most half of the shorter one.
3. White noise lies under the whole clip.

What one clip holds, and its noise, depends on one generator alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .catalogue import RATE, Recordings, Samples

SECONDS: Final = 3
"""Of a clip."""
SAMPLES: Final = SECONDS * RATE
TOKENS: Final = 25 * SECONDS
"""Audio tokens of a clip: 40 ms each."""
TOKEN_SAMPLES: Final = SAMPLES // TOKENS
LONGEST: Final = 1.2
"""Seconds of an excerpt, at most."""
LEVELS: Final = (0.05, 0.1)
"""Root mean square of an excerpt; full scale is 1."""
NOISE: Final = 0.002
"""Root mean square of the noise."""
MOST: Final = 3
_FADE: Final = 160
_OVERLAP: Final = 0.5


@dataclass(frozen=True)
class Placed:
    """An excerpt of a recording in a clip.

    Attributes
    ----------
    obj, take : int
        Class, and which of its recordings.
    first, length : int
        Samples of the recording before the excerpt, and in it.
    onset : int
        Samples of the clip before it.
    level : float
        Root mean square of the excerpt.
    """

    obj: int
    take: int
    first: int
    length: int
    onset: int
    level: float

    @property
    def span(self) -> slice:
        """Its samples within those of the clip."""
        return slice(self.onset, self.onset + self.length)


@dataclass(frozen=True)
class RecordedClip:
    """What sounds in a clip: a ``lime_xai.worlds.shared.language.Truth``.

    Attributes
    ----------
    placed : tuple of Placed
        Excerpts in the order of their onsets.
    classes : int
        How many classes there are.
    """

    placed: tuple[Placed, ...]
    classes: int

    @property
    def present(self) -> tuple[int, ...]:
        """Classes that sound, in the order of their onsets."""
        return tuple(one.obj for one in self.placed)

    @property
    def absent(self) -> tuple[int, ...]:
        """Classes that do not sound, ascending."""
        return tuple(obj for obj in range(self.classes) if obj not in self.present)

    def value_of(self, attribute: str, obj: int) -> int | None:
        """Raise ValueError: nothing is asked about a sound but whether it is there."""
        raise ValueError(f"recordings have no attribute, {attribute!r} was asked for")

    def index_of(self, obj: int) -> int:
        """Return the place of class ``obj`` among ``placed`` (ValueError if it does not sound)."""
        if obj not in self.present:
            raise ValueError(f"class {obj} does not sound in the clip; present are {self.present}")
        return self.present.index(obj)


def draw_clip(rng: np.random.Generator, recorded: Recordings, fewest: int = 1) -> RecordedClip:
    """Draw what sounds, when and how loud: ``fewest`` to three different classes, uniformly and independently."""
    count = int(rng.integers(fewest, MOST + 1))
    objects = rng.choice(len(recorded.names), count, replace=False).tolist()
    takes = [int(rng.integers(len(recorded.takes[obj]))) for obj in objects]
    samples = [len(recorded.takes[obj][take].samples) for obj, take in zip(objects, takes, strict=True)]
    lengths = [min(there, round(LONGEST * RATE)) for there in samples]
    firsts = [int(rng.integers(there - length + 1)) for there, length in zip(samples, lengths, strict=True)]
    levels = rng.uniform(*LEVELS, count).tolist()
    while True:  # onsets of all at once: where some lie, there may be no place for another
        onsets = [int(rng.integers(SAMPLES - length + 1)) for length in lengths]
        drawn = zip(objects, takes, firsts, lengths, onsets, levels, strict=True)
        placed = sorted((Placed(*one) for one in drawn), key=lambda one: one.onset)
        if all(overlap(one, other) <= _OVERLAP for one, other in combinations(placed, 2)):
            return RecordedClip(tuple(placed), len(recorded.names))


def overlap(one: Placed, other: Placed) -> float:
    """Return the common samples of two excerpts as a share of the shorter one."""
    common = min(one.onset + one.length, other.onset + other.length) - max(one.onset, other.onset)
    return max(0, common) / min(one.length, other.length)


def excerpt(one: Placed, recorded: Recordings) -> Samples:
    """Return the samples that a clip holds of a recording, float32 of shape [length].

    Raises
    ------
    ValueError
        If the excerpt is silent.
    """
    taken = recorded.takes[one.obj][one.take].samples[one.first : one.first + one.length].astype(np.float64)
    fade = min(_FADE, one.length // 2)
    ramp = np.linspace(0, 1, fade, endpoint=False)
    taken[:fade] *= ramp
    taken[len(taken) - fade :] *= ramp[::-1]
    size = float(np.sqrt((taken**2).mean()))
    if size == 0:
        raise ValueError(f"{recorded.takes[one.obj][one.take].file} is silent from sample {one.first}; leave it out")
    found: Samples = (taken * (one.level / size)).astype(np.float32)
    return found


def render_clip(rng: np.random.Generator, clip: RecordedClip, recorded: Recordings, noise: float = NOISE) -> Samples:
    """Return the samples of a clip, float32 of shape [48000]; ``rng`` draws the noise (root mean square ``noise``)."""
    mixed = _mixed(clip.placed, recorded)
    under = rng.standard_normal(SAMPLES, np.float32) * np.float32(noise)
    found: Samples = np.clip(mixed + under, -1, 1)
    return found


def _mixed(placed: Sequence[Placed], recorded: Recordings) -> Samples:
    """Return the sum of excerpts, float32 of shape [48000]."""
    mixed = np.zeros(SAMPLES, np.float32)
    for one in placed:
        mixed[one.span] += excerpt(one, recorded)
    return mixed


def without(samples: Samples, clip: RecordedClip, gone: Collection[int], recorded: Recordings) -> Samples:
    """Return a clip without some of its recordings.

    Everything else, and the noise, stays as it is up to float32 rounding. Where a clip reaches full scale, its noise is
    lost: there the other recordings are given without noise.

    Parameters
    ----------
    samples : numpy.ndarray
        What ``render_clip`` made of the clip.
    clip : RecordedClip
        What sounds in it.
    gone : collection of int
        Classes to take away.
    recorded : Recordings
        What is mixed.

    Raises
    ------
    ValueError
        If one of the classes does not sound.
    """
    places = {clip.index_of(obj) for obj in gone}
    away = _mixed([clip.placed[place] for place in sorted(places)], recorded)
    rest = _mixed([one for place, one in enumerate(clip.placed) if place not in places], recorded)
    full = np.abs(samples) >= 1
    found: Samples = np.clip(np.where(full, rest, samples - away), -1, 1)
    return found


def tokens_of(one: Placed) -> tuple[int, ...]:
    """Return the audio tokens in which an excerpt sounds."""
    last = -(-(one.onset + one.length) // TOKEN_SAMPLES)
    return tuple(range(one.onset // TOKEN_SAMPLES, min(last, TOKENS)))


def loudest(clip: RecordedClip, recorded: Recordings, noise: float = NOISE) -> NDArray[np.int64]:
    """Return the class that is loudest in each audio token; ``clip.classes`` where noise is; int64 of shape [75]."""
    power = np.zeros((len(clip.placed) + 1, SAMPLES))
    power[-1] = noise**2
    for row, one in enumerate(clip.placed):
        power[row, one.span] = excerpt(one, recorded).astype(np.float64) ** 2
    best = power.reshape(len(power), TOKENS, TOKEN_SAMPLES).mean(-1).argmax(0)
    found: NDArray[np.int64] = np.array([*clip.present, clip.classes], np.int64)[best]
    return found


def clips_of(seed: Sequence[int], recorded: Recordings, fewest: int = 1) -> tuple[RecordedClip, Samples]:
    """Return a clip and its samples, which depend on the seed alone."""
    rng = np.random.default_rng(tuple(seed))
    clip = draw_clip(rng, recorded, fewest)
    return clip, render_clip(rng, clip, recorded)
