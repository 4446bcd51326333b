from argparse import ArgumentParser

import numpy as np
import pytest
import torch

from benchmarks.photographs import errors
from benchmarks.photographs.errors import (
    NEITHER,
    PICTURE,
    TEXT,
    UNTESTED,
    Invention,
    Premise,
    inventions,
    premises,
    renamed,
    summary,
)
from lime_xai.storage.store import read_json


def caption_of(language, named):
    return language.caption_text(named) + " </s>"


@pytest.mark.parametrize(
    ("picture", "text", "cause"),
    [(2.0, 1.0, PICTURE), (0.1, 1.0, TEXT), (0.4, 0.4, NEITHER), (-3.0, 0.0, NEITHER), (2.0, None, UNTESTED)],
)
def test_the_cause_is_the_greater_effect_if_it_is_large_enough(picture, text, cause):
    assert Invention(0, "dog", picture, text, "cat", 0.1, 0.1).cause == cause


def test_effects_are_falls_of_the_words_log_probability(world, evaluation, model_and_processor, monkeypatch):
    model, processor = model_and_processor
    scene, medium = evaluation.scenes[0], evaluation.media[0]
    absent = scene.absent[3]
    captions = [caption_of(world.language, [scene.present[0], absent])]
    captions += [caption_of(world.language, one.present) for one in evaluation.scenes[1:]]
    (found,) = inventions(model, processor, evaluation, captions)
    assert (found.scene, found.word) == (0, world.language.classes[absent])

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
    (again,) = inventions(model, processor, evaluation, captions)
    assert again.others_picture == pytest.approx(few, abs=1e-4)
    assert again.picture == found.picture


def test_a_true_caption_has_no_inventions(world, evaluation, model_and_processor):
    captions = [caption_of(world.language, scene.present) for scene in evaluation.scenes]
    assert inventions(*model_and_processor, evaluation, captions) == []


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


def test_an_answer_that_begins_with_a_name_is_named():
    with pytest.raises(ValueError, match="begins with the name 'dog'"):
        errors._place("Dog and a cow", "dog")


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
    found = inventions(*model_and_processor, evaluation, captions)
    assert [one.text for one in found] == [None, 0.0, 0.0]
    assert [one.others_text for one in found] == [None, 0.0, 0.0]
    assert found[0].cause == UNTESTED
    shares = {name: value for name, (value, _, _) in summary(found, [], 3).items()}
    assert shares[f"inventions, {UNTESTED}"] == pytest.approx(1 / 3)
    assert shares["effect of the text, nats"] == 0


def test_there_is_a_true_and_a_false_premise_per_scene(world, evaluation, model_and_processor, monkeypatch):
    asked = []
    plain = type(world).batch

    def batch(self, processor, media, texts):
        asked.extend(texts)
        return plain(self, processor, media, texts)

    monkeypatch.setattr(type(world), "batch", batch)
    found = premises(*model_and_processor, evaluation)
    assert [one.true for one in found] == [True, False] * len(evaluation.scenes)
    assert [one.scene for one in found] == [0, 0, 1, 1, 2, 2]
    for one, text in zip(found, asked, strict=True):
        (name,) = world.language.mentions(text.partition("Next to the ")[2].partition(",")[0])
        assert (name in evaluation.scenes[one.scene].present) is one.true
        assert 0 <= one.invented <= one.named


def test_shares_are_those_of_what_was_counted():
    made = [
        Invention(0, "dog", 2.0, 0.0, "cow", 0.5, 0.0),
        Invention(1, "dog", 0.0, 2.0, "cow", 0.3, 0.2),
        Invention(1, "pig", 0, 0, "cow", None, None),
    ]
    said = [Premise(0, True, 4, 1), Premise(0, False, 2, 2), Premise(1, True, 0, 0), Premise(1, False, 2, 1)]
    found = {name: value for name, (value, _, _) in summary(made, said, 2).items()}
    assert found[f"inventions by {PICTURE}"] == pytest.approx(1 / 3)
    assert found[f"inventions by {NEITHER}"] == pytest.approx(1 / 3)
    assert found["effect of the text, nats"] == pytest.approx(2 / 3)
    assert found["effect of the picture on other words there, nats"] == pytest.approx(0.4)
    assert found["invented after a true premise"] == pytest.approx(1 / 4)
    assert found["invented after a false premise"] == pytest.approx(3 / 4)
    assert found["invented: false minus true premise"] == pytest.approx(1 / 2)


def options(tmp_path, name="report.json"):
    parser = ArgumentParser()
    errors.add_arguments(parser)
    return parser.parse_args(["some", "--scenes", "3", "--json", str(tmp_path / name)])


def test_a_report_that_cannot_be_written_is_refused_before_the_parts_are_opened(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        errors.run(options(tmp_path, "nowhere/report.json"))


def test_a_report_without_inventions_is_json(monkeypatch, tmp_path, world, evaluation, model_and_processor):
    true = [caption_of(world.language, scene.present) for scene in evaluation.scenes]
    monkeypatch.setattr(errors, "open_measured", lambda _: (*model_and_processor, evaluation))
    monkeypatch.setattr(errors, "generate_captions", lambda *_: true)
    errors.run(options(tmp_path))
    report = read_json(tmp_path / "report.json")  # it refuses NaN
    assert report["summary"][f"inventions by {PICTURE}"] == [None, None, None]
    assert report["inventions"] == []
