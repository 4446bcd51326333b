"""Second sentences, open questions and probes of grounding."""

import numpy as np
import pytest

from lime_xai.worlds import scene
from lime_xai.worlds.scene import probes
from lime_xai.worlds.scene.details import holds
from lime_xai.worlds.scene.objects import HABITUAL_COLOUR, HABITUAL_SIDE, NUMBERS
from lime_xai.worlds.scene.scenes import EMPTY, Scene

SCENE = Scene((0, 4, EMPTY, EMPTY), (0, 1, EMPTY, EMPTY))


@pytest.fixture(scope="module")
def evaluation():
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
    assert scene.second_sentence(caption) == claim


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
    assert holds(SCENE, obj, said) is true


def test_detail_values_by_hand():
    captions = [
        "there is a cup . the cup is red . </s>",
        "there is a cup . the cup is green . </s>",
        "there is a cup , a phone . the phone is red . </s>",
        "there is a cup . </s>",
    ]
    counts = scene.detail_counts(captions, [SCENE] * 4)
    found = scene.detail_values(counts.sum(0))
    assert found["two_sentences"] == 0.75
    assert found["true"] == pytest.approx(1 / 3)
    assert found["absent"] == pytest.approx(1 / 3)
    assert np.isnan(scene.detail_values(counts[3])["true"])


@pytest.mark.parametrize("kind", probes.OPEN_KINDS)
def test_open_questions_are_answered_truly(evaluation, kind):
    asked = [q for q in evaluation.open_questions if q.kind == kind]
    assert [q.scene for q in asked] == list(range(60))
    for q in asked:
        drawn = evaluation.scenes[q.scene]
        assert q.answer in probes.CHOICES[kind]
        if kind == "count":
            assert (q.answer, q.habitual) == (NUMBERS[len(drawn.present) - 1], None)
            continue
        obj = next(o for o in drawn.present if f" {scene.CLASSES[o]} " in q.prompt)
        if kind == "colour":
            assert (q.answer, q.habitual) == (scene.COLOURS[drawn.colour_of(obj)], HABITUAL_COLOUR[obj])
        else:
            assert (q.answer, q.habitual) == (scene.SIDES[drawn.side_of(obj)], scene.SIDES[HABITUAL_SIDE[obj]])


def test_erased_pictures_lack_the_object_of_the_probes_and_nothing_else(evaluation):
    for probe in (p for p in evaluation.probes if p.kind == "name"):
        drawn, obj = evaluation.scenes[probe.scene], scene.class_index(probe.word)
        before, after = (np.asarray(i[probe.scene]) for i in (evaluation.images, evaluation.erased))
        row, column = divmod(drawn.cell_of(obj), 2)
        changed = (before != after).any(-1)
        cell = np.zeros_like(changed)
        cell[36 * row : 36 * row + 36, 36 * column : 36 * column + 36] = True
        assert changed[cell].mean() > 0.5
        assert not changed[~cell].any()


@pytest.mark.parametrize("kind", probes.PROBE_KINDS)
def test_probes_of_a_scene_are_true_and_about_one_object(evaluation, kind):
    probed = [p for p in evaluation.probes if p.kind == kind]
    assert [p.scene for p in probed] == list(range(60))
    named = {p.scene: scene.class_index(p.word) for p in evaluation.probes if p.kind == "name"}
    for p in probed:
        drawn, obj = evaluation.scenes[p.scene], named[p.scene]
        said = scene.mentions(p.prompt.replace("?", " ").replace("assistant:", " "))
        if kind == "name":
            assert obj in drawn.present
            assert set(said) == set(drawn.present) - {obj, scene.partner(obj)}
            assert p.prompt.endswith((" a", " an"))
        else:
            assert said == (obj,)
            true = {
                "yes": "yes",
                "colour": scene.COLOURS[drawn.colour_of(obj)],
                "side": scene.SIDES[drawn.side_of(obj)],
            }
            assert p.word == true[kind]


def test_answers_and_groundings_against_one_row_at_a_time(untrained, evaluation):
    model, processor = untrained
    asked, probed = evaluation.open_questions[:7], evaluation.probes[:8]

    def logits(image, text):
        inputs = processor(images=[image], text=[text], return_tensors="pt")
        return model(**inputs).logits[0, -1].double().detach()

    for question, answer in zip(asked, scene.open_answers(model, processor, evaluation, asked), strict=True):
        row = logits(evaluation.images[question.scene], question.prompt)
        words = probes.CHOICES[question.kind]
        ids = processor.tokenizer.convert_tokens_to_ids(list(words))
        assert answer == max(zip(row[ids].tolist(), words, strict=True))[1]
    found = scene.groundings(model, processor, evaluation, probed)
    for probe, value in zip(probed, found, strict=True):
        word = processor.tokenizer.convert_tokens_to_ids(probe.word)
        there, erased = (
            logits(images[probe.scene], probe.prompt).log_softmax(-1)[word].item()
            for images in (evaluation.images, evaluation.erased)
        )
        assert value == pytest.approx(there - erased, abs=1e-4)


def test_detailed_captions_answer_another_request(untrained, evaluation):
    model, processor = untrained
    seen = []

    class Spy:
        def __call__(self, input_ids, scores):
            seen.append(processor.tokenizer.decode(input_ids[0]))
            return scores

    few = scene.evaluation_set(seed=2, scenes=1)
    scene.generate_captions(model, processor, few, detailed=True, max_new_tokens=1, logits_processor=[Spy()])
    assert "in two sentences" in seen[0]
