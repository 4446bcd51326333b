"""Contrasts with other media of a scene: nothing, and the background alone."""

import numpy as np
import pytest

import lime_xai
from lime_xai import Contrast
from lime_xai.evaluation.policies.registry import OTHER_MEDIA, select_policies, usual_policies
from lime_xai.evaluation.policies.world import measure_policies
from lime_xai.worlds.shared.measuring import first_logits, generate_captions

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=23, scenes=3)


def bytes_of(medium):
    return np.asarray(medium).tobytes()


def test_the_background_has_nothing_in_it_and_keeps_its_noise(each_world, evaluation):
    for index, scene in enumerate(evaluation.scenes):
        found = evaluation.background(evaluation.media[index])
        assert bytes_of(found) == bytes_of(evaluation.background(evaluation.erased[index]))
        assert bytes_of(found) == bytes_of(evaluation.background(evaluation.media[index]))
        assert np.asarray(found).std() > 0
        assert len(scene.present) > 1
    with pytest.raises(ValueError, match="none of this evaluation set"):
        evaluation.background(each_world.nothing(evaluation.media[0]))


def test_the_background_of_a_clip_is_its_noise():
    from lime_xai.worlds import load_world

    quiet = load_world("sound").evaluation_set(seed=23, scenes=2, noise=0.0)
    for medium in quiet.media:
        assert np.abs(medium).max() > 0.05
        np.testing.assert_allclose(quiet.background(medium), 0, atol=1e-6)


@pytest.mark.parametrize("name", OTHER_MEDIA)
def test_a_set_is_measured_as_every_scene_alone(each_world, each_untrained, evaluation, name):
    model, processor = each_untrained
    chosen = OTHER_MEDIA[name]
    report = measure_policies(each_world, model, processor, {name: chosen}, seed=23, scenes=3)
    other = each_world.nothing if chosen.medium == "nothing" else evaluation.background
    captions = []
    for medium in evaluation.media:
        inputs = each_world.batch(processor, [medium], [evaluation.caption_prompt])
        changed = each_world.batch(processor, [other(medium)], [evaluation.caption_prompt])
        with lime_xai.steering(model, chosen.policy, counterfactual=changed):
            sequence = model.generate(**inputs, do_sample=False, max_new_tokens=6)[0]
        captions.append(processor.decode(sequence[inputs["input_ids"].shape[1] :]).replace("<pad>", "").split())
    row, plain = report.policies[name], report.policies["vanilla"]
    assert (row["against"], plain["against"]) == (chosen.medium, None)
    assert row["settings"] == lime_xai.policy_to_dict(Contrast("counterfactual"))

    def around(media, prompts):
        given = each_world.batch(processor, [other(medium) for medium in media], prompts)
        return lime_xai.steering(model, chosen.policy, counterfactual=given)

    together = generate_captions(model, processor, evaluation, around=around, max_new_tokens=6)
    assert [caption.split() for caption in together] == captions
    asked = [evaluation.caption_prompt] * 3
    logits = first_logits(model, processor, each_world, evaluation.media, asked, around=around)
    assert np.abs(logits - first_logits(model, processor, each_world, evaluation.media, asked)).max() > 1e-3


def test_a_report_of_another_medium_is_measured_again(each_world, each_untrained):
    nothing, background = OTHER_MEDIA["contrast_nothing"], OTHER_MEDIA["contrast_background"]
    first = measure_policies(each_world, *each_untrained, {"one": nothing}, seed=23, scenes=2)
    kept = dict(first.policies, one={**first.policies["one"], "cost": 700.0})
    same = measure_policies(each_world, *each_untrained, {"one": nothing}, seed=23, scenes=2, done=kept)
    assert same.policies["one"]["cost"] == 700.0
    other = measure_policies(each_world, *each_untrained, {"one": background}, seed=23, scenes=2, done=kept)
    assert other.policies["one"]["cost"] != 700.0


def test_steering_by_such_a_name_says_what_to_do():
    with pytest.raises(ValueError, match=r"made by `lime-xai world` and `lime-xai evaluate` alone.* counterfactual="):
        select_policies(["contrast_nothing"], usual_policies())
