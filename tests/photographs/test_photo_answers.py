from argparse import ArgumentParser

import numpy as np
import pytest
import torch

from benchmarks.photographs import answers as module
from benchmarks.photographs.answers import Answer, Effects, answers, asked_once, causes, summary
from benchmarks.photographs.errors import NEITHER, PICTURE, TEXT
from lime_xai.storage.store import read_json
from lime_xai.worlds.shared.causes import caption_causes, dialogue_causes
from lime_xai.worlds.shared.evaluation import SPLITS


def answer(margin, picture=0.0, text=0.0, *, scene=0, present=False, dialogue=False, partner=False):
    effects = Effects(picture, "fish", partner, 1.5 if present else None, text)
    return Answer(scene, "dog", present, dialogue, margin, effects)


@pytest.fixture(scope="module")
def made(evaluation, model_and_processor):
    return answers(*model_and_processor, evaluation)


def test_every_closed_question_is_asked_once(evaluation, made):
    asked = {(q.scene, q.obj, q.context) for split in SPLITS for q in evaluation.split(split)}
    questions = asked_once(evaluation)
    assert len(questions) == len(asked) == len(made)
    assert {(q.scene, q.obj, q.context) for q in questions} == asked
    assert sum(one.dialogue for one in made) == len(evaluation.split("dialogue"))
    wrong = [one for one in made if one.yes is not one.present]
    tested = {(one.scene, one.dialogue, one.present) for one in made if one.yes is one.present and one.effects}
    right = {(one.scene, one.dialogue, one.present) for one in made if one.yes is one.present}
    assert wrong
    assert all(one.effects for one in wrong)
    assert tested == right
    assert sum(one.effects is not None for one in made) == len(wrong) + len(right)


def test_effects_are_falls_of_the_margin(world, evaluation, model_and_processor, made):
    model, processor = model_and_processor
    language, rng = world.language, np.random.default_rng(0)
    yes, no = world.answer_tokens(processor, [language.yes, language.no])

    def margin(picture, prompt):
        with torch.no_grad():
            logits = model(**world.batch(processor, [picture], [prompt])).logits[0, -1].double()
        return float(logits[yes] - logits[no])

    grey = world.nothing(evaluation.media[0])
    plain = [margin(grey, world.prompt(language.exists_question(obj))) for obj in range(len(language.classes))]
    for one, question in zip(made, asked_once(evaluation), strict=True):
        scene, medium = evaluation.scenes[question.scene], evaluation.media[question.scene]
        there = margin(medium, question.prompt)
        falls = {
            obj: there - margin(world.erase(medium, scene, obj, noise=0.0, rng=rng), question.prompt)
            for obj in scene.present
        }
        assert (one.word, one.present) == (language.classes[question.obj], question.label)
        assert one.margin == pytest.approx(there, abs=1e-4)
        if one.effects is None:
            continue
        own, effects = falls.pop(question.obj, None), one.effects
        assert (effects.own is None) is (not question.label)
        assert own is None or effects.own == pytest.approx(own, abs=1e-4)
        assert effects.picture == pytest.approx(max(falls.values()), abs=1e-4)
        assert effects.eraser == language.classes[max(falls, key=falls.get)]
        assert effects.partner is (language.partner(question.obj) == language.classes.index(effects.eraser))
        assert effects.text == pytest.approx(margin(grey, question.prompt) - np.mean(plain), abs=1e-4)


def test_the_cause_of_a_wrong_yes_is_the_greater_effect_beyond_that_on_right_answers():
    right = [answer(-1.0, 0.4, -0.2), answer(-2.0, 0.6, -0.2), answer(-1.0, 9.0, 9.0, dialogue=True)]
    wrong = [answer(1.0, 2.0, 0.0), answer(1.0, 0.5, 1.0), answer(1.0, 0.9, 0.2), answer(1.0, 9.0, 9.6, dialogue=True)]
    said = [answer(1.0, 9.0, present=True), answer(-1.0, 9.0, present=True)]
    found = causes([*right, *wrong, *said])
    assert [one for one, _, _ in found] == wrong
    assert [cause for _, _, cause in found] == [PICTURE, TEXT, NEITHER, TEXT]
    assert all(effects is one.effects for one, effects, _ in found)


def test_means_are_those_of_each_kind_of_answer():
    made = [
        answer(1.0, 3.0, scene=0, partner=True),
        answer(-1.0, 1.0, 0.5, scene=0),
        answer(-1.0, 0.0, 0.1, scene=1),
        answer(2.0, 0.5, 0.2, scene=1, present=True),
        answer(-2.0, 0.1, scene=1, present=True),
        answer(1.0, 4.0, 2.0, scene=1, dialogue=True),
    ]
    found = {name: value for name, (value, _, _) in summary(made, 2).items()}
    assert found["questions: wrong yes, absent objects"] == pytest.approx(1 / 3)
    assert found["questions: wrong no, present objects"] == pytest.approx(1 / 2)
    assert found["questions: wrong yes by the picture"] == 1
    assert found["questions: wrong yes by the picture: the object that raises it is the partner"] == 1
    assert found["questions: effect of the picture, nats: wrong yes minus right no"] == pytest.approx(2.5)
    assert found["questions: effect of the picture, nats: wrong yes minus right yes"] == pytest.approx(2.5)
    assert found["questions: effect of the text, nats: right no"] == pytest.approx(0.3)
    assert found["questions: what its own pixels add, nats: wrong no"] == 1.5
    made.append(Answer(0, "dog", False, False, -1.0, None))
    again = {name: value for name, (value, _, _) in summary(made, 2).items()}
    assert again["questions: wrong yes, absent objects"] == pytest.approx(1 / 4)
    assert again["questions: effect of the text, nats: right no"] == pytest.approx(0.3)
    assert found["dialogues: wrong yes by the picture"] == 1
    assert np.isnan(found["dialogues: effect of the text, nats: right no"])


def test_a_report_holds_every_answer_and_the_main_effects(
    tmp_path, world, evaluation, model_and_processor, monkeypatch, capsys
):
    model, processor = model_and_processor
    monkeypatch.setattr(module, "open_measured", lambda arguments: (model, processor, evaluation))
    parser = ArgumentParser()
    module.add_arguments(parser)
    report = tmp_path / "answers.json"
    module.run(parser.parse_args(["seed0", "--scenes", "3", "--json", str(report)]))
    found = read_json(report)
    assert len(found["answers"]) == len(asked_once(evaluation))
    assert f"of {len(found['answers'])} closed answers about 3 pictures" in " ".join(capsys.readouterr().out.split())
    margins = dialogue_causes(model, processor, evaluation)
    text = (margins.margins[:, :2].sum(1) - margins.margins[:, 2:].sum(1)) / 2
    mean = found["summary"]["dialogue, margin of yes: main effect of the text, nats"][0]
    assert mean == pytest.approx(text.mean(), abs=1e-6)
    chances = np.log(caption_causes(model, processor, evaluation).chances)
    picture = (chances[:, 0] + chances[:, 2] - chances[:, 1] - chances[:, 3]) / 2
    mean = found["summary"]["captions, log P(partner): main effect of the picture, nats"][0]
    assert mean == pytest.approx(picture.mean(), abs=1e-6)
