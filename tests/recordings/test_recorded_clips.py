"""Clips hold what their truth says, and erasing takes away one recording and nothing else."""

from itertools import combinations

import numpy as np
import pytest

from benchmarks.recordings.catalogue import CLASSES, FILES, Recording, Recordings, recordings
from benchmarks.recordings.clips import (
    LONGEST,
    MOST,
    NOISE,
    RATE,
    SAMPLES,
    TOKEN_SAMPLES,
    TOKENS,
    Placed,
    RecordedClip,
    clips_of,
    excerpt,
    loudest,
    overlap,
    render_clip,
    tokens_of,
    without,
)

MANY = 60


@pytest.fixture(scope="module")
def drawn(recorded):
    return [clips_of((3, index), recorded) for index in range(MANY)]


def test_a_clip_depends_on_its_seed_alone(recorded, drawn):
    again = [clips_of((3, index), recorded) for index in reversed(range(MANY))][::-1]
    assert [clip for clip, _ in again] == [clip for clip, _ in drawn]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(again, drawn, strict=True))
    assert len({clip for clip, _ in drawn}) == MANY


def test_excerpts_lie_in_the_clip_and_overlap_by_half_at_most(drawn):
    counts = {len(clip.placed) for clip, _ in drawn}
    assert counts == set(range(1, MOST + 1))
    for clip, samples in drawn:
        assert samples.shape == (SAMPLES,)
        assert len(set(clip.present)) == len(clip.placed)
        assert all(one.onset >= 0 and one.span.stop <= SAMPLES for one in clip.placed)
        assert all(one.length <= LONGEST * RATE for one in clip.placed)
        assert all(overlap(one, other) <= 0.5 for one, other in combinations(clip.placed, 2))


def test_an_excerpt_has_its_level_and_fades(recorded, drawn):
    for clip, _ in drawn:
        for one in clip.placed:
            heard = excerpt(one, recorded)
            assert np.sqrt((heard.astype(np.float64) ** 2).mean()) == pytest.approx(one.level, rel=1e-4)
            assert heard[0] == 0


def test_a_clip_without_a_recording_is_the_clip_of_the_others(recorded, drawn):
    for clip, _ in drawn:
        samples = render_clip(np.random.default_rng(1), clip, recorded)
        for one in clip.placed:
            rest = RecordedClip(tuple(other for other in clip.placed if other is not one), clip.classes)
            expected = render_clip(np.random.default_rng(1), rest, recorded)
            np.testing.assert_allclose(without(samples, clip, [one.obj], recorded), expected, atol=1e-6)
        bare = render_clip(np.random.default_rng(1), RecordedClip((), clip.classes), recorded)
        np.testing.assert_allclose(without(samples, clip, clip.present, recorded), bare, atol=1e-6)


def test_erasing_is_exact_where_a_clip_reaches_full_scale(recorded):
    """Oracle: the clip of the others, made anew; noise may be missing at full scale, and nothing else."""
    placed = tuple(Placed(obj, 0, 0, 4000, onset, 0.9) for obj, onset in ((20, 0), (30, 1000), (10, 2000)))
    clip = RecordedClip(placed, len(CLASSES))
    samples = render_clip(np.random.default_rng(1), clip, recorded)
    full = np.abs(samples) == 1
    assert full.sum() > 500
    for gone in ([20], [20, 10], clip.present):
        rest = RecordedClip(tuple(one for one in placed if one.obj not in gone), clip.classes)
        found = without(samples, clip, gone, recorded)
        expected = render_clip(np.random.default_rng(1), rest, recorded)
        np.testing.assert_allclose(found[~full], expected[~full], atol=1e-6)
        assert np.abs(found - expected).max() < 6 * NOISE


def test_what_does_not_sound_cannot_be_erased(recorded, drawn):
    clip, samples = drawn[0]
    with pytest.raises(ValueError, match="does not sound"):
        without(samples, clip, [clip.absent[0]], recorded)


def test_the_loudest_is_what_has_most_power(recorded):
    """Oracle: one loud recording, one soft one, and noise, at places chosen by hand."""
    loud = Placed(20, 0, 0, 8 * TOKEN_SAMPLES, 10 * TOKEN_SAMPLES, 0.1)
    soft = Placed(30, 0, 0, 8 * TOKEN_SAMPLES, 14 * TOKEN_SAMPLES, 0.02)
    found = loudest(RecordedClip((loud, soft), len(CLASSES)), recorded)
    assert found.shape == (TOKENS,)
    assert set(found[:10]) == set(found[22:]) == {len(CLASSES)}
    assert set(found[10:18]) == {20}
    assert set(found[18:22]) == {30}
    assert tokens_of(loud) == tuple(range(10, 18))


def test_silence_is_refused_and_named():
    silent = Recordings(("bear",), ((Recording("bear.ogg", "", np.zeros(5000, np.float32)),),))
    with pytest.raises(ValueError, match=r"bear\.ogg is silent"):
        excerpt(Placed(0, 0, 0, 5000, 0, 0.1), silent)


def test_missing_recordings_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m benchmarks\.recordings parts"):
        recordings(tmp_path)


def test_a_caption_that_names_something_else_is_refused(tmp_path):
    for files in FILES.values():
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_bytes(b"")
            (tmp_path / file).with_suffix(".txt").write_text("A spoon.")
    with pytest.raises(ValueError, match=r"'A spoon.', which names no bear"):
        recordings(tmp_path)


def test_classes_without_recordings_are_refused():
    with pytest.raises(ValueError, match="give each some"):
        Recordings(("bear", "cat"), ((Recording("bear.ogg", "", np.ones(5, np.float32)),), ()))


@pytest.mark.real
def test_the_recordings_are_fifty_of_forty_classes(parts_heard):
    found = recordings(parts_heard.stamps)
    assert (len(found.names), sum(map(len, found.takes))) == (40, 50)
    for index in range(100):
        clips_of((1, index), found)
