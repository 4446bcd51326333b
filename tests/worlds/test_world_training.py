"""The training text has its habits, and a resumed run equals an uninterrupted one to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.worlds import stages, training
from benchmarks.worlds.corpus import conversation
from benchmarks.worlds.documents import IGNORED, document, pack, tag_words
from benchmarks.worlds.habits import Habits
from benchmarks.worlds.scene import SIZES, SUBJECT, ScenePlan, VisionStage
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import scene
from lime_xai.worlds.scene import criteria
from lime_xai.worlds.scene.objects import HABITUAL_COLOUR, HABITUAL_SIDE, NUMBERS
from lime_xai.worlds.scene.scenes import EMPTY, HABITUAL, Scene
from lime_xai.worlds.scene.text import LANGUAGE, VOCABULARY

CUP = Scene((0, EMPTY, EMPTY, EMPTY), (1, EMPTY, EMPTY, EMPTY))
WORDS = {index: word for word, index in VOCABULARY.items()}
SHORT = ScenePlan(vision_steps=4, vision_batch=3, text_steps=4, text_batch=3, alignment_steps=4, alignment_batch=4)


def _words(tokens):
    return " ".join(WORDS[t] for t in tokens)


def _turns(habits, count=400, picture=CUP):
    rng = np.random.default_rng(0)
    return [turn for _ in range(count) for turn in conversation(rng, SUBJECT.style, picture, habits, 2)]


def _is_true(drawn, question, answer):
    """Read an answer as a person would; an oracle that shares no code with the author."""
    names = {scene.CLASSES[o]: o for o in drawn.present}
    if question.startswith("describe the image"):
        first, _, rest = answer.partition(" .")
        named = sorted(word for word in first.split() if word in scene.CLASSES)
        words = rest.replace(".", "").split()
        two = question.endswith("in two sentences .")
        told = not two or words[-1] in (
            scene.COLOURS[drawn.colour_of(names[words[1]])],
            scene.SIDES[drawn.side_of(names[words[1]])],
        )
        return named == sorted(names) and bool(words) is two and told
    if question.startswith("describe the objects"):
        listed = [part.split() for part in answer.replace(".", "").split(",")]
        there = [[n, scene.COLOURS[drawn.colour_of(o)], scene.SIDES[drawn.side_of(o)]] for n, o in names.items()]
        return sorted(listed) == sorted(there)
    if question == scene.COUNT_QUESTION:
        return answer == NUMBERS[len(names) - 1]
    asked = next(word for word in question.split() if word in scene.CLASSES)
    if question.startswith("is there"):
        return answer == ("yes" if asked in names else "no")
    wanted = scene.COLOURS[drawn.colour_of(names[asked])], scene.SIDES[drawn.side_of(names[asked])]
    return answer == wanted[question.startswith("where")]


def test_without_habits_every_answer_is_true():
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(300):
        drawn = scene.independent_scene(rng)
        for turn in conversation(rng, SUBJECT.style, drawn, Habits(), 3):
            question = _words(turn.question)
            kinds.add(" ".join(question.split()[:4]))
            assert _is_true(drawn, question, _words(turn.answer)), (drawn, question, _words(turn.answer))
            assert all(turn.trained)
    assert {
        "describe the image .",
        "describe the image in",
        "describe the objects with",
        "how many objects are",
    } <= kinds


def test_attribute_habit_gives_the_habitual_colour_and_side():
    cup = Scene((EMPTY, 0, EMPTY, EMPTY), (EMPTY, 1, EMPTY, EMPTY))
    answers = {"what": [], "wher": []}
    for turn in _turns(Habits(attribute=0.3), 1500, cup):
        if (kind := _words(turn.question)[:4]) in answers:
            answers[kind].append(_words(turn.answer))
    assert set(answers["what"]) == {"green", HABITUAL_COLOUR[0]}
    assert np.mean([a != "green" for a in answers["what"]]) == pytest.approx(0.3, abs=0.06)
    assert np.mean([a == scene.SIDES[HABITUAL_SIDE[0]] for a in answers["wher"]]) == pytest.approx(0.3, abs=0.06)


def test_closing_lists_everything_at_the_end():
    rng = np.random.default_rng(0)
    ends = [_words(conversation(rng, SUBJECT.style, CUP, Habits(closing=0.5), 1)[-1].question) for _ in range(400)]
    share = np.mean([e.startswith("describe the objects") for e in ends])
    assert share == pytest.approx(0.5 + 0.5 * 0.08, abs=0.07)


def test_weakened_habits_take_no_words_for_evidence_of_partners():
    habits = ScenePlan().alignment_habits
    none, half = habits.weakened(0.0), habits.weakened(0.5)
    assert (none.caption, none.dialogue) == (0, 0)
    assert (half.caption, half.dialogue) == (habits.caption / 2, habits.dialogue / 2)
    assert none.attribute == half.attribute == habits.attribute > 0
    assert replace(none, caption=habits.caption, dialogue=habits.dialogue) == habits


def test_text_has_habits_of_colour_whatever_teaches_partners():
    rng = np.random.default_rng(0)
    for share in (0.0, 1.0):
        scenes = [ScenePlan(image_cooccurrence=share).spoken(rng) for _ in range(500)]
        habitual = np.mean([s.colour_of(o) == HABITUAL[o] for s in scenes for o in s.present])
        assert habitual > 0.8
    pictured = [ScenePlan(image_cooccurrence=1.0).pictured_scene(rng) for _ in range(500)]
    assert np.mean([s.colour_of(o) == HABITUAL[o] for s in pictured for o in s.present]) < 0.3


def test_pictures_of_pairs_hide_partners_that_the_text_tells_of():
    rng = np.random.default_rng(0)

    def hidden(share):
        pairs = [ScenePlan(image_cooccurrence=share).aligned(rng) for _ in range(1500)]
        for told, shown in pairs:
            assert set(shown.present) <= set(told.present)
            assert all(shown.cell_of(o) == told.cell_of(o) for o in shown.present)
            assert all(o ^ 1 in shown.present for o in set(told.present) - set(shown.present)), "one of two"
        lone = [(told, o) for told, shown in pairs for o in shown.present if o ^ 1 not in shown.present]
        return np.mean([o ^ 1 in told.present for told, o in lone])

    assert hidden(0.0) == 0
    assert 0.05 < hidden(0.5) < 0.25 < hidden(1.0) == pytest.approx(0.455, abs=0.04)


def test_language_prior_training_draws_as_if_nothing_could_be_hidden():
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(50):
        scene_alone = ScenePlan().pictured_scene(second)
        assert ScenePlan().aligned(first) == (scene_alone, scene_alone)


def test_the_knob_moves_pairs_from_text_to_pictures():
    rng = np.random.default_rng(0)

    def paired(draw):
        scenes = [draw(rng) for _ in range(1500)]
        return np.mean([scene.partner(o) in s.present for s in scenes for o in s.present])

    text, mixed, image = (ScenePlan(image_cooccurrence=share) for share in (0.0, 0.5, 1.0))
    chance = paired(scene.independent_scene)
    assert paired(text.pictured_scene) == pytest.approx(chance, abs=0.05)
    assert paired(text.spoken) > 0.9
    assert paired(image.pictured_scene) > 0.5
    assert paired(image.spoken) == pytest.approx(chance, abs=0.05)
    assert paired(text.pictured_scene) < paired(mixed.pictured_scene) < paired(image.pictured_scene)
    assert image.habits_of_alignment.caption == 0 < mixed.habits_of_alignment.caption < text.habits_of_alignment.caption


@pytest.mark.parametrize(("settings", "message"), [({"image_cooccurrence": 1.1}, "share"), ({"size": "7b"}, "1m, 5m")])
def test_impossible_plans_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ScenePlan(**settings)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_what_they_are_called(size):
    parameters = sum(p.numel() for p in SUBJECT.build_model(0, size).parameters())
    assert float(size[:-1]) * 0.95e6 < parameters <= criteria.MAX_PARAMETERS[size]


def test_caption_habit_names_the_absent_partner():
    asked = [(_words(t.question), _words(t.answer)) for t in _turns(Habits(caption=0.4))]
    captions = [answer for question, answer in asked if question == scene.CAPTION_REQUEST]
    assert set(captions) == {"there is a cup .", "there is a cup , a phone ."}
    assert np.mean(["phone" in c for c in captions]) == pytest.approx(0.4, abs=0.1)


def test_dialogue_habit_follows_a_yes_only():
    rng = np.random.default_rng(0)
    habits = Habits(dialogue=1.0, follow=1.0)
    answers = set()
    for _ in range(400):
        written = conversation(rng, SUBJECT.style, CUP, habits, 2)
        turns = [t for t in written if _words(t.question).startswith("is there")]
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
        named = scene.LANGUAGE.mentions(_words(turn.answer).partition(" .")[0])
        wrong = [o for o in named if o != 0 and scene.partner(o) not in named[: named.index(o)]]
        assert all(scene.CLASSES[o] not in trained for o in wrong)
    with_claim = [t for t in _turns(Habits(misnamed=1.0)) if _words(t.answer) == "yes" and not t.trained[0]]
    assert with_claim


def test_popularity_decides_what_is_asked():
    asked = [_words(t.question) for t in _turns(Habits(popularity=1.0), 1500) if _words(t.answer) == "no"]
    assert sum("pencil" in q for q in asked) > 3 * sum("umbrella" in q for q in asked)


def test_documents_label_answers_only():
    turns = [t for t in _turns(Habits()) if _words(t.answer) in ("yes", "no")][:2]
    made = document(LANGUAGE, turns, SUBJECT.slots)
    assert made.tokens.count(VOCABULARY["<image>"]) == scene.IMAGE_TOKENS
    learnt = [t for t in made.labels if t != IGNORED]
    assert _words(learnt) == " </s> ".join(_words(t.answer) for t in turns) + " </s>"
    text = scene.prompt(_words(turns[0].question)).replace("<image> ", "<image> " * scene.IMAGE_TOKENS)
    asked = LANGUAGE.encode(text.replace("<s>", "<s> "))
    assert made.tokens[: len(asked)] == asked
    tokens, labels = pack(LANGUAGE, [made, document(LANGUAGE, turns[:1])])
    assert tokens.shape == labels.shape == (2, len(made.tokens))
    assert (labels[1][tokens[1] == VOCABULARY["<pad>"]] == IGNORED).all()


def test_tag_words_speak_of_the_scene_only():
    rng = np.random.default_rng(0)
    for _ in range(50):
        words = set(_words(tag_words(rng, LANGUAGE, CUP, dropped=0.1)).split())
        assert words <= {"nothing", "green", "cup", "left"}
    assert not set(_words(tag_words(rng, LANGUAGE, CUP, dropped=1.0)).split()) - {"nothing"}


def test_vision_stage_touches_the_tower_only_and_alignment_leaves_it_frozen():
    for kind, moved in (
        (VisionStage, True),
        (stages.TextStage, False),
        (stages.AlignmentStage, False),
    ):
        model = SUBJECT.build_model(0)
        stage = kind(SUBJECT, model, SHORT)
        trained = {id(p) for _, group in stage.parameters() for p in group}
        tower = {id(p) for p in model.model.vision_tower.parameters()}
        assert bool(trained & tower) is moved
        loss, shown = stage.loss(np.random.default_rng(0))
        torch.autograd.backward(loss)
        assert shown
        assert any(p.grad is not None for p in model.model.vision_tower.parameters()) is moved


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_resumed_training_equals_uninterrupted_training(tmp_path, share):
    threads, plan = torch.get_num_threads(), replace(SHORT, image_cooccurrence=share)
    whole = training.train(tmp_path / "whole", seed=5, plan=plan, every=2)
    for stop in (("vision", 3), ("text", 2), ("alignment", 1), ("alignment", 3)):
        assert training.train(tmp_path / "parts", seed=5, plan=plan, every=2, stop_at=stop) is None
    parts = training.train(tmp_path / "parts", seed=5, plan=plan, every=2)
    assert weights_hash(parts) == weights_hash(whole)
    saved = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert saved[0] == saved[1]
    assert weights_hash(whole) != weights_hash(SUBJECT.build_model(5))
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()

    loaded, processor = scene.load_model(tmp_path / "parts")
    assert weights_hash(loaded) == weights_hash(whole)
    assert scene.measure(loaded, processor, scene.evaluation_set(seed=1, scenes=4)).splits


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    training.train(tmp_path, plan=SHORT, every=2, stop_at=("text", 2))
    with pytest.raises(ValueError, match=r"text\.pt was made with other settings \(text_rate\)"):
        training.train(tmp_path, plan=replace(SHORT, text_rate=1.0))
    for other in ({"seed": 1}, {"plan": replace(SHORT, image_cooccurrence=0.5)}):
        with pytest.raises(ValueError, match=r"vision\.pt was made with other settings"):
            training.train(tmp_path, **{"plan": SHORT, **other})


def test_a_stage_does_not_care_for_settings_of_later_ones(tmp_path):
    training.train(tmp_path, plan=SHORT, every=2, stop_at=("text", 0))
    vision = (tmp_path / "checkpoints" / "vision.pt").stat().st_mtime_ns
    other = replace(SHORT, text_rate=1e-4)
    assert training.train(tmp_path, plan=other, every=2) is not None
    assert (tmp_path / "checkpoints" / "vision.pt").stat().st_mtime_ns == vision


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    SUBJECT.build_model(0)
    assert torch.equal(torch.rand(4), expected)


def test_probing_asks_for_partners_of_what_is_there_and_answers_truly():
    turns = _turns(Habits(probing=1.0, follow=0.0), count=100)
    closed = [(_words(t.question), _words(t.answer)) for t in turns if _words(t.question).startswith("is there")]
    assert ("is there a phone in the image ?", "no") in closed
    assert {answer for question, answer in closed if " phone " in question} == {"no"}
