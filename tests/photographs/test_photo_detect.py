"""Detection of invented objects, and the questions that attribution methods are compared on, with a tiny model."""

import json

import pytest
from support.photo_models import tiny_words

import lime_xai
from benchmarks import grounding
from lime_xai.evaluation.attributions import world as of_worlds


def said(model, world, evaluation, monkeypatch):
    """Make ``explain`` explain captions that name a present, an absent, and the same present object."""
    plain = lime_xai.explain
    processor = tiny_words()[1]
    texts = []
    for scene in evaluation.scenes:
        names = [world.language.classes[obj] for obj in (scene.present[0], scene.absent[0], scene.present[0])]
        texts.append(f" {names[0]}, {names[1]} {names[2]}")

    def explain(model, inputs, **settings):
        ids = processor.tokenizer(texts[len(made)], add_special_tokens=False)["input_ids"]
        made.append(plain(model, inputs, processor=processor, answer=ids))
        return made[-1]

    made = []
    monkeypatch.setattr(lime_xai, "explain", explain)
    return processor, made


def test_each_object_is_one_case_with_the_numbers_of_its_first_word(world, evaluation, monkeypatch):
    model, _ = tiny_words()
    processor, made = said(model, world, evaluation, monkeypatch)
    found = grounding.mentions(model, processor, evaluation)
    assert [(one.scene, one.invented, one.order) for one in found] == [
        (index, invented, order) for index in range(3) for order, invented in enumerate((False, True))
    ]
    for one in found:
        words = [word for word in made[one.scene].words if world.language.mentions(word.text)]
        word = words[one.order]
        assert one.word == word.text.strip(" ,")
        assert (one.grounding, one.probability, one.entropy) == (word.grounding, word.probability, word.entropy)
        assert one.share == word.shares["image"]


def test_the_report_says_what_was_measured(world, evaluation, monkeypatch, tmp_path, capsys):
    model, _ = tiny_words()
    processor, _ = said(model, world, evaluation, monkeypatch)
    grounding.measure(model, processor, evaluation, tmp_path / "found.json")
    data = json.loads((tmp_path / "found.json").read_text())
    assert (data["about"]["world"], data["about"]["mentions"], data["about"]["invented"]) == ("photographs", 6, 3)
    assert data["auroc"]["a late place"]["value"] == 1.0
    assert "| a late place | 1.000" in capsys.readouterr().out


def test_captions_without_inventions_give_no_area(world, evaluation, monkeypatch, tmp_path):
    monkeypatch.setattr(
        grounding, "mentions", lambda *given: [grounding.Mention(0, "dog", False, 1.0, 1.0, 1.0, 0.5, 0)]
    )
    with pytest.raises(ValueError, match="0 of 1 named objects are invented"):
        grounding.measure(None, None, evaluation, tmp_path / "found.json")
    assert not (tmp_path / "found.json").exists()


def test_questions_of_any_world_are_asked_with_its_own_words(world, monkeypatch):
    monkeypatch.setattr(of_worlds, "load_world", {world.name: world}.__getitem__)
    monkeypatch.setattr(world, "region", lambda scene, obj: (0, scene.index_of(obj) + 1))
    processor = tiny_words()[1]
    examples = of_worlds.world_examples(processor, 4, 3, world.name)
    language = world.language
    for example, question in zip(examples, examples.questions, strict=True):
        assert example.target == tuple(world.answer_tokens(processor, (language.yes, language.no)))
        shown = (example.inputs["input_ids"][0] == processor.image_token_id).nonzero()[:, 0]
        region = world.region(examples.evaluation.scenes[question.scene], question.obj)
        assert example.truth.nonzero()[:, 0].tolist() == shown[list(region)].tolist()
