"""Evaluation sets obey the definitions of their splits."""

import numpy as np
import pytest

from lime_xai.worlds import scene, sound
from lime_xai.worlds.shared.evaluation import SPLITS, draw_scenes
from lime_xai.worlds.shared.language import partner


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=11, scenes=80)


def test_the_same_seed_gives_the_same_set(evaluation, each_world):
    again = each_world.evaluation_set(seed=11, scenes=80, noise=each_world.default_noise)
    assert again.scenes == evaluation.scenes
    assert again.questions == evaluation.questions
    assert again.open_questions == evaluation.open_questions
    assert again.probes == evaluation.probes
    for name in ("media", "erased"):
        pairs = zip(getattr(again, name), getattr(evaluation, name), strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    assert each_world.evaluation_set(seed=12, scenes=80).questions != evaluation.questions


def test_noise_does_not_change_what_is_asked(evaluation, each_world):
    calm = each_world.evaluation_set(seed=11, scenes=80, noise=0.01)
    assert calm.questions == evaluation.questions
    assert any(a.tobytes() != b.tobytes() for a, b in zip(calm.media, evaluation.media, strict=True))


def test_labels_are_true_and_balanced(evaluation):
    assert all(2 <= len(s.present) <= 4 for s in evaluation.scenes)
    for name in SPLITS:
        questions = evaluation.split(name)
        assert all(q.label == (q.obj in evaluation.scenes[q.scene].present) for q in questions)
        assert sum(q.label for q in questions) * 2 == len(questions)
        keys = [(q.scene, q.obj) for q in questions]
        assert len(set(keys)) == len(keys)


def test_popular_asks_for_the_most_popular_absent_objects(evaluation):
    popularity = evaluation.world.language.popularity
    for index, s in enumerate(evaluation.scenes):
        asked = [q.obj for q in evaluation.split("popular") if q.scene == index and not q.label]
        others = [o for o in s.absent if o not in asked]
        assert min(popularity[asked]) >= max(popularity[others])


@pytest.mark.parametrize("name", ["adversarial", "dialogue"])
def test_absent_objects_are_partners_of_present_ones(evaluation, name):
    for q in evaluation.split(name):
        if not q.label:
            assert partner(q.obj) in evaluation.scenes[q.scene].present


def test_dialogue_context_is_present_and_leans_on_the_partner(evaluation):
    for q in evaluation.split("dialogue"):
        present = evaluation.scenes[q.scene].present
        assert q.context in present
        assert q.context != q.obj
        if partner(q.obj) in present:
            assert q.context == partner(q.obj)
    assert all(q.context is None for name in SPLITS[:3] for q in evaluation.split(name))


def test_random_absent_objects_are_uniform(each_world):
    questions = [q for q in draw_scenes(each_world, 0, 600)[2] if q.split == "random"]
    counts = np.bincount([q.obj for q in questions if not q.label], minlength=12)
    assert counts.min() > 0.65 * counts.mean()


def test_unknown_split_and_bad_sizes(evaluation, each_world):
    with pytest.raises(ValueError, match="unknown split 'hard'"):
        evaluation.split("hard")
    with pytest.raises(ValueError, match="scenes is 0"):
        each_world.evaluation_set(seed=0, scenes=0)
    with pytest.raises(ValueError, match="noise is"):
        each_world.evaluation_set(seed=0, scenes=1, noise=-1)


def test_the_prompt_of_a_question_is_what_the_chat_template_makes_of_its_messages(evaluation, each_untrained):
    processor = each_untrained[1]
    for question in (evaluation.split("random")[0], evaluation.split("dialogue")[0]):
        assert processor.apply_chat_template(question.messages, add_generation_prompt=True) == question.prompt
    assert processor.apply_chat_template(evaluation.caption_messages, add_generation_prompt=True) == (
        evaluation.caption_prompt
    )


def test_media_have_the_name_of_their_modality():
    pictures, sounds = scene.evaluation_set(seed=1, scenes=1), sound.evaluation_set(seed=1, scenes=1)
    assert pictures.images is pictures.media
    assert sounds.clips is sounds.media
    with pytest.raises(ValueError, match="the sound world has no images, its modality is audio"):
        _ = sounds.images
    with pytest.raises(ValueError, match="the scene world has no clips, its modality is image"):
        _ = pictures.clips
