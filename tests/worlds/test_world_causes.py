"""Causes two by two, against one row at a time."""

import math

import numpy as np
import pytest
import torch

from lime_xai.worlds.shared.causes import CELLS, caption_causes, dialogue_causes, effect_shares, main_effects
from lime_xai.worlds.shared.evaluation import lone_objects
from lime_xai.worlds.shared.language import partner


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=31, scenes=12)


class _Reader:
    """Stands in for a model: its logits say what it was asked and given."""

    device = torch.device("cpu")

    def __init__(self, processor):
        self.seen = []
        self._tokenizer = processor.tokenizer
        self._yes = processor.tokenizer.convert_tokens_to_ids("yes")

    def generate(self, input_ids, pixel_values=None, input_features=None, **_):
        logits = torch.zeros(len(input_ids), len(self._tokenizer))
        given = input_features if pixel_values is None else pixel_values
        for row, (ids, features) in enumerate(zip(input_ids, given, strict=True)):
            self.seen.append((" ".join(self._tokenizer.convert_ids_to_tokens(ids)), features))
            logits[row, self._yes] = len(self.seen)
        return type("Output", (), {"logits": (logits,)})()


def _erased_object(scene, first, second):
    """Return what has been erased between two preprocessed pictures or spectrograms: where they differ."""
    if first.ndim == 3:  # the only cell that differs
        differs = (first != second).any(0).reshape(2, 36, 2, 36).any(3).any(1)
        (cell,) = torch.nonzero(differs.flatten()).flatten().tolist()
        return scene.classes[cell]
    frames = torch.nonzero(((first - second).abs() > 1e-4).any(0)).flatten() * 0.025
    begins, ends = frames.min().item(), frames.max().item()
    away = {event.obj: abs(event.onset - begins) + abs(event.offset - ends) for event in scene.events}
    found = min(away, key=away.get)
    assert away[found] < 0.2
    return found


def test_dialogue_cells_cross_the_text_with_what_is_perceived(each_untrained, evaluation):
    reader = _Reader(each_untrained[1])
    found = dialogue_causes(reader, each_untrained[1], evaluation)
    questions = [q for q in evaluation.split("dialogue") if not q.label]
    count = len(questions)
    assert found.margins.shape == (count, len(CELLS))
    assert found.scenes.tolist() == [q.scene for q in questions]
    blocks = [reader.seen[i * count : (i + 1) * count] for i in range(6)]
    assert np.array_equal(found.margins, np.arange(1, 4 * count + 1).reshape(4, count).T)
    for index, q in enumerate(questions):
        name = evaluation.world.language.classes[partner(q.obj)]
        both, text, perceived, neither, nothing, alone = (block[index] for block in blocks)
        assert both[0] == text[0] == nothing[0]
        assert perceived[0] == neither[0]
        assert name in both[0].split()
        assert name not in perceived[0].split()
        assert perceived[0].count("user:") == 2
        assert alone[0].count("user:") == 1
        assert torch.equal(both[1], perceived[1])
        assert torch.equal(text[1], neither[1])
        assert _erased_object(evaluation.scenes[q.scene], both[1], text[1]) == partner(q.obj)
        assert nothing[1].flatten(1).std(1).max() == 0
        assert torch.equal(nothing[1], alone[1])
    assert np.array_equal(found.blind, np.full(count, -count))


def test_caption_cells_are_the_models_probabilities(each_world, each_untrained, evaluation):
    model, processor = each_untrained
    reader, language = _Reader(processor), each_world.language
    found = caption_causes(reader, processor, evaluation)
    count = len(found.scenes)
    assert found.scenes.tolist() == [
        i for i, s in enumerate(evaluation.scenes) if lone_objects(s, evaluation.world.language)
    ]
    named, erased, neutral, _ = (reader.seen[i * count : (i + 1) * count] for i in range(4))
    for index, place in enumerate(found.scenes):
        drawn = evaluation.scenes[place]
        said = [language.mentions(block[index][0])[-1] for block in (named, neutral)]
        assert said[0] in lone_objects(drawn, language)
        assert said[1] in set(drawn.present) - {said[0]}
        assert _erased_object(drawn, named[index][1], erased[index][1]) == said[0]
    real = caption_causes(model, processor, evaluation).chances
    assert real.shape == (count, 4)
    place, (text, _) = int(found.scenes[0]), named[0]
    prompt = f"{evaluation.caption_prompt} there is{text.partition('there is')[2]}"
    inputs = each_world.batch(processor, [evaluation.media[place]], [prompt])
    chances = model(**inputs).logits[0, -1].softmax(-1)
    word = processor.tokenizer.convert_tokens_to_ids(language.classes[partner(language.mentions(text)[-1])])
    assert real[0, 0] == pytest.approx(chances[word].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("means", "text", "picture"),
    [
        ((0.8, 0.8, 0.1, 0.1), 1, 0),
        ((0.8, 0.1, 0.8, 0.1), 0, 1),
        ((0.9, 0.5, 0.5, 0.1), 0.5, 0.5),
        ((0.1, 0.3, 0.1, 0.3), 0, 0),
    ],
)
def test_effect_shares_by_hand(means, text, picture):
    found = effect_shares(np.array(means))
    if text == picture == 0:
        assert all(math.isnan(value) for value in found)
    else:
        assert found == pytest.approx((text, picture))


@pytest.mark.parametrize(
    ("values", "text", "picture"),
    [
        ((3.0, 3.0, 1.0, 1.0), 2, 0),
        ((3.0, 1.0, 3.0, 1.0), 0, 2),
        ((-1.0, 1.0, 1.0, 3.0), -2, -2),
        ((4.0, 0.0, 0.0, 0.0), 2, 2),
    ],
)
def test_main_effects_by_hand(values, text, picture):
    assert main_effects(np.array([values, values])) == pytest.approx(np.array([[text, picture]] * 2))
