"""How each event of the sound world sounds: twelve synthesisers of numpy and scipy, and a bank of their variants."""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .events import CLASSES, PITCHES, SAMPLING_RATE

Wave = NDArray[np.float64]

SHORTEST, LONGEST = 0.6, 1.3
"""Seconds that an event lasts."""
VARIANTS: Final = 48
"""Variants of each class and pitch."""
TRAINING_VARIANTS: Final = 32
"""The first of them are for training; evaluation sets are made of the others."""
_FADE = 0.01
_PITCH_FACTORS = ((0.68, 0.8), (1.25, 1.47))
"""Ranges of what multiplies the frequencies of a class, for low and for high."""
_BANK_SEED = 0


def _time(seconds: float) -> Wave:
    return np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE


def _tone(frequency: Wave | float, count: int) -> Wave:
    """Return a sine whose frequency in hertz may change over time, length ``count``."""
    steps = np.broadcast_to(np.asarray(frequency, np.float64), (count,))
    return np.sin(2 * np.pi * np.cumsum(steps) / SAMPLING_RATE)


def _harmonics(frequency: Wave | float, count: int, slope: float) -> Wave:
    """Return a sum of harmonics below 7 kHz with amplitudes ``1 / k ** slope``."""
    highest = float(np.max(frequency))
    orders = range(1, max(1, int(7000 / highest)) + 1)
    summed: Wave = np.sum([_tone(np.asarray(frequency) * k, count) / k**slope for k in orders], axis=0)
    return summed


def _band(noise: Wave, low: float, high: float) -> Wave:
    """Return noise between two frequencies in hertz."""
    from scipy.signal import butter, sosfilt  # slow to import

    sections = butter(2, (low, min(high, 7800.0)), "bandpass", fs=SAMPLING_RATE, output="sos")
    filtered: Wave = sosfilt(sections, noise)
    return filtered


def _resonance(wave: Wave, frequency: float, width: float) -> Wave:
    """Return a wave through a two-pole resonance of a centre and a bandwidth in hertz."""
    from scipy.signal import lfilter

    radius = np.exp(-np.pi * width / SAMPLING_RATE)
    angle = 2 * np.pi * frequency / SAMPLING_RATE
    filtered: Wave = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], wave)
    return filtered


def _starts(rng: np.random.Generator, seconds: float, period: float, jitter: float = 0.0) -> list[float]:
    """Return when something that repeats begins, in seconds from the first sample."""
    count = max(1, int(seconds / period))
    return [period * (k + jitter * float(rng.uniform(-0.5, 0.5)) * (k > 0)) for k in range(count)]


def _at(starts: list[float], seconds: float, piece: Callable[[Wave], Wave]) -> Wave:
    """Return the sum of pieces, each a function of the time since its start."""
    time = _time(seconds)
    made = np.zeros_like(time)
    for start in starts:
        first = round(start * SAMPLING_RATE)
        made[first:] += piece(time[: len(time) - first])
    return made


def dog(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make barks: bursts of a harmonic tone that rises and falls, with noise."""
    base, noise = 420 * factor, rng.standard_normal(round(seconds * SAMPLING_RATE))

    def bark(time: Wave) -> Wave:
        pitch = base * (1 + 0.5 * np.exp(-(((time - 0.05) / 0.04) ** 2)))
        envelope = np.clip(time / 0.02, 0, 1) * np.exp(-time / 0.06)
        return envelope * (_harmonics(pitch, len(time), 0.9) + 0.5 * noise[: len(time)])

    return _at(_starts(rng, seconds, float(rng.uniform(0.27, 0.36)), 0.15), seconds, bark)


def whistle(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a whistle: a nearly pure tone with vibrato."""
    time = _time(seconds)
    rate, depth = rng.uniform(5, 7), rng.uniform(0.015, 0.03)
    pitch = 1700 * factor * (1 + depth * np.sin(2 * np.pi * rate * time))
    return _tone(pitch, len(time)) + 0.1 * _tone(2 * pitch, len(time))


def siren(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a siren: harmonics that glide up and down by half an octave and more."""
    time = _time(seconds)
    rate, phase = rng.uniform(1.2, 1.8), rng.uniform(0, 2 * np.pi)
    pitch = 820 * factor * 2 ** (0.4 * np.sin(2 * np.pi * rate * time + phase))
    return _harmonics(pitch, len(time), 1.5)


def horn(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a car horn: two steady saw-tooth tones, a major third apart."""
    count = round(seconds * SAMPLING_RATE)
    base = 380 * factor * float(rng.uniform(0.97, 1.03))
    return _harmonics(base, count, 0.8) + _harmonics(base * 1.26, count, 0.8)


def bell(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a bell: inharmonic partials that decay, struck once or twice."""
    base = 640 * factor
    ratios, strengths = np.array([0.5, 1.0, 1.19, 1.56, 2.0, 2.66, 3.01, 4.1]), rng.uniform(0.4, 1.0, 8)

    def strike(time: Wave) -> Wave:
        decays = np.exp(-time[None] * (2.2 + 1.2 * ratios[:, None]))
        partials = strengths[:, None] * decays * np.sin(2 * np.pi * base * ratios[:, None] * time[None])
        summed: Wave = partials.sum(0)
        return summed

    return _at(_starts(rng, seconds, 0.55), seconds, strike)


def clock(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a clock: a train of short clicks, every second one duller."""
    noise = rng.standard_normal(round(seconds * SAMPLING_RATE))
    period = float(rng.uniform(0.11, 0.15))
    clicks = _starts(rng, seconds, period)

    def click(centre: float) -> Callable[[Wave], Wave]:
        ring = 2 * np.pi * centre * factor
        return lambda time: np.exp(-time / 0.004) * (np.sin(ring * time) + 0.4 * noise[: len(time)])

    return _at(clicks[::2], seconds, click(2600)) + _at(clicks[1::2], seconds, click(1900))


def bird(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a bird: chirps, tones that sweep upwards within a tenth of a second."""
    base, span = 2700 * factor, float(rng.uniform(0.5, 0.8))

    def chirp(time: Wave) -> Wave:
        part = np.clip(time / 0.09, 0, 1)
        return np.where(time < 0.09, np.sin(np.pi * part), 0.0) * _tone(base * (1 + span * part), len(time))

    return _at(_starts(rng, seconds, float(rng.uniform(0.14, 0.19)), 0.2), seconds, chirp)


def stream(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make water: a bed of band noise, and bubbles, short tones that rise."""
    count = round(seconds * SAMPLING_RATE)
    bed = _band(rng.standard_normal(count), 500 * factor, 2400 * factor)
    made: Wave = bed / bed.std()
    for _ in range(int(30 * seconds)):
        first = int(rng.integers(count))
        time = _time(seconds)[: min(count - first, SAMPLING_RATE // 20)]
        pitch = rng.uniform(500, 1300) * factor * (1 + 6 * time)
        made[first : first + len(time)] += 1.6 * np.exp(-time / 0.015) * _tone(pitch, len(time))
    return made


def drum(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a drum: beats of a low tone that falls, with a short noise at each stroke."""
    noise = rng.standard_normal(round(seconds * SAMPLING_RATE))

    def beat(time: Wave) -> Wave:
        body = np.exp(-time / 0.09) * _tone(110 * factor * (1 + 1.2 * np.exp(-time / 0.03)), len(time))
        return body + 0.5 * np.exp(-time / 0.008) * noise[: len(time)]

    return _at(_starts(rng, seconds, float(rng.uniform(0.22, 0.3))), seconds, beat)


def voice(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a speech-like sound: a pulse train with changing pitch through the formants of a row of vowels."""
    time = _time(seconds)
    pitch = 140 * factor * (1 + 0.12 * np.sin(2 * np.pi * rng.uniform(1.5, 3) * time + rng.uniform(0, 6)))
    phase = np.cumsum(pitch) / SAMPLING_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(len(time))
    vowels = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]])
    made = np.zeros_like(time)
    for start in _starts(rng, seconds, 0.2):
        formants = vowels[int(rng.integers(len(vowels)))] * (0.9 + 0.1 * factor)
        sounding = np.sum([_resonance(pulses, f, 60 + 0.05 * f) for f in formants], axis=0)
        made += sounding * np.clip(1.25 - np.abs(time - start - 0.1) / 0.1, 0, 1)
    return made


def engine(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make an engine: many harmonics of a very low tone that speeds up, with rumble."""
    time = _time(seconds)
    pitch = 62 * factor * (1 + rng.uniform(0.1, 0.35) * time / seconds)
    hum = np.sum([_tone(pitch * k, len(time)) * rng.uniform(0.4, 1) / k**0.6 for k in range(1, 13)], axis=0)
    rumble = _band(rng.standard_normal(len(time)), 60, 500 * factor)
    made: Wave = hum / hum.std() + 0.5 * rumble / rumble.std()
    return made


def cricket(rng: np.random.Generator, seconds: float, factor: float) -> Wave:
    """Make a cricket: a high tone in fast pulses, in groups."""
    time = _time(seconds)
    pulses = np.clip(np.sin(2 * np.pi * rng.uniform(28, 36) * time), 0, 1)
    groups = np.sin(2 * np.pi * rng.uniform(2.6, 3.4) * time + 0.3) > -0.3
    return pulses * groups * _tone(4300 * np.sqrt(factor), len(time))


SYNTHESISERS: Final[Mapping[str, Callable[[np.random.Generator, float, float], Wave]]] = MappingProxyType(
    {
        maker.__name__: maker
        for maker in (dog, whistle, siren, horn, bell, clock, bird, stream, drum, voice, engine, cricket)
    }
)
"""By name of the class: ``(rng, seconds, factor)`` to samples [N]; the factor multiplies the event's frequencies."""


def _drawn(obj: int, pitch: int, variant: int) -> tuple[np.random.Generator, float, float]:
    """Return the generator of a variant after its first draws: the duration in seconds and the factor."""
    indices = (("class", obj, len(CLASSES)), ("pitch", pitch, len(PITCHES)), ("variant", variant, VARIANTS))
    for what, value, size in indices:
        if not 0 <= value < size:
            raise ValueError(f"{what} {value} is out of range; expected 0 to {size - 1}")
    rng = np.random.default_rng((_BANK_SEED, obj, pitch, variant))
    return rng, float(rng.uniform(SHORTEST, LONGEST)), float(rng.uniform(*_PITCH_FACTORS[pitch]))


@cache
def event_samples(obj: int, pitch: int, variant: int) -> int:
    """Return how many samples ``event_wave`` has, without making them (ValueError as there)."""
    return round(_drawn(obj, pitch, variant)[1] * SAMPLING_RATE)


@cache
def event_wave(obj: int, pitch: int, variant: int) -> NDArray[np.float32]:
    """Return one variant of an event.

    Parameters
    ----------
    obj, pitch : int
        Indices into ``CLASSES`` and ``PITCHES``.
    variant : int
        0 to ``VARIANTS - 1``; it decides duration, exact frequencies and everything that is random in the event.

    Returns
    -------
    numpy.ndarray
        Samples at 16 kHz, float32 of shape [N] with mean square 1, faded in and out over 10 ms; read-only.

    Raises
    ------
    ValueError
        If an index is out of range.
    """
    rng, seconds, factor = _drawn(obj, pitch, variant)
    wave = SYNTHESISERS[CLASSES[obj]](rng, seconds, factor)
    ramp = np.clip(np.arange(len(wave)) / (_FADE * SAMPLING_RATE), 0, 1)
    wave = wave * ramp * ramp[::-1]
    made: NDArray[np.float32] = (wave / np.sqrt(np.mean(wave**2))).astype(np.float32)
    made.flags.writeable = False
    return made
