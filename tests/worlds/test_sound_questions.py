"""Questions about clips, against what a person would say who reads onsets and offsets from a list."""

import re

import numpy as np
import pytest

from lime_xai.worlds import sound
from lime_xai.worlds.sound.events import CLASSES, NUMBERS
from lime_xai.worlds.sound.synthesis import TRAINING_VARIANTS
from lime_xai.worlds.sound.world import four_options


@pytest.fixture(scope="module")
def evaluation():
    return sound.evaluation_set(seed=21, scenes=60)


def _heard(clip):
    """List a clip as rows of name, onset and offset in seconds, whether it is high, in no particular order."""
    rows = [(CLASSES[e.obj], e.onset, e.onset + len(e.samples) / 16_000, e.pitch == 1) for e in clip.events]
    return {name: (onset, offset, high) for name, onset, offset, high in reversed(rows)}


def _asked(question):
    """Return the classes that a prompt names before the answer."""
    return [word for word in re.findall(r"[a-z]+", question.prompt) if word in CLASSES]


def _of(evaluation, kind):
    asked = [q for q in evaluation.open_questions if q.kind == kind]
    assert [q.scene for q in asked] == list(range(len(evaluation.scenes)))
    return [(q, _heard(evaluation.scenes[q.scene])) for q in asked]


def test_clips_are_made_of_variants_that_training_does_not_have(evaluation):
    variants = [event.variant for clip in evaluation.scenes for event in clip.events]
    assert min(variants) >= TRAINING_VARIANTS
    assert len(set(variants)) > 10
    assert {len(clip.events) for clip in evaluation.scenes} == {2, 3, 4}


def test_closed_questions_are_labelled_by_what_sounds(evaluation):
    for question in evaluation.questions:
        *_, last = _asked(question)
        assert question.label == (last in _heard(evaluation.scenes[question.scene]))


def test_pitch(evaluation):
    for question, heard in _of(evaluation, "pitch"):
        (name,) = _asked(question)
        assert question.answer == ("high" if heard[name][2] else "low")
        assert question.choices == ("low", "high")


def test_time_is_the_half_in_which_all_of_the_event_lies(evaluation):
    for question, heard in _of(evaluation, "time"):
        (name,) = _asked(question)
        onset, offset, _ = heard[name]
        assert (onset >= 2, offset <= 2) == {"early": (False, True), "late": (True, False)}[question.answer]
        assert question.choices == ("early", "late")


def test_count(evaluation):
    for question, heard in _of(evaluation, "count"):
        assert question.answer == NUMBERS[len(heard) - 1]


def test_what_comes_first_has_the_smallest_onset(evaluation):
    for question, heard in _of(evaluation, "first"):
        assert question.answer == min(heard, key=lambda name: heard[name][0])
        assert question.choices == CLASSES


def test_one_of_four_choices_sounds_and_its_partner_is_among_them(evaluation):
    places = []
    for question, heard in _of(evaluation, "choice"):
        assert tuple(_asked(question)) == question.choices
        assert len(set(question.choices)) == 4
        assert [name for name in question.choices if name in heard] == [question.answer]
        other = CLASSES[CLASSES.index(question.answer) ^ 1]
        assert (other in question.choices) is (other not in heard)
        places.append(question.choices.index(question.answer))
    assert set(places) == {0, 1, 2, 3}


def test_every_event_of_a_clip_can_be_the_right_choice(evaluation):
    clip, rng = evaluation.scenes[0], np.random.default_rng(0)
    assert {four_options(rng, clip)[1] for _ in range(60)} == set(clip.present)


def test_erasing_is_silencing_sample_by_sample(evaluation):
    for probe in (p for p in evaluation.probes if p.kind == "name"):
        clip = evaluation.scenes[probe.scene]
        (event,) = (e for e in clip.events if CLASSES[e.obj] == probe.word)
        gone = evaluation.clips[probe.scene] - evaluation.erased[probe.scene]
        first = round(event.onset * 16_000)
        naive = np.zeros(64_000)
        naive[first : first + len(event.samples)] = event.samples
        np.testing.assert_allclose(gone, naive, atol=1e-6)
        outside = naive == 0
        outside[first : first + len(event.samples)] = False
        assert not gone[outside].any()
