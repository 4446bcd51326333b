"""Events of the sound world: every synthesiser, clips and their times, mixes and what silencing takes away."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lime_xai.worlds.sound.clips import (
    SMALLEST_GAP,
    Clip,
    Event,
    event_tokens,
    independent_clip,
    place,
    render,
    silence,
    themed_clip,
)
from lime_xai.worlds.sound.events import (
    CLASSES,
    CLIP_SECONDS,
    HABITUAL_PITCH,
    HABITUAL_TIME,
    PITCHES,
    SAMPLES,
    SAMPLING_RATE,
    TOKEN_SECONDS,
)
from lime_xai.worlds.sound.synthesis import (
    LONGEST,
    SHORTEST,
    SYNTHESISERS,
    TRAINING_VARIANTS,
    VARIANTS,
    event_samples,
    event_wave,
)

OBJECTS = st.lists(st.integers(0, len(CLASSES) - 1), min_size=1, max_size=4, unique=True)


def _centroid(wave):
    power = np.abs(np.fft.rfft(wave)) ** 2
    return (power * np.fft.rfftfreq(len(wave), 1 / SAMPLING_RATE)).sum() / power.sum()


def _bands(wave):
    """Log energy in eight octave-like bands, centred: what the ear has of a steady sound."""
    power, frequencies = np.abs(np.fft.rfft(wave)) ** 2, np.fft.rfftfreq(len(wave), 1 / SAMPLING_RATE)
    edges = np.geomspace(40, 8000, 9)
    energy = [power[(frequencies >= a) & (frequencies < b)].sum() for a, b in pairwise(edges)]
    logs = np.log10(np.array(energy) / power.sum() + 1e-6)
    return logs - logs.mean()


@pytest.mark.parametrize("name", CLASSES)
def test_every_event_is_finite_loud_as_told_and_repeatable(name):
    obj = CLASSES.index(name)
    for pitch in range(len(PITCHES)):
        for variant in (0, VARIANTS - 1):
            wave = event_wave(obj, pitch, variant)
            assert wave.dtype == np.float32
            assert SHORTEST * SAMPLING_RATE <= len(wave) <= LONGEST * SAMPLING_RATE
            assert len(wave) == event_samples(obj, pitch, variant)
            assert np.mean(wave.astype(np.float64) ** 2) == pytest.approx(1, rel=1e-4)
            assert wave[0] == wave[-1] == 0
            event_wave.cache_clear()
            np.testing.assert_array_equal(event_wave(obj, pitch, variant), wave)


@pytest.mark.parametrize("name", CLASSES)
def test_a_high_event_is_higher_than_a_low_one(name):
    obj = CLASSES.index(name)
    low, high = (np.mean([_centroid(event_wave(obj, pitch, v)) for v in range(6)]) for pitch in (0, 1))
    assert high > 1.08 * low


def test_every_class_has_a_synthesiser_and_none_sounds_like_another():
    assert SYNTHESISERS.keys() == set(CLASSES)
    spectra = [np.mean([_bands(event_wave(o, 0, v)) for v in range(6)], axis=0) for o in range(len(CLASSES))]
    spreads = [np.std([_bands(event_wave(o, 0, v)) for v in range(6)], axis=0) for o in range(len(CLASSES))]
    for first in range(len(CLASSES)):
        for second in range(first):
            apart = np.abs(spectra[first] - spectra[second]).max()
            assert apart > 2 * min(np.mean(spreads[first]), np.mean(spreads[second])), (CLASSES[first], CLASSES[second])


@pytest.mark.parametrize("indices", [(12, 0, 0), (-1, 0, 0), (0, 2, 0), (0, 0, VARIANTS)])
def test_events_out_of_range_are_refused(indices):
    for make in (event_wave, event_samples):
        with pytest.raises(ValueError, match="out of range"):
            make(*indices)


@given(OBJECTS, st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_placed_events_are_those_asked_for_and_their_order_is_beyond_doubt(objects, seed, pitch, time):
    clip = place(np.random.default_rng(seed), objects, pitch, time)
    assert sorted(clip.present) == sorted(objects)
    assert sorted((*clip.present, *clip.absent)) == list(range(len(CLASSES)))
    onsets = [event.onset for event in clip.events]
    assert all(b - a >= SMALLEST_GAP - 1e-9 for a, b in pairwise(onsets))
    for event in clip.events:
        assert 0 <= event.onset < event.offset <= CLIP_SECONDS
        assert event.time == (event.onset >= 2) == (event.offset > 2)
        assert event.span.stop - event.span.start == len(event.samples)
        assert event.variant < TRAINING_VARIANTS


def test_habits_of_pitch_and_time():
    rng = np.random.default_rng(0)
    clips = [place(rng, [int(rng.integers(12))], 0.8, 0.8) for _ in range(600)]
    pitches = np.mean([c.events[0].pitch == HABITUAL_PITCH[c.present[0]] for c in clips])
    times = np.mean([c.events[0].time == HABITUAL_TIME[c.present[0]] for c in clips])
    assert pitches == pytest.approx(0.9, abs=0.05)
    assert times == pytest.approx(0.9, abs=0.05)


def test_clips_are_independent_and_texts_are_themed():
    rng = np.random.default_rng(0)

    def paired(clips):
        return np.mean([o ^ 1 in clip.present for clip in clips for o in clip.present])

    independent = [independent_clip(rng) for _ in range(1500)]
    counts = np.bincount([o for clip in independent for o in clip.present], minlength=12)
    assert counts.min() > 0.8 * counts.mean()
    assert {len(clip.events) for clip in independent} == {1, 2, 3, 4}
    assert paired(independent) < 0.25 < 0.9 < paired([themed_clip(rng) for _ in range(500)])


def _event(obj=0, onset=0.5, level=0.05):
    return Event(obj, 0, onset, 0, level)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([_event(), _event(onset=2.5)], "occurs twice"),
        ([_event(0, 2.5), _event(1, 0.5)], "out of order"),
        ([_event(0, 0.1), _event(1, 0.3), _event(2, 0.5)], "holds 2"),
        ([_event(0, 1.9)], "within one half"),
        ([_event(0, 3.9)], "within one half"),
    ],
)
def test_impossible_clips_are_refused(events, message):
    with pytest.raises(ValueError, match=message):
        Clip(tuple(events))


def test_a_mix_is_the_sum_of_its_events_and_noise_and_silencing_takes_one_away():
    clip = Clip((_event(0, 0.25), _event(3, 0.5), _event(7, 2.125)))
    mixed = render(np.random.default_rng(0), [clip], noise=0.0)[0]
    naive = np.zeros(SAMPLES)
    for event in clip.events:
        for index, value in enumerate(event.samples):
            naive[round(event.onset * SAMPLING_RATE) + index] += value
    np.testing.assert_allclose(mixed, naive, atol=1e-6)

    noisy = render(np.random.default_rng(1), [clip], noise=0.02)[0]
    assert np.std(noisy - mixed) == pytest.approx(0.02, rel=0.02)
    without = render(np.random.default_rng(1), [clip.without(3)], noise=0.02)[0]
    np.testing.assert_allclose(silence(noisy, clip, 3), without, atol=1e-6)
    with pytest.raises(ValueError, match="not in the clip"):
        silence(noisy, clip, 5)
    with pytest.raises(ValueError, match="shape"):
        silence(noisy[:-1], clip, 3)
    with pytest.raises(ValueError, match="noise is -1"):
        render(np.random.default_rng(1), [clip], noise=-1.0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_tokens_of_an_event_are_those_that_it_overlaps(seed):
    for event in independent_clip(np.random.default_rng(seed)).events:
        begins, ends = event.onset / TOKEN_SECONDS, event.offset / TOKEN_SECONDS
        wanted = [token for token in range(40) if token + 1 > begins + 1e-9 and token < ends - 1e-9]
        assert list(event_tokens(event)) == wanted


def test_values_of_attributes():
    clip = Clip((_event(0, 0.25), Event(3, 1, 2.5, 0, 0.05)))
    assert [clip.value_of(name, obj) for obj in (0, 3) for name in ("pitch", "time")] == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="pitch and time"):
        clip.value_of("colour", 0)
