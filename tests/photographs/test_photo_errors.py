from argparse import ArgumentParser

import numpy as np
import pytest
import torch

from benchmarks.photographs import errors
from benchmarks.photographs.errors import (
    NEITHER,
    PICTURE,
    TESTED,
    TEXT,
    UNTESTED,
    Word,
    groups,
    renamed,
    summary,
    words,
)
from benchmarks.photographs.measured import FEWEST, bounded_or_few, counted
from benchmarks.photographs.premises import Premise, premise_groups, premises
from lime_xai.storage.store import read_json


def caption_of(language, named):
    return language.caption_text(named) + " </s>"


def effects(scene=0, picture=0.0, text=0.0, others=(0.0, 0.0), invented=True, eraser_named=False, first=False):
    return Word(scene, "dog", invented, picture, text, first, "cow", eraser_named, *others)


@pytest.mark.parametrize(
    ("picture", "text", "others", "cause"),
    [
        (2.0, 1.0, (0.1, 0.1), PICTURE),
        (2.0, 1.0, (1.6, 0.1), TEXT),
        (0.1, 1.0, (0.1, 0.1), TEXT),
        (2.0, 2.0, (1.6, 1.7), NEITHER),
        (-3.0, 0.0, (0.1, 0.1), NEITHER),
        (2.0, None, (0.1, None), UNTESTED),
        (2.0, 1.0, (None, None), UNTESTED),
    ],
)
def test_the_cause_is_the_greater_effect_beyond_that_on_other_words(picture, text, others, cause):
    assert effects(picture=picture, text=text, others=others).cause == cause


def test_effects_are_falls_of_the_words_log_probability(world, evaluation, model_and_processor, monkeypatch):
    model, processor = model_and_processor
    scene, medium = evaluation.scenes[0], evaluation.media[0]
    absent = scene.absent[3]
    captions = [caption_of(world.language, [scene.present[0], absent])]
    captions += [caption_of(world.language, one.present) for one in evaluation.scenes[1:]]
    found, *true = words(model, processor, evaluation, captions)
    assert (found.scene, found.word, found.invented) == (0, world.language.classes[absent], True)
    assert [(one.scene, one.invented) for one in true] == [(0, False), (1, False), (2, False)]

    def score(picture, begun, word=absent):
        inputs = world.batch(processor, [picture], [evaluation.caption_prompt + begun])
        with torch.no_grad():
            likely = model(**inputs).logits[0, -1].double().log_softmax(-1)
        return float(likely[world.name_tokens(processor)[word]])

    begun = world.language.caption_begun([scene.present[0]], absent)
    rng = np.random.default_rng(0)
    falls = {
        world.language.classes[one]: score(medium, begun)
        - score(world.erase(medium, scene, one, noise=0.0, rng=rng), begun)
        for one in scene.present
    }
    assert found.picture == pytest.approx(max(falls.values()), abs=1e-4)
    assert found.eraser == max(falls, key=falls.get)
    replaced = [
        score(medium, begun) - score(medium, world.language.caption_begun([one], absent)) for one in scene.present[1:]
    ]
    assert any(found.text == pytest.approx(fall, abs=1e-4) for fall in replaced)
    language = world.language
    others = [one for one in scene.absent if one != absent and language.article_of(one) == language.article_of(absent)]
    pictures = [world.erase(medium, scene, one, noise=0.0, rng=rng) for one in scene.present]
    falls_of_others = [
        score(medium, begun, word) - min(score(picture, begun, word) for picture in pictures) for word in others[:6]
    ]
    few = np.mean(falls_of_others)
    monkeypatch.setattr(type(scene), "absent", (absent, *others[:6]))
    again, *_ = words(model, processor, evaluation, captions)
    assert again.others_picture == pytest.approx(few, abs=1e-4)
    assert again.picture == found.picture


def test_a_true_name_is_tested_without_the_other_objects(world, evaluation, model_and_processor):
    model, processor = model_and_processor
    captions = [caption_of(world.language, scene.present) for scene in evaluation.scenes]
    found = words(model, processor, evaluation, captions)
    assert [one.invented for one in found] == [False] * 3
    for one, scene, medium in zip(found, evaluation.scenes, evaluation.media, strict=True):
        last, language = scene.present[-1], world.language
        assert one.word == language.classes[last]
        assert one.eraser in {language.classes[obj] for obj in scene.present[:-1]}
        assert one.eraser_named
        begun = evaluation.caption_prompt + language.caption_begun(scene.present[:-1], last)
        rng = np.random.default_rng(0)
        media = [medium, *(world.erase(medium, scene, obj, noise=0.0, rng=rng) for obj in scene.present[:-1])]
        inputs = world.batch(processor, media, [begun] * len(media))
        with torch.no_grad():
            likely = model(**inputs).logits[:, -1].double().log_softmax(-1)[:, world.name_tokens(processor)[last]]
        assert one.picture == pytest.approx(float((likely[0] - likely[1:]).max()), abs=1e-4)


def test_captions_without_a_name_have_no_words(evaluation, model_and_processor):
    assert words(*model_and_processor, evaluation, ["There is nothing </s>"] * 3) == []


@pytest.mark.parametrize(
    ("text", "name", "begun"),
    [
        ("There is a carrot and a car", "car", "There is a carrot and a"),
        ("There is a Dog, a cow", "dog", "There is a"),
        ("There is a dog-fish and a dog </s>", "dog", "There is a dog-fish and a"),
    ],
)
def test_names_are_found_where_they_are_words(text, name, begun):
    assert errors._place(text, name) == len(begun)


@pytest.mark.parametrize("text", ["Dog and a cow", "There is a cow,dog"])
def test_an_answer_without_a_space_before_a_name_is_named(text):
    with pytest.raises(ValueError, match="has no space before the name 'dog'"):
        errors._place(text, "dog")


@pytest.mark.parametrize(
    ("begun", "name", "expected"),
    [
        ("There is a balloon, a ball and a", "ball", "There is a balloon, an elephant and a"),
        ("There is a elephant and a", "elephant", "There is an elephant and a"),
        ("There is a bear, a bear", "bear", "There is an elephant, an elephant"),
        ("There is a toy car and a", "car", None),
    ],
)
def test_a_name_is_replaced_where_it_is_a_word_whatever_its_article(begun, name, expected):
    assert renamed(begun, name, "elephant") == expected


def test_where_every_object_has_been_named_the_text_is_not_tested(world, evaluation, model_and_processor):
    first = evaluation.scenes[0]
    captions = [caption_of(world.language, [*first.present, first.absent[0]])]
    captions += [caption_of(world.language, [one.absent[0]]) for one in evaluation.scenes[1:]]
    found = [one for one in words(*model_and_processor, evaluation, captions) if one.invented]
    assert [one.text for one in found] == [None, 0.0, 0.0]
    assert [one.others_text for one in found] == [None, 0.0, 0.0]
    assert found[0].cause == UNTESTED
    shares = {name: value for name, (value, _, _) in summary(found, [], 3).items()}
    assert shares[f"inventions, {UNTESTED}"] == pytest.approx(1 / 3)
    assert [one.first for one in found] == [False, True, True]
    assert np.isnan(shares["effect of the text, nats: invented words"])  # no name came before, or it was not tested


def test_a_premise_is_false_where_its_object_is_erased(world, evaluation, model_and_processor, monkeypatch):
    asked, shown = [], []
    plain = type(world).batch

    def batch(self, processor, media, texts):
        asked.extend(texts)
        shown.extend(media)
        return plain(self, processor, media, texts)

    monkeypatch.setattr(type(world), "batch", batch)
    found = premises(*model_and_processor, evaluation)
    assert [one.true for one in found] == [True, False] * len(evaluation.scenes)
    assert [one.scene for one in found] == [0, 0, 1, 1, 2, 2]
    assert asked[::2] == asked[1::2]
    language = world.language
    for one, text, medium in zip(found, asked, shown, strict=True):
        scene = evaluation.scenes[one.scene]
        assert language.premise(language.classes.index(one.word)) in text
        assert language.classes.index(one.word) in scene.present
        assert (medium is evaluation.media[one.scene]) is one.true
        without = world.erase(
            evaluation.media[one.scene],
            scene,
            language.classes.index(one.word),
            noise=evaluation.noise,
            rng=np.random.default_rng(0),
        )
        assert one.true or np.array_equal(np.asarray(medium), np.asarray(without))


def test_what_a_premise_names_counts_as_invented_where_it_is_erased(world, evaluation):
    from benchmarks.photographs.premises import _premise

    language, scene = world.language, evaluation.scenes[0]
    lone = next(obj for obj in scene.present if language.partner(obj) not in scene.present)
    partner, other = language.partner(lone), next(obj for obj in scene.present if obj != lone)
    text = f" a {', a '.join(language.classes[obj] for obj in (lone, partner, other))}"
    one = _premise(evaluation, 0, True, lone, text)
    assert (one.right, one.invented, one.again, one.partner) == (1, 1, True, True)
    false = _premise(evaluation, 0, False, lone, text)
    assert (false.right, false.invented, false.again, false.partner) == (1, 2, True, True)
    silent = _premise(evaluation, 0, True, lone, " nothing")
    assert (silent.again, silent.partner) == (False, False)


def test_means_are_those_of_what_was_counted():
    made = [
        effects(0, 2.0, 0.0, (0.5, 0.0)),
        effects(1, 0.0, 2.0, (0.3, 0.2), eraser_named=True),
        effects(1, others=(None, None)),
        effects(1, 0.5, 0.1, (0.25, 0.1), invented=False),
        effects(0, 0.0, 3.0, (1.0, 0.5), invented=False),
        effects(0, 0.0, None, (1.0, None), invented=False),
        effects(1, 4.0, 0.0, (0.5, 0.0), first=True),
    ]
    said = [
        Premise(0, True, "dog", "", 4, 1, True, None),
        Premise(0, False, "dog", "", 2, 2, False, None),
        Premise(1, True, "dog", "", 0, 0, True, False),
        Premise(1, False, "dog", "", 2, 1, True, True),
    ]
    found = {name: value for name, (value, _, _) in summary(made, said, 2).items()}
    assert found[f"{TESTED} by {PICTURE}"] == pytest.approx(2 / 3)
    assert found[f"{TESTED} by {TEXT}"] == pytest.approx(1 / 3)
    assert found[f"{TESTED} by {NEITHER}"] == 0
    assert found[f"inventions, {UNTESTED}"] == pytest.approx(1 / 4)
    assert found[f"{TESTED} by the picture: the caption does not name the object that raises them"] == 1
    assert found["effect of the text, nats: invented words"] == pytest.approx(2 / 3)
    assert found["effect of the picture, nats: other words there"] == pytest.approx((0.5 + 0.3 + 0.5) / 3)
    assert found["effect of the picture, nats: invented minus other words"] == pytest.approx((1.5 - 0.3 + 3.5) / 3)
    assert found["effect of the picture, nats: true names minus other words there"] == pytest.approx((0.25 - 2) / 3)
    assert found["effect of the text, nats: invented words minus true names"] == pytest.approx(2 / 3 - 3.1 / 2)
    assert found["objects invented, true premise"] == pytest.approx(1 / 2)
    assert found["objects invented, false premise"] == pytest.approx(3 / 2)
    assert found["objects named rightly, false minus true premise"] == 0
    assert found["answers with the partner, false minus true premise"] == 1
    assert found["answers that name the premise's object again, false premise"] == 1 / 2
    text = "the text takes half a nat beyond other words:"
    assert found[f"{text} inventions behind a name"] == 1 / 2
    assert found[f"{text} true names behind a name"] == 1 / 2
    assert found[f"{text} inventions behind a name minus true names"] == 0
    title = "effect of the picture minus that of the text, nats: inventions behind a name"
    assert found[title] == 0
    assert found[f"{title}, less the same on other words"] == pytest.approx((1.5 - 2.1) / 2)
    counts = counted(groups(made) | premise_groups(said))
    assert counts[title] == (2, 2)
    assert counts["effect of the text, nats: invented words"] == (3, 2)
    assert counts["effect of the picture, nats: true names"] == (3, 2)
    assert counts["effect of the text, nats: true names"] == (2, 2)
    assert counts["answers with the partner, true premise"] == (1, 1)


def test_a_mean_of_few_scenes_has_no_interval():
    assert bounded_or_few((0.5, 0.25, 0.75), FEWEST) == "0.500 [0.250, 0.750]"
    assert bounded_or_few((0.5, 0.25, 0.75), None) == "0.500 [0.250, 0.750]"
    assert bounded_or_few((0.5, 0.25, 0.75), FEWEST - 1) == "0.500"
    assert bounded_or_few((None, None, None), 0) == "-"


def options(tmp_path, name="report.json"):
    parser = ArgumentParser()
    errors.add_arguments(parser)
    return parser.parse_args(["some", "--scenes", "3", "--json", str(tmp_path / name)])


def test_a_report_that_cannot_be_written_is_refused_before_the_parts_are_opened(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        errors.run(options(tmp_path, "nowhere/report.json"))


def test_a_report_without_words_is_json(monkeypatch, tmp_path, world, evaluation, model_and_processor):
    silent = ["There is nothing </s>"] * len(evaluation.scenes)
    monkeypatch.setattr(errors, "open_measured", lambda _: (*model_and_processor, evaluation))
    monkeypatch.setattr(errors, "generate_captions", lambda *_: silent)
    errors.run(options(tmp_path))
    report = read_json(tmp_path / "report.json")  # it refuses NaN
    assert report["summary"][f"{TESTED} by {PICTURE}"] == [None, None, None]
    assert report["counts"][f"{TESTED} by {PICTURE}"] == [0, 0]
    assert report["words"] == []
