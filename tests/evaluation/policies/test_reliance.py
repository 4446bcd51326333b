"""Relevance of true names in captions, against attributions of whole captions."""

import numpy as np
import pytest
import torch

import lime_xai
from lime_xai.evaluation.policies.reliance import _marks, caption_relevance


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=17, scenes=5)


def told(evaluation):
    """Captions: all things, one thing, an absent one before a present one, nothing, only an absent one."""
    language, scenes = evaluation.world.language, evaluation.scenes
    return [
        language.caption_text(scenes[0].present) + " </s>",
        language.caption_text(scenes[1].present[:1]),
        language.caption_text([scenes[2].absent[0], scenes[2].present[-1]]) + " </s>",
        "",
        language.caption_text([scenes[4].absent[1]]) + " </s>",
    ]


def test_every_true_name_is_attributed_as_if_alone(each_world, each_untrained, evaluation):
    model, processor = each_untrained
    captions = told(evaluation)
    found = caption_relevance(model, processor, evaluation, captions)
    share, inside = [], []
    for index, caption in enumerate(captions):
        scene, words = evaluation.scenes[index], caption.replace("</s>", "").split()
        if not words:
            continue
        inputs = each_world.batch(processor, [evaluation.media[index]], [evaluation.caption_prompt])
        read = lime_xai.read_prompt(model, inputs)
        answer = torch.tensor([processor.tokenizer.convert_tokens_to_ids(words)])
        for word, row in zip(words, lime_xai.attribute(model, read, answer).relevance[0], strict=True):
            if word not in scene.names:
                continue
            obj = each_world.language.classes.index(word)
            perceived = row[read.positions.perceptual[0].nonzero()[:, 0]]
            share.append((index, (perceived.abs().sum() / row.abs().sum()).item()))
            positive = perceived.clamp(min=0)
            if positive.any():  # an untrained model may have none there
                part = positive[list(each_world.region(scene, obj))].sum() / positive.sum()
                inside.append((index, part.item()))
    assert {index for index, _ in share} == {0, 1, 2}
    for name, wanted in (("share", share), ("inside", inside)):
        assert found[name].scenes.tolist() == [index for index, _ in wanted]
        np.testing.assert_allclose(found[name].values, [value for _, value in wanted], rtol=2e-3)


def test_captions_without_a_true_name_give_nothing(each_untrained, evaluation):
    found = caption_relevance(*each_untrained, evaluation, [""] * 5)
    assert found["share"].values.shape == found["inside"].values.shape == (0,)


def test_a_mark_before_a_true_name_is_read_as_an_answer(each_world, each_untrained, evaluation):
    model, processor = each_untrained
    scene, language = evaluation.scenes[0], each_world.language
    mark = processor.tokenizer.convert_ids_to_tokens(min(_marks(model, processor, evaluation)))
    plain = language.caption_text(scene.present[:1]).split()
    place = next(index for index, word in enumerate(plain) if word in scene.names)
    marked = [*plain[:place], mark, *plain[place:]]
    found = caption_relevance(model, processor, evaluation, [" ".join(marked), *[""] * 4])
    inputs = each_world.batch(processor, [evaluation.media[0]], [evaluation.caption_prompt])
    ids = torch.tensor([processor.tokenizer.convert_tokens_to_ids(marked)])
    read = lime_xai.read_prompt(model, inputs)
    row = lime_xai.attribute(model, read, ids).relevance[0, place + 1]
    wanted = row[read.positions.perceptual[0].nonzero()[:, 0]].abs().sum() / row.abs().sum()
    assert found["share"].scenes.tolist() == [0]
    np.testing.assert_allclose(found["share"].values, [wanted], rtol=2e-3)


def test_another_beginning_of_a_caption_is_refused(each_world, each_untrained, evaluation, monkeypatch):
    monkeypatch.setattr(type(each_world), "continued", lambda self, processor, prompt, tokens: prompt)
    with pytest.raises(ValueError, match=rf"mend {type(each_world).__name__}\.continued"):
        caption_relevance(*each_untrained, evaluation, told(evaluation))


def test_nothing_inside_without_positive_relevance(each_untrained, evaluation, monkeypatch):
    def negative(model, prompt, target):
        rows, length = prompt.positions.input_ids.shape
        return type("Found", (), {"relevance": -torch.ones(rows, length)})

    monkeypatch.setattr("lime_xai.evaluation.policies.reliance.attribute", negative)
    found = caption_relevance(*each_untrained, evaluation, told(evaluation))
    assert len(found["share"].values) > 3
    assert found["inside"].values.shape == (0,)
