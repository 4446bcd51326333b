"""Sounds: the feature frames that each token stands for, and their length in seconds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .layout import Layout, SoundLayout
from .reading import NotKnown, Reading, register_layout

Frames = tuple[tuple[int, int], ...]


def seconds_per_frame(processor: Any) -> float | None:
    """Return the hop of a processor's feature extractor in seconds; None without one."""
    for name in ("feature_extractor", "audio_processor"):
        extractor = getattr(processor, name, None)
        settings = getattr(extractor, "melspec_kwargs", {})
        hop = getattr(extractor, "hop_length", settings.get("hop_length"))
        rate = getattr(extractor, "sampling_rate", None)
        if isinstance(hop, int) and isinstance(rate, int):
            return hop / rate
    return None


def _sound(reading: Reading, frames: Frames, scale: int = 1) -> SoundLayout:
    step = seconds_per_frame(reading.processor)
    return SoundLayout(reading.modality, tuple(range(len(frames))), frames, None if step is None else step * scale)


def _strided(length: int, tokens: int, stride: int, offset: int = 0) -> Frames:
    """Return the frames of tokens of ``stride`` frames each, the last one ending with the sound."""
    return tuple(
        (offset + token * stride, offset + (length if token == tokens - 1 else (token + 1) * stride))
        for token in range(tokens)
    )


def _lengths(reading: Reading, *names: str) -> list[int]:
    """Return the number of feature frames of each sound, from a mask ``[N, F]``."""
    for name in names:
        if reading.inputs.get(name) is not None:
            found: list[int] = reading.tensor(name).sum(-1).long().tolist()  # some processors give masks of floats
            return found
    raise NotKnown(f"the inputs hold no {' or '.join(names)}")


def pooled_length(frames: int) -> int:
    """Return the tokens of ``frames`` feature frames: a convolution of stride 2, then the mean of two."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


@register_layout("qwen2_audio", "qwen2_5_omni_thinker", modality="audio")
def four_frames(reading: Reading) -> list[Layout]:
    """Four feature frames to a token (``pooled_length``)."""
    lengths = _lengths(reading, "feature_attention_mask")
    return [_sound(reading, _strided(length, pooled_length(length), 4)) for length in lengths]


@register_layout("audioflamingo3", modality="audio")
def windows_of_four(reading: Reading) -> list[Layout]:
    """Four feature frames to a token; a long sound is cut into windows, which follow each other in one run."""
    return _windows(reading, pooled_length, 4)


@register_layout("glmasr", modality="audio")
def windows_of_eight(reading: Reading) -> list[Layout]:
    """Eight feature frames to a token, four of the encoder's; windows as for ``windows_of_four``."""
    return _windows(reading, lambda frames: ((frames - 1) // 2 + 1) // 4, 8)


def _windows(reading: Reading, tokens_of: Any, stride: int) -> list[Layout]:
    """Return one sound per run, of as many windows as fill it."""
    lengths = _lengths(reading, "input_features_mask")
    width = reading.tensor("input_features").shape[-1]
    pending = iter(lengths)
    found: list[Layout] = []
    for start, stop in (run for row in reading.runs for run in row):
        frames: Frames = ()
        offset = 0
        while len(frames) < stop - start:
            length = next(pending, None)
            if length is None:
                raise NotKnown("the prompt has more audio tokens than the inputs have feature frames")
            frames += _strided(length, tokens_of(length), stride, offset)
            offset += width
        found.append(_sound(reading, frames))
    return found


@register_layout("voxtral", modality="audio")
def eight_frames(reading: Reading) -> list[Layout]:
    """Eight feature frames to a token; chunks of one length, padded, follow each other in one run."""
    audio = reading.config.audio_config
    width = reading.tensor("input_features").shape[-1]
    stride = 2 * audio.intermediate_size // audio.hidden_size
    size = width // stride
    found: list[Layout] = []
    for start, stop in (run for row in reading.runs for run in row):
        if (stop - start) % size:
            raise NotKnown(f"a run of {stop - start} tokens is not made of chunks of {size}")
        chunks = (stop - start) // size
        found.append(_sound(reading, _strided(width * chunks, size * chunks, stride)))
    return found


def chunked_frames(length: int, chunk: int) -> Frames:
    """Return the frames of each token: three convolutions of stride 2 over chunks, the last of which may be shorter.

    A token is centred at every eighth frame of its chunk, beginning with the first, so that the first stands for half
    as many frames as the others.
    """
    found: Frames = ()
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        tokens = stop - start
        for _ in range(3):
            tokens = (tokens - 1) // 2 + 1
        edges = [start, *(start + 8 * token - 4 for token in range(1, tokens)), stop]
        found += tuple(pairwise(edges))
    return found


@register_layout("qwen3_asr", "qwen3_omni_moe_thinker", modality="audio")
def chunked(reading: Reading) -> list[Layout]:
    """Eight feature frames to a token within chunks of two windows (``chunked_frames``)."""
    chunk = 2 * reading.config.audio_config.n_window
    lengths = _lengths(reading, "feature_attention_mask", "input_features_mask")
    return [_sound(reading, chunked_frames(length, chunk)) for length in lengths]


@register_layout("granite_speech", modality="audio")
def windowed_queries(reading: Reading) -> list[Layout]:
    """Tokens that all read one window of the encoder's frames; such a frame is two of the spectrogram."""
    window = reading.config.window_size
    queries = window // reading.config.downsample_rate
    length = reading.tensor("input_features").shape[1]
    sizes = _lengths(reading, "input_features_mask")
    return [
        _sound(
            reading,
            tuple((token // queries * window, min((token // queries + 1) * window, length)) for token in range(tokens)),
            scale=2,
        )
        for tokens in sizes
    ]
