"""Evaluation sets obey the definitions of their splits."""

import numpy as np
import pytest

from lime_xai.worlds import scene
from lime_xai.worlds.scene.objects import POPULARITY


@pytest.fixture(scope="module")
def evaluation():
    return scene.evaluation_set(seed=11, scenes=80, noise=0.3)


def test_the_same_seed_gives_the_same_set(evaluation):
    again = scene.evaluation_set(seed=11, scenes=80, noise=0.3)
    assert again.scenes == evaluation.scenes
    assert again.questions == evaluation.questions
    assert all(a.tobytes() == b.tobytes() for a, b in zip(again.images, evaluation.images, strict=True))
    assert scene.evaluation_set(seed=12, scenes=80, noise=0.3).questions != evaluation.questions


def test_noise_does_not_change_what_is_asked(evaluation):
    assert scene.evaluation_set(seed=11, scenes=80, noise=0.1).questions == evaluation.questions


def test_labels_are_true_and_balanced(evaluation):
    assert all(2 <= len(s.present) <= 4 for s in evaluation.scenes)
    for name in scene.SPLITS:
        questions = evaluation.split(name)
        assert all(q.label == (q.obj in evaluation.scenes[q.scene].present) for q in questions)
        assert sum(q.label for q in questions) * 2 == len(questions)
        keys = [(q.scene, q.obj) for q in questions]
        assert len(set(keys)) == len(keys)


def test_popular_asks_for_the_most_popular_absent_objects(evaluation):
    for index, s in enumerate(evaluation.scenes):
        asked = [q.obj for q in evaluation.split("popular") if q.scene == index and not q.label]
        others = [o for o in s.absent if o not in asked]
        assert min(POPULARITY[asked]) >= max(POPULARITY[others])


@pytest.mark.parametrize("name", ["adversarial", "dialogue"])
def test_absent_objects_are_partners_of_present_ones(evaluation, name):
    for q in evaluation.split(name):
        if not q.label:
            assert scene.partner(q.obj) in evaluation.scenes[q.scene].present


def test_dialogue_context_is_present_and_leans_on_the_partner(evaluation):
    for q in evaluation.split("dialogue"):
        present = evaluation.scenes[q.scene].present
        assert q.context in present
        assert q.context != q.obj
        if scene.partner(q.obj) in present:
            assert q.context == scene.partner(q.obj)
    assert all(q.context is None for name in scene.SPLITS[:3] for q in evaluation.split(name))


def test_random_absent_objects_are_uniform():
    questions = scene.evaluation_set(seed=0, scenes=600).split("random")
    counts = np.bincount([q.obj for q in questions if not q.label], minlength=12)
    assert counts.min() > 0.65 * counts.mean()


def test_unknown_split_and_bad_sizes(evaluation):
    with pytest.raises(ValueError, match="unknown split 'hard'"):
        evaluation.split("hard")
    with pytest.raises(ValueError, match="scenes is 0"):
        scene.evaluation_set(seed=0, scenes=0)
    with pytest.raises(ValueError, match="noise is"):
        scene.evaluation_set(seed=0, scenes=1, noise=-1)
