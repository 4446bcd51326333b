from argparse import ArgumentParser
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.photographs import answers as module
from benchmarks.photographs.answers import OTHERS, Answer, Effects, answers, asked_once, groups
from benchmarks.photographs.errors import NEITHER, PICTURE, TEXT
from benchmarks.photographs.measured import means
from lime_xai.storage.store import read_json
from lime_xai.worlds.shared.causes import DialogueCauses, caption_causes, dialogue_causes
from lime_xai.worlds.shared.evaluation import SPLITS


def effects(picture=0.0, text=0.0, others=0.0, own=None, partner=None, candidates=2):
    return Effects(picture, others, "fish", candidates, partner, own, text)


def answer(margin, found=None, *, scene=0, present=False, dialogue=False):
    return Answer(scene, "dog", present, dialogue, margin, found)


@pytest.fixture(scope="module")
def shifted(evaluation, model_and_processor):
    """Margins less their median, so that both answers occur; and what is asked."""
    model, processor = model_and_processor
    plain = module.answer_margins
    questions = asked_once(evaluation)
    media, prompts = [evaluation.media[q.scene] for q in questions], [q.prompt for q in questions]
    middle = float(np.median(plain(model, processor, evaluation.world, media, prompts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "answer_margins", lambda *given: plain(*given) - middle)
        yield middle, answers(model, processor, evaluation)


def test_every_closed_question_is_asked_once(evaluation, shifted):
    _, made = shifted
    asked = {(q.scene, q.obj, q.context) for split in SPLITS for q in evaluation.split(split)}
    questions = asked_once(evaluation)
    assert len(questions) == len(asked) == len(made)
    assert {(q.scene, q.obj, q.context) for q in questions} == asked
    assert sum(one.dialogue for one in made) == len(evaluation.split("dialogue"))
    assert {(one.yes, one.present) for one in made} == {
        (yes, there) for yes in (True, False) for there in (True, False)
    }


def test_all_wrong_answers_are_tested_and_two_right_ones_per_scene(shifted):
    _, made = shifted
    wrong = [one for one in made if one.yes is not one.present]
    right = {(one.scene, one.present) for one in made if one.yes is one.present}
    tested = [(one.scene, one.present) for one in made if one.yes is one.present and one.effects]
    assert all(one.effects for one in wrong)
    assert sorted(tested) == sorted(right)


def test_effects_are_falls_of_the_margin(world, evaluation, model_and_processor, shifted):
    model, processor = model_and_processor
    middle, made = shifted
    language, rng = world.language, np.random.default_rng(0)
    yes, no = world.answer_tokens(processor, [language.yes, language.no])

    def margin(picture, prompt):
        with torch.no_grad():
            logits = model(**world.batch(processor, [picture], [prompt])).logits[0, -1].double()
        return float(logits[yes] - logits[no])

    def falls_of(question):
        scene, medium = evaluation.scenes[question.scene], evaluation.media[question.scene]
        there = margin(medium, question.prompt)
        return {
            obj: there - margin(world.erase(medium, scene, obj, noise=0.0, rng=rng), question.prompt)
            for obj in scene.present
        }

    grey = world.nothing(evaluation.media[0])
    plain = [margin(grey, world.prompt(language.exists_question(obj))) for obj in range(len(language.classes))]
    for one, question in zip(made, asked_once(evaluation), strict=True):
        scene = evaluation.scenes[question.scene]
        assert (one.word, one.present) == (language.classes[question.obj], question.label)
        assert one.margin == pytest.approx(margin(evaluation.media[question.scene], question.prompt) - middle, abs=1e-4)
        if one.effects is None:
            continue
        falls, found = falls_of(question), one.effects
        own, partner = falls.pop(question.obj, None), language.partner(question.obj)
        assert (found.own is None) is (not question.label)
        assert own is None or found.own == pytest.approx(own, abs=1e-4)
        assert found.picture == pytest.approx(max(falls.values()), abs=1e-4)
        assert found.eraser == language.classes[max(falls, key=falls.get)]
        assert found.candidates == len(falls)
        assert found.partner is ((language.classes[partner] == found.eraser) if partner in scene.present else None)
        assert found.text == pytest.approx(margin(grey, question.prompt) - np.mean(plain), abs=1e-4)


def test_other_classes_are_asked_about_in_the_same_picture_after_the_same_turn(
    world, evaluation, model_and_processor, monkeypatch
):
    model, processor = model_and_processor
    question = next(q for q in evaluation.split("dialogue") if not q.label)
    scene, asked = evaluation.scenes[question.scene], []

    def margins(model, processor, world, media, prompts):
        asked.extend(prompts)
        return np.arange(len(prompts), dtype=float) ** 2

    monkeypatch.setattr(module, "answer_margins", margins)
    found = module._effects(model, processor, evaluation, question, 0.25, np.random.default_rng(1))
    others = {replace(question, obj=obj).prompt for obj in scene.absent if obj != question.obj}
    size = 1 + len(scene.present)
    assert asked[:size] == [question.prompt] * size
    for place in range(OTHERS):
        (other,) = set(asked[size * (place + 1) : size * (place + 2)])
        assert other in others
    assert len(set(asked)) == 1 + OTHERS
    rows = (np.arange(len(asked), dtype=float) ** 2).reshape(1 + OTHERS, size)
    expected = (rows[1:, :1] - rows[1:, 1:]).max(1).mean()
    assert (found.others_picture, found.text) == (pytest.approx(expected), 0.25)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (effects(2.0, 1.0, 0.5), PICTURE),
        (effects(2.0, 1.0, 1.5), TEXT),
        (effects(2.0, 0.4, 1.6), NEITHER),
        (effects(-1.0, -3.0, -2.0), PICTURE),
        (effects(0.0, 0.6, 0.0), TEXT),
    ],
)
def test_the_cause_is_the_greater_effect_beyond_that_on_other_classes(found, cause):
    assert found.cause == cause


def test_means_are_those_of_each_kind_of_answer():
    made = [
        answer(1.0, effects(3.0, 0.2, 0.5, partner=True), scene=0),
        answer(1.0, effects(1.0, 2.0, 0.5, candidates=4), scene=1),
        answer(1.0, effects(2.0, 0.1, 0.5, partner=False, candidates=4), scene=1),
        answer(1.0, effects(1.0, 0.1, 0.9), scene=1),
        answer(-1.0, effects(0.9, 0.1, 0.2), scene=0),
        answer(-1.0, effects(0.1, 0.3, 0.2), scene=1),
        answer(-1.0, scene=1),
        answer(2.0, effects(0.3, -0.2, own=4.0), scene=1, present=True),
        answer(-2.0, effects(0.7, -0.6, own=1.5), scene=1, present=True),
        answer(1.0, effects(4.0, 2.0), scene=1, dialogue=True),
    ]
    found = {name: value for name, (value, _, _) in means(groups(made), 2).items()}
    expected = {
        "wrong yes, absent objects": 4 / 7,
        "wrong no, present objects": 1 / 2,
        "wrong yes by the picture": 1 / 2,
        "wrong yes by the text": 1 / 4,
        "wrong yes by neither": 1 / 4,
        "right no, the same rule: by the picture": 1 / 2,
        "right no, the same rule: by the text": 0,
        "right no, the same rule: by neither": 1 / 2,
        "wrong yes by the picture, the partner is there: its pixels raise it most": 1 / 2,
        "wrong yes by the picture, the partner is there: by chance": (1 / 2 + 1 / 4) / 2,
        "effect of the picture less that on other classes, nats: wrong yes": (7 - 2.4) / 4,
        "effect of the picture less that on other classes, nats: right yes": 0.3,
        "effect of the picture less that on other classes, nats: right no": (0.7 - 0.1) / 2,
        "effect of the text, nats: wrong no": -0.6,
        "what its own pixels add, nats: right yes": 4.0,
        "what its own pixels add, nats: wrong no": 1.5,
    }
    assert {name: found[f"questions: {name}"] for name in expected} == pytest.approx(expected)
    assert found["dialogues: wrong yes by the picture"] == 1
    assert np.isnan(found["dialogues: effect of the text, nats: right no"])


def test_a_report_holds_every_answer_and_the_main_effects(
    tmp_path, world, evaluation, model_and_processor, monkeypatch, capsys
):
    model, processor = model_and_processor
    monkeypatch.setattr(module, "open_measured", lambda arguments: (model, processor, evaluation))
    real = dialogue_causes(model, processor, evaluation)
    margins = real.margins - np.median(real.margins[:, 0])  # so that some answers are yes and some no
    monkeypatch.setattr(module, "dialogue_causes", lambda *given: DialogueCauses(real.scenes, margins, real.blind))
    parser = ArgumentParser()
    module.add_arguments(parser)
    report = tmp_path / "answers.json"
    module.run(parser.parse_args(["seed0", "--scenes", "3", "--json", str(report)]))
    found = read_json(report)
    assert len(found["answers"]) == len(asked_once(evaluation))
    assert f"of {len(found['answers'])} closed answers about 3 pictures" in " ".join(capsys.readouterr().out.split())
    values = {name: value for name, (value, _, _) in found["summary"].items()}
    text = (margins[:, :2].sum(1) - margins[:, 2:].sum(1)) / 2
    assert values["dialogues, margin: main effect of the text, nats"] == pytest.approx(text.mean(), abs=1e-6)
    yes = margins[:, 0] > 0
    assert 0 < yes.sum() < len(yes)
    wrong = text[yes].mean()
    title = "dialogues, margin of wrong answers: main effect of the text, nats"
    assert values[title] == pytest.approx(wrong, abs=1e-6)
    assert found["counts"][title] == [yes.sum(), len(set(real.scenes[yes]))]
    chances = np.log(caption_causes(model, processor, evaluation).chances)
    picture = (chances[:, 0] + chances[:, 2] - chances[:, 1] - chances[:, 3]) / 2
    title = "captions, log P(partner): main effect of the picture, nats"
    assert values[title] == pytest.approx(picture.mean(), abs=1e-6)
