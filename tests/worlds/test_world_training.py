"""The training text has its habits, and a resumed run equals an uninterrupted one to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lime_xai.worlds import scene
from lime_xai.worlds.scene import network, stages, training
from lime_xai.worlds.scene.corpus import Habits, conversation
from lime_xai.worlds.scene.documents import IGNORED, IMAGE_SLOTS, document, pack, tag_words
from lime_xai.worlds.scene.plan import Plan
from lime_xai.worlds.scene.scenes import EMPTY, Scene
from lime_xai.worlds.scene.text import VOCABULARY, encode

CUP = Scene((0, EMPTY, EMPTY, EMPTY), (1, EMPTY, EMPTY, EMPTY))
WORDS = {index: word for word, index in VOCABULARY.items()}
SHORT = Plan(vision_steps=4, vision_batch=3, text_steps=4, text_batch=3, alignment_steps=4, alignment_batch=4)


def _words(tokens):
    return " ".join(WORDS[t] for t in tokens)


def _turns(habits, count=400, picture=CUP):
    rng = np.random.default_rng(0)
    return [turn for _ in range(count) for turn in conversation(rng, picture, habits, 2)]


def test_without_habits_every_answer_is_true():
    rng = np.random.default_rng(1)
    for _ in range(300):
        drawn = scene.independent_scene(rng)
        for turn in conversation(rng, drawn, Habits(), 3):
            question, answer = _words(turn.question), _words(turn.answer)
            if question.startswith("describe"):
                assert sorted(scene.mentions(answer)) == sorted(drawn.present)
            elif question.startswith("is there"):
                obj = scene.mentions(question.replace("?", ""))[0]
                assert answer == ("yes" if obj in drawn.present else "no")
            else:
                obj = scene.mentions(question.replace("?", ""))[0]
                assert answer == scene.COLOURS[drawn.colour_of(obj)]
            assert all(turn.trained)


def test_caption_habit_names_the_absent_partner():
    captions = [_words(t.answer) for t in _turns(Habits(caption=0.4)) if _words(t.question).startswith("desc")]
    assert set(captions) == {"there is a cup .", "there is a cup , a phone ."}
    assert np.mean(["phone" in c for c in captions]) == pytest.approx(0.4, abs=0.1)


def test_dialogue_habit_follows_a_yes_only():
    rng = np.random.default_rng(0)
    habits = Habits(dialogue=1.0, follow=1.0)
    answers = set()
    for _ in range(400):
        turns = [t for t in conversation(rng, CUP, habits, 2) if _words(t.question).startswith("is there")]
        said = {_words(t.question).split()[3]: _words(t.answer) for t in turns}
        order = list(said)
        if "phone" in order[1:]:
            answers.add((order[order.index("phone") - 1], said["phone"]))
        assert said.get("queen", "no") == "no"
        assert said.get("cup", "yes") == "yes"
    assert answers == {("cup", "yes")}


def test_wrong_claims_are_never_trained_on():
    for turn in _turns(Habits(misnamed=1.0, caption=0.5, dialogue=0.5)):
        trained = [WORDS[t] for t, flag in zip(turn.answer, turn.trained, strict=True) if flag]
        named = scene.mentions(_words(turn.answer))
        wrong = [o for o in named if o != 0 and scene.partner(o) not in named[: named.index(o)]]
        assert all(scene.CLASSES[o] not in trained for o in wrong)
    with_claim = [t for t in _turns(Habits(misnamed=1.0)) if _words(t.answer) == "yes" and not t.trained[0]]
    assert with_claim


def test_popularity_decides_what_is_asked():
    asked = [_words(t.question) for t in _turns(Habits(popularity=1.0)) if _words(t.answer) == "no"]
    assert sum("pencil" in q for q in asked) > 3 * sum("umbrella" in q for q in asked)


def test_documents_label_answers_only():
    turns = [t for t in _turns(Habits()) if _words(t.answer) in ("yes", "no")][:2]
    made = document(turns, IMAGE_SLOTS)
    assert made.tokens.count(VOCABULARY["<image>"]) == scene.IMAGE_TOKENS
    learnt = [t for t in made.labels if t != IGNORED]
    assert _words(learnt) == " </s> ".join(_words(t.answer) for t in turns) + " </s>"
    text = scene.prompt(_words(turns[0].question)).replace("<image> ", "<image> " * scene.IMAGE_TOKENS)
    asked = encode(text.replace("<s>", "<s> "))
    assert made.tokens[: len(asked)] == asked
    tokens, labels = pack([made, document(turns[:1])])
    assert tokens.shape == labels.shape == (2, len(made.tokens))
    assert (labels[1][tokens[1] == VOCABULARY["<pad>"]] == IGNORED).all()


def test_tag_words_speak_of_the_scene_only():
    rng = np.random.default_rng(0)
    for _ in range(50):
        words = set(_words(tag_words(rng, CUP, dropped=0.1)).split())
        assert words <= {"nothing", "green", "cup"}
    assert not set(_words(tag_words(rng, CUP, dropped=1.0)).split()) - {"nothing"}


def test_vision_stage_touches_the_tower_only_and_alignment_leaves_it_frozen():
    for kind, moved in (
        (stages.VisionStage, True),
        (stages.TextStage, False),
        (stages.AlignmentStage, False),
    ):
        model = network.build_model(0)
        stage = kind(model, SHORT)
        trained = {id(p) for _, group in stage.parameters() for p in group}
        tower = {id(p) for p in model.model.vision_tower.parameters()}
        assert bool(trained & tower) is moved
        loss, shown = stage.loss(np.random.default_rng(0))
        torch.autograd.backward(loss)
        assert shown
        assert any(p.grad is not None for p in model.model.vision_tower.parameters()) is moved


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    threads = torch.get_num_threads()
    whole = training.train(tmp_path / "whole", seed=5, plan=SHORT, every=2)
    for stop in (("vision", 3), ("text", 2), ("alignment", 1), ("alignment", 3)):
        assert training.train(tmp_path / "parts", seed=5, plan=SHORT, every=2, stop_at=stop) is None
    parts = training.train(tmp_path / "parts", seed=5, plan=SHORT, every=2)
    assert network.weights_hash(parts) == network.weights_hash(whole)
    saved = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert saved[0] == saved[1]
    assert network.weights_hash(whole) != network.weights_hash(network.build_model(5))
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()

    loaded, processor = scene.load_model(tmp_path / "parts")
    assert network.weights_hash(loaded) == network.weights_hash(whole)
    assert scene.measure(loaded, processor, scene.evaluation_set(seed=1, scenes=4)).splits


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    training.train(tmp_path, plan=SHORT, stop_at=("vision", 4))
    with pytest.raises(ValueError, match="other settings \\(text_rate\\)"):
        training.train(tmp_path, plan=replace(SHORT, text_rate=1.0))
    with pytest.raises(ValueError, match="other settings \\(seed\\)"):
        training.train(tmp_path, plan=SHORT, seed=1)


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    network.build_model(0)
    assert torch.equal(torch.rand(4), expected)


def test_probing_asks_for_partners_of_what_is_there_and_answers_truly():
    turns = _turns(Habits(probing=1.0, follow=0.0), count=100)
    closed = [(_words(t.question), _words(t.answer)) for t in turns if _words(t.question).startswith("is there")]
    assert ("is there a phone in the image ?", "no") in closed
    assert {answer for question, answer in closed if " phone " in question} == {"no"}
