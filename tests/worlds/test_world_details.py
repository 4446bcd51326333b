"""Second sentences, open questions and probes of grounding."""

import numpy as np
import pytest

from lime_xai.worlds import scene, sound
from lime_xai.worlds.scene.objects import HABITUAL_COLOUR, HABITUAL_SIDE, NUMBERS
from lime_xai.worlds.scene.scenes import EMPTY, Scene
from lime_xai.worlds.shared.details import detail_counts, detail_values, holds, second_sentence
from lime_xai.worlds.shared.language import partner
from lime_xai.worlds.shared.measuring import generate_captions, groundings, open_answers
from lime_xai.worlds.sound.clips import Clip, Event

SCENE = Scene((0, 4, EMPTY, EMPTY), (0, 1, EMPTY, EMPTY))
CLIP = Clip((Event(4, 0, 0.5, 40, 0.05), Event(0, 1, 2.5, 40, 0.05)))  # a low bell, and a high dog late


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=21, scenes=60)


@pytest.fixture(scope="module")
def pictures():
    return scene.evaluation_set(seed=21, scenes=60, noise=0.2)


@pytest.mark.parametrize(
    ("caption", "claim"),
    [
        ("there is a cup . the cup is red . </s>", (0, "red")),
        ("there is a cup , a sun . the sun is on the right . </s>", (4, "right")),
        ("there is a cup . </s>", None),
        ("there is a cup . the cup is red .", None),
        ("there is a cup . the cup is on the red . </s>", None),
        ("there is a cup . the cup is left . </s>", None),
        ("there is a cup . the cup is red . the cup is red . </s>", None),
        ("the cup is red . </s>", None),
    ],
)
def test_second_sentences_are_read(caption, claim):
    assert second_sentence(caption, scene.LANGUAGE) == claim


@pytest.mark.parametrize(
    ("caption", "claim"),
    [
        ("there is a dog . the dog is high . </s>", (0, "high")),
        ("there is a dog , a bell . the bell is early . </s>", (4, "early")),
        ("there is a dog . </s>", None),
        ("there is a dog . the dog is on the high . </s>", None),
        ("there is a dog . the dog is red . </s>", None),
        ("there is a cup . the cup is high . </s>", None),
    ],
)
def test_second_sentences_about_sounds_are_read(caption, claim):
    assert second_sentence(caption, sound.LANGUAGE) == claim


@pytest.mark.parametrize(
    ("obj", "said", "true"),
    [
        (0, "red", True),
        (0, "left", True),
        (0, "green", False),
        (4, "right", True),
        (4, "left", False),
        (1, "red", False),
    ],
)
def test_claims_hold_of_what_is_there(obj, said, true):
    assert holds(SCENE, obj, said, scene.LANGUAGE) is true


@pytest.mark.parametrize(
    ("obj", "said", "true"),
    [
        (0, "high", True),
        (0, "late", True),
        (0, "low", False),
        (0, "early", False),
        (4, "early", True),
        (4, "high", False),
        (1, "high", False),
    ],
)
def test_claims_hold_of_what_sounds(obj, said, true):
    assert holds(CLIP, obj, said, sound.LANGUAGE) is true


def test_detail_values_by_hand():
    captions = [
        "there is a cup . the cup is red . </s>",
        "there is a cup . the cup is green . </s>",
        "there is a cup , a phone . the phone is red . </s>",
        "there is a cup . </s>",
    ]
    counts = detail_counts(captions, [SCENE] * 4, scene.LANGUAGE)
    found = detail_values(counts.sum(0))
    assert found["two_sentences"] == 0.75
    assert found["true"] == pytest.approx(1 / 3)
    assert found["absent"] == pytest.approx(1 / 3)
    assert np.isnan(detail_values(counts[3])["true"])


@pytest.mark.parametrize("kind", scene.WORLD.open_kinds)
def test_open_questions_are_answered_truly(pictures, kind):
    asked = [q for q in pictures.open_questions if q.kind == kind]
    assert [q.scene for q in asked] == list(range(60))
    for q in asked:
        drawn = pictures.scenes[q.scene]
        assert q.answer in q.choices
        if kind == "count":
            assert (q.answer, q.habitual) == (NUMBERS[len(drawn.present) - 1], None)
            assert q.choices == NUMBERS
            continue
        obj = next(o for o in drawn.present if f" {scene.CLASSES[o]} " in q.prompt)
        if kind == "colour":
            assert (q.answer, q.habitual) == (scene.COLOURS[drawn.colour_of(obj)], HABITUAL_COLOUR[obj])
            assert q.choices == scene.COLOURS
        else:
            assert (q.answer, q.habitual) == (scene.SIDES[drawn.side_of(obj)], scene.SIDES[HABITUAL_SIDE[obj]])
            assert q.choices == scene.SIDES


def test_erased_pictures_lack_the_object_of_the_probes_and_nothing_else(pictures):
    for probe in (p for p in pictures.probes if p.kind == "name"):
        drawn, obj = pictures.scenes[probe.scene], scene.class_index(probe.word)
        before, after = (np.asarray(i[probe.scene]) for i in (pictures.images, pictures.erased))
        row, column = divmod(drawn.cell_of(obj), 2)
        changed = (before != after).any(-1)
        cell = np.zeros_like(changed)
        cell[36 * row : 36 * row + 36, 36 * column : 36 * column + 36] = True
        assert changed[cell].mean() > 0.5
        assert not changed[~cell].any()


def test_probes_of_a_scene_are_true_and_about_one_thing(evaluation):
    language = evaluation.world.language
    named = {p.scene: language.classes.index(p.word) for p in evaluation.probes if p.kind == "name"}
    for kind in evaluation.world.probe_kinds:
        probed = [p for p in evaluation.probes if p.kind == kind]
        assert [p.scene for p in probed] == list(range(60))
        for p in probed:
            drawn, obj = evaluation.scenes[p.scene], named[p.scene]
            said = language.mentions(p.prompt.replace("?", " "))
            if kind == "name":
                assert obj in drawn.present
                assert set(said) == set(drawn.present) - {obj, partner(obj)}
                assert p.prompt.endswith((" a", " an"))
            else:
                assert said == (obj,)
                words = {a.name: a.words[drawn.value_of(a.name, obj)] for a in language.attributes}
                assert p.word == (words | {"yes": "yes"})[kind]


def test_nothing_is_of_the_same_size_and_has_no_contrast(evaluation):
    for medium in evaluation.media[:3]:
        before, after = np.asarray(medium), np.asarray(evaluation.world.nothing(medium))
        assert before.shape == after.shape
        assert before.dtype == after.dtype
        assert after.std() == 0 < before.std()


def test_regions_are_the_tokens_that_erasing_changes(evaluation):
    """Those whose patch of pixels changes, or all from the first to the last tenth of a second that does.

    The fade of an event, 10 ms at both ends, is too soft to change every sample, and some events have pauses.
    """
    world, rng = evaluation.world, np.random.default_rng(0)
    for drawn, medium in zip(evaluation.scenes[:6], evaluation.media[:6], strict=True):
        for obj in drawn.present:
            after = world.erase(medium, drawn, obj, noise=evaluation.noise, rng=rng)
            changed = np.asarray(medium) != np.asarray(after)
            if world.modality == "image":
                pieces = changed.any(-1).reshape(6, 12, 6, 12).any((1, 3)).flatten()
                assert tuple(np.flatnonzero(pieces).tolist()) == world.region(drawn, obj)
                continue
            span, region = drawn.event_of(obj).span, world.region(drawn, obj)
            changed[span.start : span.start + 160] = changed[span.stop - 160 : span.stop] = True
            pieces = np.flatnonzero(changed.reshape(40, 1600).any(1))
            assert tuple(range(pieces.min(), pieces.max() + 1)) == region


def test_answers_and_groundings_against_one_row_at_a_time(each_world, each_untrained, evaluation):
    model, processor = each_untrained
    asked, probed = evaluation.open_questions[:10], evaluation.probes[:8]

    def logits(medium, text):
        inputs = each_world.batch(processor, [medium], [text])
        return model(**inputs).logits[0, -1].double().detach()

    for question, answer in zip(asked, open_answers(model, processor, evaluation, asked), strict=True):
        row = logits(evaluation.media[question.scene], question.prompt)
        ids = processor.tokenizer.convert_tokens_to_ids(list(question.choices))
        assert answer == max(zip(row[ids].tolist(), question.choices, strict=True))[1]
    found = groundings(model, processor, evaluation, probed)
    for probe, value in zip(probed, found, strict=True):
        word = processor.tokenizer.convert_tokens_to_ids(probe.word)
        there, erased = (
            logits(media[probe.scene], probe.prompt).log_softmax(-1)[word].item()
            for media in (evaluation.media, evaluation.erased)
        )
        assert value == pytest.approx(there - erased, abs=1e-4)


def test_detailed_captions_answer_another_request(each_world, each_untrained):
    model, processor = each_untrained
    seen = []

    class Spy:
        def __call__(self, input_ids, scores):
            seen.append(processor.tokenizer.decode(input_ids[0]))
            return scores

    few = each_world.evaluation_set(seed=2, scenes=1)
    generate_captions(model, processor, few, detailed=True, max_new_tokens=1, logits_processor=[Spy()])
    assert "in two sentences" in seen[0]
