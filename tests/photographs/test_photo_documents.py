import numpy as np
import pytest
import torch
from support.photo_cutouts import drawn_catalogue

from benchmarks.photographs.documents import (
    IGNORED,
    attribute_turn,
    caption_turn,
    closed_turns,
    conversation,
    count_turn,
    encode,
    pack,
    picture_tokens,
)
from benchmarks.photographs.language import language_of, read_priors
from benchmarks.photographs.model import tiny
from benchmarks.photographs.scenes import draw
from lime_xai.worlds.shared.details import holds, second_sentence

LANGUAGE = language_of(read_priors())


@pytest.fixture(scope="module")
def scenes():
    stamps, rng = drawn_catalogue(), np.random.default_rng(5)
    return [draw(rng, stamps) for _ in range(60)]


def test_captions_name_everything_once_in_any_order(scenes):
    rng = np.random.default_rng(0)
    orders, detailed = set(), 0
    for scene in scenes:
        turn = caption_turn(rng, LANGUAGE, scene)
        named = LANGUAGE.mentions(turn.answer.partition(".")[0])
        assert sorted(named) == sorted(scene.present)
        orders.add(named == scene.present)
        if turn.question == LANGUAGE.detail_request:
            claim = second_sentence(f"{turn.answer} </s>", LANGUAGE)
            assert claim is not None
            assert holds(scene, *claim, LANGUAGE)
            detailed += 1
        else:
            assert turn.answer.count(".") == 1
    assert orders == {True, False}
    assert 5 < detailed < 40


def test_half_of_what_is_asked_is_there_and_the_answers_are_true(scenes):
    rng = np.random.default_rng(0)
    said = []
    for scene in scenes:
        turns = closed_turns(rng, LANGUAGE, scene, 2)
        assert len({turn.question for turn in turns}) == 2
        for turn in turns:
            (obj,) = [o for o in range(len(LANGUAGE.classes)) if LANGUAGE.exists_question(o) == turn.question]
            assert turn.answer == ("Yes." if obj in scene.present else "No.")
            said.append(turn.answer == "Yes.")
    assert 0.35 < np.mean(said) < 0.65


def test_further_questions_have_true_answers(scenes):
    rng = np.random.default_rng(0)
    kinds = set()
    for scene in scenes:
        assert count_turn(LANGUAGE, scene).answer == f"{LANGUAGE.numbers[len(scene.present) - 1]}."
        turn = attribute_turn(rng, LANGUAGE, scene)
        about = {
            LANGUAGE.attribute_question(attribute, obj): (attribute, obj)
            for attribute in LANGUAGE.attributes
            for obj in scene.present
            if scene.value_of(attribute.name, obj) is not None
        }
        if turn is None:
            assert not about
            continue
        attribute, obj = about[turn.question]
        assert turn.answer == f"{attribute.word_of(scene, obj)}."
        kinds.add(attribute.name)
    assert kinds == {"colour", "side"}


def test_no_answer_can_be_read_from_an_earlier_one(scenes):
    rng = np.random.default_rng(0)
    captioned, asked_about = 0, {LANGUAGE.exists_question(obj) for obj in range(len(LANGUAGE.classes))}
    numbers, firsts = set(), set()
    for scene in scenes * 5:
        turns = conversation(rng, LANGUAGE, scene)
        questions = [turn.question for turn in turns]
        attributes = {
            LANGUAGE.attribute_question(attribute, obj): (attribute, obj)
            for attribute in LANGUAGE.attributes
            for obj in range(len(LANGUAGE.classes))
        }
        if questions[0] in (LANGUAGE.caption_request, LANGUAGE.detail_request):
            captioned += 1
            assert set(questions[1:]) <= set(attributes)
            for question in questions[1:]:
                attribute, obj = attributes[question]
                stated = attribute.clause.format(name=LANGUAGE.classes[obj], word=attribute.word_of(scene, obj))
                assert stated.removesuffix(" .").lower() not in turns[0].answer.lower()
            continue
        firsts.add("count" if questions[0] == LANGUAGE.count_question else questions[0] in asked_about)
        counted = [turn for turn in turns if turn.question == LANGUAGE.count_question]
        closed = [question for question in questions if question in asked_about]
        rest = [question for question in questions if question in attributes]
        assert len(counted) == 1
        assert len(closed) == 2  # how many questions there are tells nothing about the number
        assert len(counted + closed + rest) == len(questions)
        numbers.add(counted[0].answer)
        for question in rest:
            about = LANGUAGE.exists_question(attributes[question][1])
            assert about not in questions[questions.index(question) :]
    assert 100 < captioned < 200
    assert len(numbers) == 4
    assert firsts == {"count", True, False}  # every kind of question is the first one of some documents


def test_a_document_is_what_the_chat_template_writes(scenes):
    processor = tiny(0)[1]
    turns = conversation(np.random.default_rng(3), LANGUAGE, scenes[0])
    assert len(turns) > 1
    ids, weights = encode(processor.tokenizer, picture_tokens(processor), turns)
    messages = []
    for turn in turns:
        parts = [{"type": "text", "text": turn.question}]
        messages.append({"role": "user", "content": parts if messages else [{"type": "image"}, *parts]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    text = processor.apply_chat_template(messages)
    picture = np.zeros((112, 112, 3), np.uint8)
    assert ids == processor(images=[picture], text=text)["input_ids"][0]
    answers = processor.tokenizer.decode([i for i, weight in zip(ids, weights, strict=True) if weight])
    assert answers == "".join(f"{turn.answer}<|im_end|>" for turn in turns)


def test_targets_are_the_next_tokens_of_answers_and_each_answer_weighs_its_root():
    batch = pack([([5, 6, 7, 8], [0.0, 0.5, 0.5, 0.0]), ([9, 4], [0.0, 1.0])], padding=2)
    assert batch.tokens.tolist() == [[5, 6, 7, 8], [9, 4, 2, 2]]
    assert batch.targets.tolist() == [[6, 7, IGNORED, IGNORED], [4, IGNORED, IGNORED, IGNORED]]
    assert batch.weights.tolist() == [[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    processor = tiny(0)[1]
    turns = conversation(np.random.default_rng(3), LANGUAGE, draw(np.random.default_rng(1), drawn_catalogue()))
    _, weights = encode(processor.tokenizer, picture_tokens(processor), turns)
    lengths = [len(processor.tokenizer(f"{turn.answer}<|im_end|>")["input_ids"]) for turn in turns]
    assert torch.tensor(weights).sum().item() == pytest.approx(sum(length**0.5 for length in lengths))
