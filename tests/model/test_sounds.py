"""Sounds from files keep their tones and their length, and no processor leaves a part of one out without a word."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from support.words import numbered_tokenizer
from transformers import (
    AudioFlamingo3Processor,
    GlmAsrProcessor,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from lime_xai.model.sounds import check_heard, heard_samples, read_sound, sampling_rate, split_sound
from lime_xai.worlds import sound

RATES = (8000, 11025, 16000, 22050, 44100, 44101, 48000)
KINDS = {"wav": ("PCM_16", 1), "flac": ("PCM_24", 3), "ogg": ("VORBIS", 2)}
"""Subtype and channels."""


def tone(pitch, rate, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def spectrum(samples):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / len(samples) * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_frequency_level_and_length(rate, kind, tmp_path):
    path, (subtype, channels) = tmp_path / f"a.{kind}", KINDS[kind]
    soundfile.write(path, np.repeat(tone(1000, rate)[:, None], channels, 1), rate, subtype=subtype)
    found = read_sound(path, 16000)
    assert found.dtype == np.float32
    assert abs(len(found) - 16000) <= 1
    assert spectrum(found).argmax() == 1000
    assert spectrum(found)[1000] == pytest.approx(0.5, rel=0.02)
    lag = np.correlate(found[4000:8000], tone(1000, 16000)[4000:8000], "full").argmax() - 3999
    assert lag == 0


@pytest.mark.parametrize("rate", [22050, 44100, 44101, 48000])
def test_what_the_new_rate_cannot_hold_does_not_fold_back(rate, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(8500, rate), rate, subtype="FLOAT")
    assert np.abs(read_sound(tmp_path / "a.wav", 16000)[2000:-2000]).max() < 1e-5


def test_channels_are_averaged_and_the_own_rate_is_not_changed(tmp_path):
    left, right = tone(500, 16000), tone(900, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    assert np.array_equal(read_sound(tmp_path / "a.wav", 16000), (left + right) / 2)


def test_unreadable_files_are_refused_by_name(tmp_path):
    soundfile.write(tmp_path / "none.wav", tone(500, 16000)[:0], 16000)
    soundfile.write(tmp_path / "one.wav", tone(500, 44100)[:1], 44100)
    soundfile.write(tmp_path / "nan.wav", np.full(10, np.nan, np.float32), 16000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no sound")
    for name, message in (
        ("none", "holds no samples"),
        ("one", "holds 1 samples at 44100 Hz, none at 16000 Hz"),
        ("nan", "NaN or infinite"),
        ("text", "cannot be read as sound"),
        ("missing", "cannot be read as sound"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.wav .*{message}|{name}\.wav {message}"):
            read_sound(tmp_path / f"{name}.wav", 16000)
    soundfile.write(tmp_path / "slow.wav", tone(500, 16000), 15)
    with pytest.raises(ValueError, match=r"slow\.wav has samples at 15 Hz, less than a thousandth of 16000 Hz"):
        read_sound(tmp_path / "slow.wav", 16000)
    soundfile.write(tmp_path / "slow.wav", tone(500, 16000)[:20], 15)
    assert len(read_sound(tmp_path / "slow.wav", 15_000)) == 20_000
    for rate in (1_000_001, 2**70):  # soxr would ask for as much memory
        with pytest.raises(ValueError, match=rf"rate is {rate}; expected a sampling rate in Hz, at most 1000000"):
            read_sound(tmp_path / "one.wav", rate)
    for rate in (0, -1, 16000.0, True):
        with pytest.raises(TypeError, match="expected a positive int in Hz, or a processor"):
            read_sound(tmp_path / "none.wav", rate)


# What a processor hears -----------------------------------------------------------------------------------------------


def extractor(seconds=1):
    return WhisperFeatureExtractor(feature_size=8, chunk_length=seconds, hop_length=160, n_fft=400)


def tokenizer():
    found = numbered_tokenizer()
    found.pad_token = found.eos_token or "0"
    found.add_special_tokens({"additional_special_tokens": ["<sound>"]})
    return found


class Whole(Qwen2AudioProcessor):
    """Gives the model the whole sound, as the processors of Qwen3-Omni and Voxtral do."""

    def _process_audio(self, audio, **kwargs):
        found = self.feature_extractor(audio, **{**kwargs, "padding": True, "truncation": False})
        return found, ["<sound>"] * len(audio)


class Noisy(Whole):
    """Returns something else at each call."""

    def _process_audio(self, audio, **kwargs):
        found, texts = super()._process_audio(audio, **kwargs)
        return {**found, "input_features": torch.as_tensor(found["input_features"]) + torch.rand(1)}, texts


class OfText:
    feature_extractor = SimpleNamespace(sampling_rate=16000)
    audio_token = "<sound>"

    def __call__(self, text):
        raise AssertionError("is not called")


PROCESSORS = {
    "window of 1 s": (lambda: Qwen2AudioProcessor(extractor(), tokenizer(), audio_token="<sound>"), 16000),
    "windows up to 3 s": (
        lambda: AudioFlamingo3Processor(extractor(), tokenizer(), audio_token="<sound>", max_audio_len=3),
        48000,
    ),
    "windows up to 2 s": (
        lambda: GlmAsrProcessor(extractor(), tokenizer(), audio_token="<sound>", max_audio_len=2),
        32000,
    ),
    "whole": (lambda: Whole(extractor(), tokenizer(), audio_token="<sound>"), None),
    "sound world": (sound.build_processor, 64000),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("quiet", [False, True], ids=["noise", "silence"])
def test_the_part_that_a_processor_hears_is_found(name, quiet):
    make, limit = PROCESSORS[name]
    processor = make()
    for length in (8000, limit or 40000, (limit or 40000) + 24000):
        clip = np.random.default_rng(0).normal(0, 0.0 if quiet else 0.1, length).astype(np.float32)
        assert heard_samples(processor, clip) == min(length, limit or length)


def test_a_setting_that_is_not_the_cut_only_costs_time():
    processor = PROCESSORS["window of 1 s"][0]()
    processor.feature_extractor.n_samples = 12345  # where this version cuts, whatever chunk_length says
    assert heard_samples(processor, tone(300, 16000, 2.0)) == 12345


def test_a_sound_that_would_be_cut_is_refused_with_a_way_out(tmp_path):
    processor = PROCESSORS["window of 1 s"][0]()
    clip = tone(300, 16000, 2.5)
    message = r"is 2\.5 s long; Qwen2AudioProcessor hears the first 1 s .*as 3 sounds: --split-audio .*split_sound"
    with pytest.raises(ValueError, match=f"sound 1 {message}"):
        check_heard(processor, [clip[:16000], clip])
    soundfile.write(tmp_path / "a.flac", clip, 16000)
    with pytest.raises(ValueError, match=rf"a\.flac {message}"):
        read_sound(tmp_path / "a.flac", processor)
    parts = split_sound(clip, processor)
    assert [len(part) for part in parts] == [13334, 13333, 13333]
    assert np.array_equal(np.concatenate(parts), clip)
    assert check_heard(processor, parts) == []
    assert len(split_sound(clip[:16000], processor)) == 1


@pytest.mark.parametrize("make", [lambda: Noisy(extractor(), tokenizer(), audio_token="<sound>"), OfText])
def test_what_is_not_known_is_said(make):
    clip = tone(300, 16000)
    assert heard_samples(make(), clip) is None
    assert check_heard(make(), [clip], ["a.wav"]) == ["a.wav"]
    with pytest.raises(ValueError, match="is not known; split the sound yourself"):
        split_sound(clip, make())


def test_a_rate_is_read_and_never_assumed():
    assert sampling_rate(SimpleNamespace(audio_processor=SimpleNamespace(sampling_rate=8000))) == 8000
    with pytest.raises(ValueError, match="SimpleNamespace names no sampling rate"):
        sampling_rate(SimpleNamespace(feature_extractor=SimpleNamespace()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused_and_not_unheard(value):
    processor, clip = PROCESSORS["whole"][0](), tone(300, 16000)
    clip[[5, 7]] = value
    for call in (lambda: heard_samples(processor, clip), lambda: split_sound(clip, processor)):
        with pytest.raises(ValueError, match=r"sound holds samples that are NaN or infinite, 2 of 16000"):
            call()
    with pytest.raises(ValueError, match=r"sound holds samples that are NaN or infinite"):
        check_heard(processor, [tone(300, 16000), clip])
