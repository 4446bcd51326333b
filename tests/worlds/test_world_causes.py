"""Causes two by two, against one row at a time."""

import math

import numpy as np
import pytest
import torch

from lime_xai.worlds import scene
from lime_xai.worlds.scene.causes import CELLS, effect_shares
from lime_xai.worlds.scene.text import VOCABULARY


@pytest.fixture(scope="module")
def evaluation():
    return scene.evaluation_set(seed=31, scenes=12)


class _Reader:
    """Stands in for a model: its logits say what it was asked and shown."""

    device = torch.device("cpu")

    def __init__(self, processor):
        self.seen = []
        self._processor = processor

    def generate(self, input_ids, pixel_values, **_):
        logits = torch.zeros(len(input_ids), len(VOCABULARY))
        for row, (ids, pixels) in enumerate(zip(input_ids, pixel_values, strict=True)):
            self.seen.append((" ".join(self._processor.tokenizer.convert_ids_to_tokens(ids)), pixels))
            logits[row, VOCABULARY["yes"]] = len(self.seen)
        return type("Output", (), {"logits": (logits,)})()


def _changed_cells(first, second):
    """Return the cells in which two preprocessed pictures differ."""
    differs = (first != second).any(0).reshape(2, 36, 2, 36).any(3).any(1)
    return set(torch.nonzero(differs.flatten()).flatten().tolist())


def test_dialogue_cells_cross_the_text_with_the_pixels(untrained, evaluation):
    reader = _Reader(untrained[1])
    found = scene.dialogue_causes(reader, untrained[1], evaluation)
    questions = [q for q in evaluation.split("dialogue") if not q.label]
    count = len(questions)
    assert found.margins.shape == (count, len(CELLS))
    assert found.scenes.tolist() == [q.scene for q in questions]
    blocks = [reader.seen[i * count : (i + 1) * count] for i in range(6)]
    assert np.array_equal(found.margins, np.arange(1, 4 * count + 1).reshape(4, count).T)
    for index, q in enumerate(questions):
        drawn, partner = evaluation.scenes[q.scene], scene.CLASSES[scene.partner(q.obj)]
        both, text, picture, neither, grey, alone = (block[index] for block in blocks)
        assert both[0] == text[0] == grey[0]
        assert picture[0] == neither[0]
        assert partner in both[0].split()
        assert partner not in picture[0].split()
        assert picture[0].count("user:") == 2
        assert alone[0].count("user:") == 1
        assert torch.equal(both[1], picture[1])
        assert torch.equal(text[1], neither[1])
        assert _changed_cells(both[1], text[1]) == {drawn.cell_of(scene.partner(q.obj))}
        assert grey[1].flatten(1).std(1).max() == 0
    assert np.array_equal(found.blind, np.full(count, -count))


def test_caption_cells_are_the_models_probabilities(untrained, evaluation):
    reader = _Reader(untrained[1])
    found = scene.caption_causes(reader, untrained[1], evaluation)
    count = len(found.scenes)
    assert found.scenes.tolist() == [i for i, s in enumerate(evaluation.scenes) if scene.lone_objects(s)]
    named, erased, neutral, _ = (reader.seen[i * count : (i + 1) * count] for i in range(4))
    for index, place in enumerate(found.scenes):
        drawn = evaluation.scenes[place]
        said = [scene.mentions(block[index][0].replace("<image>", ""))[-1] for block in (named, neutral)]
        assert said[0] in scene.lone_objects(drawn)
        assert said[1] in set(drawn.present) - {said[0]}
        assert _changed_cells(named[index][1], erased[index][1]) == {drawn.cell_of(said[0])}
    real = scene.caption_causes(*untrained, evaluation).chances
    assert real.shape == (count, 4)
    model, processor = untrained
    place, (text, _) = int(found.scenes[0]), named[0]
    inputs = processor(
        images=[evaluation.images[place]],
        text=[f"{evaluation.caption_prompt} there is{text.partition('there is')[2]}"],
        return_tensors="pt",
    )
    chances = model(**inputs).logits[0, -1].softmax(-1)
    word = scene.CLASSES[scene.partner(scene.mentions(text)[-1])]
    assert real[0, 0] == pytest.approx(chances[VOCABULARY[word]].item(), abs=1e-5)


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
