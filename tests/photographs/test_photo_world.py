from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.photo_cutouts import drawn_catalogue
from support.photo_models import drawn_world, tiny_words

from benchmarks.photographs import world as of_photographs
from benchmarks.photographs.criteria import CRITERIA
from benchmarks.photographs.scenes import DIFFICULTIES, masks, render
from benchmarks.photographs.world import PhotographWorld
from lime_xai import Contrast, attribute, read_prompt, worlds
from lime_xai.evaluation.policies.acceptance import acceptance
from lime_xai.evaluation.policies.reliance import caption_relevance
from lime_xai.evaluation.policies.rows import read_rows
from lime_xai.evaluation.policies.world import measure_policies
from lime_xai.storage.store import write_json
from lime_xai.worlds.shared.criteria import UNTAUGHT
from lime_xai.worlds.shared.measuring import generate_captions


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return drawn_world(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model_and_processor():
    return tiny_words()


@pytest.fixture(scope="module")
def evaluation(world):
    return world.evaluation_set(seed=3, scenes=6)


def test_prompts_are_what_the_chat_template_writes(world, model_and_processor, evaluation):
    processor = model_and_processor[1]
    questions = [evaluation.split("dialogue")[0], evaluation.split("random")[0]]
    assert questions[0].context is not None
    for question in questions:
        assert question.prompt == processor.apply_chat_template(question.messages, add_generation_prompt=True)


def test_adversarial_questions_are_about_partners(world, evaluation):
    language = world.language
    for question in evaluation.split("adversarial"):
        if not question.label:
            assert language.partner(question.obj) in evaluation.scenes[question.scene].present


def test_names_and_answers_are_the_tokens_that_the_model_would_say(world, model_and_processor):
    processor = model_and_processor[1]
    names = world.name_tokens(processor)
    caption = world.language.caption_text([0, 3, 7])
    said = [token for token in world.caption_tokens(processor, f"{caption} </s>") if token in names]
    assert said == [names[0], names[3], names[7]]
    assert processor.tokenizer.decode(world.answer_tokens(processor, ["Yes"])) == "Yes"
    assert world.unknown_names(processor) == []
    with pytest.raises(ValueError, match="splits"):
        world.answer_tokens(processor, ["Perhaps"])


def test_relevance_of_true_names_is_that_of_the_whole_caption(world, model_and_processor, evaluation, monkeypatch):
    model, processor = model_and_processor
    monkeypatch.setattr(type(world), "region", lambda *_: (0, 3))  # this tiny model has fewer image tokens
    first, second = evaluation.scenes[:2]
    captions = [
        f"{world.language.caption_text(first.present)} </s>",
        f"{world.language.caption_text([second.absent[0], second.present[0], second.present[0]])} It is here. </s>",
        *["There is nothing </s>"] * 4,
    ]
    found = caption_relevance(model, processor, evaluation, captions)["share"]
    names, wanted = world.name_tokens(processor), []
    for scene, medium, caption in zip((first, second), evaluation.media, captions, strict=False):
        prompt = read_prompt(model, world.batch(processor, [medium], [evaluation.caption_prompt]))
        ids = world.caption_tokens(processor, caption)
        rows = attribute(model, prompt, torch.tensor([ids])).relevance[0]
        places = prompt.positions.perceptual[0].nonzero()[:, 0]
        true = [row for row, token in zip(rows, ids, strict=True) if token in [names[obj] for obj in scene.present]]
        wanted += [float(row[places].abs().sum() / row.abs().sum()) for row in true]
    assert len(wanted) == len(first.present) + 2
    np.testing.assert_allclose(found.values, wanted, rtol=2e-3)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_erasing_changes_what_the_object_covered_and_nothing_else(world, noise):
    evaluation = world.evaluation_set(seed=8, scenes=4, noise=noise)
    rng = np.random.default_rng(0)
    for scene, medium in zip(evaluation.scenes, evaluation.media, strict=True):
        for index, obj in enumerate(scene.present):
            without = np.asarray(world.erase(medium, scene, obj, noise=noise, rng=rng), float)
            moved = (without != np.asarray(medium, float)).any(-1)
            left, top, right, bottom = scene.boxes[index]
            outside = moved.copy()
            outside[top:bottom, left:right] = False
            assert not outside.any()
            shown = masks(scene, world.stamps)[index]
            assert moved[shown].mean() > 0.9
        bare = np.asarray(world.emptied(medium, scene, noise=noise, rng=rng), float)
        assert (bare != np.asarray(medium, float)).any()


def test_the_background_of_a_picture_holds_no_object(world, evaluation):
    from benchmarks.photographs.placed import emptied

    for scene, medium in zip(evaluation.scenes, evaluation.media, strict=True):
        found = np.asarray(evaluation.background(medium))
        assert np.array_equal(found, np.asarray(render(emptied(scene), world.stamps)))


def test_questions_have_answers_only_where_something_is_known(world, evaluation):
    for question in evaluation.open_questions:
        assert question.answer in question.choices
    tinted = [any(scene.value_of("colour", obj) is not None for obj in scene.present) for scene in evaluation.scenes]
    asked = {question.scene for question in evaluation.open_questions if question.kind == "colour"}
    assert asked <= {index for index, some in enumerate(tinted) if some}
    assert {question.kind for question in evaluation.open_questions} <= set(world.open_kinds)


def test_captions_end_where_the_model_ended_them(world, model_and_processor, evaluation):
    processor = model_and_processor[1]
    end = processor.tokenizer.eos_token_id
    said = processor.tokenizer("There is a dog.")["input_ids"]
    texts = world.captions(processor, [[*said, end, end], said])
    assert texts == ["There is a dog. </s>", "There is a dog."]
    captions = generate_captions(*model_and_processor, evaluation, max_new_tokens=4)
    assert len(captions) == len(evaluation.scenes)


def test_policies_and_acceptance_are_measured_as_on_any_world(world, model_and_processor, evaluation, monkeypatch):
    from lime_xai.worlds.shared import measuring

    monkeypatch.setattr(measuring, "CAPTION_TOKENS", 5)
    monkeypatch.setattr(measuring, "DETAIL_TOKENS", 2)
    model, processor = model_and_processor
    report = measure_policies(world, model, processor, {"contrast": Contrast()}, seed=3, scenes=6)
    row = report.policies["contrast"]
    assert set(row["open"]) == set(world.open_kinds)
    assert set(row["grounding"]) == set(world.probe_kinds)
    assert 0 <= row["splits"]["random"]["auc"] <= 1
    rows = acceptance(model, processor, evaluation, UNTAUGHT, resamples=20)
    assert [one.measure for one in rows] == [criterion.measure for criterion in CRITERIA]
    assert {one.measure for one in rows if one.criterion} == {
        "random accuracy", "CHAIR_i", "F1", "finished captions"
    }  # fmt: skip


@pytest.mark.parametrize(("difficulty", "name"), [("moderate", "photographs"), ("hard", "photographs-hard")])
def test_pictures_of_another_difficulty_are_a_world_of_another_name(monkeypatch, tmp_path, difficulty, name):
    """Reports resume from one of the same world, and easy and moderate pictures have the same noise."""
    monkeypatch.setitem(worlds._WORLDS, name, None)  # the end of the test takes it away again
    monkeypatch.setattr(of_photographs, "found", lambda folder: SimpleNamespace(stamps=folder))
    monkeypatch.setattr(of_photographs, "catalogue", lambda folder: drawn_catalogue())
    opened = of_photographs.open_world(tmp_path, difficulty)
    assert opened.name == name
    assert worlds.load_world(name) is opened
    assert opened.difficulty == DIFFICULTIES[difficulty]
    assert PhotographWorld.name == "photographs"


def test_a_report_of_another_difficulty_is_refused(world, tmp_path):
    path = tmp_path / "report.json"
    easy = drawn_world(tmp_path)
    easy.name = "photographs-easy"
    measured = {"model": "tiny", "weights": "0", "seed": 3, "scenes": 6, "noise": 0.0, "policies": {}}
    write_json(path, {"world": easy.name, **measured})
    with pytest.raises(ValueError, match="'world': 'photographs-easy'"):
        read_rows(path, {"world": world.name, **measured}, [])
