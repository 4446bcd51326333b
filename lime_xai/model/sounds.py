"""Sounds for a processor: read from files at its sampling rate, and refused where it would leave a part out.

Processors cut sounds without a word: that of Qwen2-Audio after 30 s, for example. What they return no longer tells.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lime_xai.values.checking import shown

Sound = NDArray[np.float32]
"""Mono samples ``[N]``."""

_HIGHEST = 1_000_000
"""Hz: sounds are recorded at up to 768 kHz. A larger number is no rate, and memory for its samples is not there."""

_MOST_RAISED = 1000
"""How many times as many samples a file may get; one whose header claims 1 Hz, for example, is damaged."""

_LOUD = 0.5
"""Largest sample of the noise that shows whether a part is heard."""


def sampling_rate(processor: Any) -> int:
    """Return the sampling rate in Hz of the sounds that a processor takes.

    Raises
    ------
    ValueError
        If it names none.
    """
    for name in ("feature_extractor", "audio_processor"):
        rate = getattr(getattr(processor, name, None), "sampling_rate", None)
        if isinstance(rate, int) and not isinstance(rate, bool):
            return rate
    raise ValueError(
        f"{type(processor).__name__} names no sampling rate (feature_extractor.sampling_rate); give the rate in Hz in "
        "place of the processor."
    )


def read_sound(path: str | Path, rate: Any) -> Sound:
    """Return a sound file (WAV, FLAC, OGG, MP3, ...) as mono samples.

    Channels are averaged. Other sampling rates are resampled by soxr, whose filter lets no frequency above half of the
    new rate fold back (by more than -100 dB).

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.
    rate : int or processor
        Sampling rate in Hz; or a processor, whose rate is taken, and which must hear the whole sound.

    Returns
    -------
    numpy.ndarray
        ``[N]`` float32.

    Raises
    ------
    ValueError
        If the file is no sound that libsndfile reads, holds no samples or NaN, is longer than the processor hears, or
        its rate is less than a thousandth of ``rate``; if ``rate`` is above 1 MHz.
    TypeError
        If ``path`` is no path, or ``rate`` a number and no positive int.
    """
    import soundfile
    import soxr

    wanted = _rate(rate)
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path is {type(path).__name__}; expected the name of a file.")
    try:
        samples, found = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as sound ({error}); convert it to WAV or FLAC.") from error
    if not len(samples):
        raise ValueError(f"{path} holds no samples; give a sound that is longer.")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} holds samples that are NaN or infinite; write it again.")
    if wanted > _MOST_RAISED * found:
        raise ValueError(
            f"{path} has samples at {found} Hz, less than a thousandth of {wanted} Hz; its header is damaged, or it is "
            "no sound. Write it again with its true rate."
        )
    sound: Sound = soxr.resample(samples.mean(1), found, wanted)
    if not len(sound):
        raise ValueError(
            f"{path} holds {len(samples)} samples at {found} Hz, none at {wanted} Hz; give a longer sound."
        )
    if not isinstance(rate, int):
        check_heard(rate, [sound], [str(path)])
    return sound


def _rate(rate: Any) -> int:
    """Return a sampling rate that is given as such, or by a processor."""
    if not isinstance(rate, (int, float, np.number)):
        return sampling_rate(rate)
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise TypeError(f"rate is {rate!r}; expected a positive int in Hz, or a processor.")
    if rate > _HIGHEST:
        raise ValueError(f"rate is {rate}; expected a sampling rate in Hz, at most {_HIGHEST}.")
    return rate


def takes_sounds(processor: Any) -> bool:
    """Whether a processor takes sounds beside a text in one call, with ``processor.audio_token`` as their place."""
    takes_sound = "audio" in inspect.signature(type(processor).__call__).parameters
    return takes_sound and isinstance(getattr(processor, "audio_token", None), str)


def heard_samples(processor: Any, sound: Sound) -> int | None:
    """Return how many samples of a sound a processor gives the model; it leaves out those behind them.

    Nothing is assumed of the processor. Samples are heard if noise in their place changes what it returns. If the last
    hop of the sound is not, where the cut lies is found by bisection.

    Parameters
    ----------
    processor : object
        With a sampling rate and the text of an audio token, ``processor.audio_token``.
    sound : numpy.ndarray
        ``[N]`` float32, at its rate.

    Returns
    -------
    int or None
        ``N`` if it hears the whole sound; a cut is known to a hop. None: not known, because it takes no sound beside a
        text in one call, or returns something else at each, or makes nothing of a sound shorter than a hop.
    """
    rate = sampling_rate(processor)
    _check_sound(sound)
    if not takes_sounds(processor):
        return None
    count, hop = len(sound), _hop(processor)
    noise = np.random.default_rng(0).uniform(-_LOUD, _LOUD, count).astype(np.float32)
    whole = _returned(processor, sound, rate)

    def heard(first: int) -> bool:
        """Whether a sample from the given one on is heard."""
        return not _same(whole, _returned(processor, np.concatenate([sound[:first], noise[first:]]), rate))

    if heard(max(0, count - hop)):
        return count if _same(whole, _returned(processor, sound, rate)) else None
    if count <= hop:  # shorter than what a cut is known to: a sample may fall on the edge of a window
        return None
    for guess in _limits(processor, rate):
        if hop <= guess < count and heard(guess - hop) and not heard(guess):
            return guess
    low, high = 0, count - hop  # a sample from ``low`` on is heard, none from ``high`` on
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if heard(middle) else (low, middle)
    return high


def check_heard(processor: Any, sounds: Sequence[Sound], names: Sequence[str] | None = None) -> list[str]:
    """Refuse sounds of which a processor would leave out a part.

    Call it before the processor: what that returns no longer tells how long a sound was.

    Parameters
    ----------
    processor : object
        Will be given the sounds.
    sounds : sequence of numpy.ndarray
        ``[N]`` float32 each, at its sampling rate.
    names : sequence of str, optional
        Of the sounds, for the message.

    Returns
    -------
    list of str
        Names of the sounds of which it is not known whether they are heard (``heard_samples``).

    Raises
    ------
    ValueError
        Naming how long the sound is, how long the processor hears, and how to split it; for NaN or infinite samples.
    TypeError
        For something else in place of the samples or the names.
    """
    if not isinstance(sounds, (list, tuple)):
        raise TypeError(f"sounds is {type(sounds).__name__}; expected a list of arrays [N], one per sound.")
    names = [f"sound {index}" for index in range(len(sounds))] if names is None else names
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != len(sounds):
        raise TypeError(f"names is {shown(names)}; expected one per sound, {len(sounds)} of them.")
    sampling_rate(processor)  # refused here, also where there are no sounds
    unknown = []
    for name, sound in zip(names, sounds, strict=True):
        heard = heard_samples(processor, sound)
        if heard is None:
            unknown.append(name)
        elif heard < len(sound):
            rate = sampling_rate(processor)
            parts = -(-len(sound) // heard)
            raise ValueError(
                f"{name} is {len(sound) / rate:g} s long; {type(processor).__name__} hears the first "
                f"{heard / rate:g} s and leaves out the rest without a word. Give it as {parts} sounds: "
                "--split-audio on the command line, split_sound(sound, processor) in Python; or cut it."
            )
    return unknown


def heard_sound(path: str | Path, processor: Any, note: Callable[[str], None]) -> Sound:
    """Return a sound file as a processor takes it, refused where it would leave a part out.

    Parameters
    ----------
    path : str or Path
        As ``read_sound`` takes it.
    processor : object
        Will be given the sound.
    note : callable
        Told if it is not known whether the whole sound is heard.

    Raises
    ------
    ValueError
        As ``read_sound`` and ``check_heard``.
    """
    sound = read_sound(path, sampling_rate(processor))
    if check_heard(processor, [sound], [str(path)]):
        note(f"Whether {type(processor).__name__} hears the whole of {path} is not known; it may cut long sounds.")
    return sound


def split_sound(sound: Sound, processor: Any) -> list[Sound]:
    """Return a sound in as few parts as a processor hears whole, of equal length but for a sample.

    A prompt has a placeholder for each. Relevance over time counts from the beginning of each part, which is where the
    parts before it end together.

    Parameters
    ----------
    sound : numpy.ndarray
        ``[N]`` float32, at the processor's sampling rate.
    processor : object
        Will be given the parts.

    Raises
    ------
    ValueError
        If it is not known how much the processor hears; for NaN or infinite samples.
    TypeError
        For something else in place of the samples.
    """
    heard = heard_samples(processor, sound)
    if heard is None:
        raise ValueError(
            f"How much of a sound {type(processor).__name__} hears is not known; split the sound yourself."
        )
    return list(np.array_split(sound, -(-len(sound) // heard)))


def _check_sound(sound: Any) -> None:
    """Refuse what is no array of mono samples.

    Raises
    ------
    TypeError
        Naming what was found.
    ValueError
        For samples that are NaN or infinite: what a processor makes of them never equals itself.
    """
    if not isinstance(sound, np.ndarray) or sound.ndim != 1 or sound.dtype.kind != "f" or not len(sound):
        found = f"{sound.dtype} of shape {sound.shape}" if isinstance(sound, np.ndarray) else shown(sound)
        raise TypeError(f"sound is {found}; expected mono samples, a numpy array [N] of floats.")
    if not np.isfinite(sound).all():
        bad = int((~np.isfinite(sound)).sum())
        raise ValueError(f"sound holds samples that are NaN or infinite, {bad} of {len(sound)}; make it again.")


def _returned(processor: Any, sound: Sound, rate: int) -> dict[str, Tensor]:
    """Return the tensors that a processor makes of a sound alone."""
    found = processor(text=[processor.audio_token], audio=[sound], sampling_rate=rate, return_tensors="pt")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _hop(processor: Any) -> int:
    """Return the samples between two feature frames, or a hundredth of a second."""
    for name in ("feature_extractor", "audio_processor"):
        hop = getattr(getattr(processor, name, None), "hop_length", None)
        if isinstance(hop, int):
            return hop
    return sampling_rate(processor) // 100


def _limits(processor: Any, rate: int) -> list[int]:
    """Return the lengths in samples at which settings say that a processor may cut; they only shorten a bisection."""
    extractor = getattr(processor, "feature_extractor", None)
    seconds = [getattr(extractor, "chunk_length", None), getattr(processor, "max_audio_len", None)]
    found = [getattr(extractor, "n_samples", None), *(one and int(one * rate) for one in seconds)]
    return sorted({one for one in found if isinstance(one, int)})
