"""Metrics against hand-computed examples and naive re-implementations."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from lime_xai.worlds.scene.scenes import EMPTY, Scene
from lime_xai.worlds.scene.text import LANGUAGE
from lime_xai.worlds.shared.closed import closed_metrics, closed_values, weighted_auc
from lime_xai.worlds.shared.metrics import caption_counts, caption_metrics, caption_values

CUP_AND_SUN = Scene((0, 4, EMPTY, EMPTY), (0, 0, EMPTY, EMPTY))


def test_captions_by_hand():
    captions = [
        "there is a cup , a phone , a cup . </s>",  # phone is wrong, the cup's partner; cup twice; no sun
        "there is an anchor , a sun , a cup",  # anchor is wrong, but named before the sun; unfinished
    ]
    found = caption_metrics(captions, [CUP_AND_SUN, CUP_AND_SUN], LANGUAGE)
    precision, recall = 3 / 5, 3 / 4
    assert found.chair_i == pytest.approx(2 / 5)
    assert found.chair_s == 1.0
    assert found.recall == pytest.approx(recall)
    assert found.f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert found.repeated == 0.5
    assert found.finished == 0.5
    assert found.partner_share == 0.5


@pytest.mark.parametrize(
    ("caption", "outside"),
    [
        ("there is a cup , a sun . </s>", 0),
        ("There is a woodpecper, a cup and a elephantine. </s>", 2),
        ("There is an old cup and a hat stand", 1),
        ("there is a cup . there is a hat . </s>", 0),
        ("there is . </s>", 0),
        ("There is a </s>", 0),
        ("There is an </s>", 0),
    ],
)
def test_things_that_are_no_class_are_counted_beside_chair(caption, outside):
    found = caption_metrics([caption], [CUP_AND_SUN], LANGUAGE)
    assert found.outside == outside
    assert found.chair_i == 0


def test_captions_that_name_nothing_or_no_wrong_object():
    silent = caption_metrics(["there is . </s>"], [CUP_AND_SUN], LANGUAGE)
    assert (silent.chair_i, silent.recall, silent.f1) == (0.0, 0.0, 0.0)
    true = caption_metrics(["there is a cup , a sun . </s>"], [CUP_AND_SUN], LANGUAGE)
    assert (true.chair_i, true.chair_s, true.f1) == (0.0, 0.0, 1.0)
    assert math.isnan(true.partner_share)


def _naive(captions, scenes, classes):
    hallucinated, named, recalled, there, bad = 0, 0, 0, 0, 0
    for caption, s in zip(captions, scenes, strict=True):
        spoken = {w for w in caption.replace(",", "").split() if w in classes}
        named += len(spoken)
        hallucinated += len(spoken - set(s.names))
        recalled += len(spoken & set(s.names))
        there += len(s.names)
        bad += bool(spoken - set(s.names))
    return hallucinated / named, bad / len(captions), recalled / there


def test_captions_against_a_naive_implementation(each_world):
    rng, language = np.random.default_rng(0), each_world.language
    scenes = [each_world.draw(rng) for _ in range(60)]
    captions = [" , ".join(rng.choice(language.classes, int(rng.integers(1, 7)))) for _ in scenes]
    found = caption_metrics(captions, scenes, language)
    assert (found.chair_i, found.chair_s, found.recall) == pytest.approx(_naive(captions, scenes, language.classes))
    assert found.finished == 0.0


def test_captions_must_match_scenes():
    with pytest.raises(ValueError, match="found 1 captions for 2 scenes"):
        caption_metrics(["there is a cup ."], [CUP_AND_SUN] * 2, LANGUAGE)
    with pytest.raises(ValueError, match="found 0 captions"):
        caption_metrics([], [], LANGUAGE)


def test_closed_questions_by_hand():
    found = closed_metrics([2.0, -1.0, 1.0, -3.0], [True, True, False, False])
    assert (found.accuracy, found.false_yes) == (0.5, 0.5)
    assert found.auc == 0.75  # of four pairs only (-1, 1) is ranked wrongly


@pytest.mark.parametrize("shift", [0.0, 9.0, -9.0])
def test_f1_of_both_answers_is_that_of_scikit_learn(shift):
    rng = np.random.default_rng(4)
    margins, labels = rng.normal(size=40) + shift, rng.random(40) < 0.3
    found = closed_metrics(margins, labels)
    assert found.f1_yes == pytest.approx(f1_score(labels, margins > 0, zero_division=0))
    assert found.f1_no == pytest.approx(f1_score(~labels, margins <= 0, zero_division=0))


def test_auc_against_counting_pairs_with_ties():
    rng = np.random.default_rng(1)
    margins, labels = rng.integers(-3, 4, 80).astype(float), rng.random(80) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in margins[labels] for n in margins[~labels]]
    found = closed_metrics(margins, labels)
    assert found.auc == pytest.approx(np.mean(pairs))
    assert found.accuracy == pytest.approx(np.mean((margins > 0) == labels))
    shifted = closed_metrics(margins + 5, labels)
    assert shifted.auc == pytest.approx(found.auc)


@pytest.mark.parametrize(
    ("margins", "labels", "message"),
    [
        ([1.0], [True, False], "expected one shape"),
        ([1.0, math.nan], [True, False], "not finite"),
        ([1.0, 2.0], [True, True], "single label"),
    ],
)
def test_closed_questions_that_cannot_be_measured(margins, labels, message):
    with pytest.raises(ValueError, match=message):
        closed_metrics(margins, labels)


def _drawn(world, count, seed=0):
    rng = np.random.default_rng(seed)
    scenes = [world.draw(rng) for _ in range(count)]
    captions = [" , ".join(rng.choice(world.language.classes, int(rng.integers(0, 6)))) for _ in scenes]
    return [c + (" . </s>" if rng.random() < 0.7 else "") for c in captions], scenes


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any))
def test_weights_are_repetitions(each_world, weights):
    captions, scenes = _drawn(each_world, 12)
    sums = np.array(weights, float) @ caption_counts(captions, scenes, each_world.language)
    repeated = [i for i, w in enumerate(weights) for _ in range(w)]
    wanted = caption_metrics([captions[i] for i in repeated], [scenes[i] for i in repeated], each_world.language)
    for name, value in caption_values(sums).items():
        assert value == pytest.approx(getattr(wanted, name), nan_ok=True)


def test_empty_unfinished_and_repetitive_captions_are_counted():
    captions = [
        "there is . </s>",
        "there is a cup , a cup",
        "there is a phone . </s>",
        "there is a sun . the sun is red . </s>",
    ]
    found = caption_metrics(captions, [CUP_AND_SUN] * 4, LANGUAGE)
    assert (found.empty, found.unfinished, found.repetitive) == (0.25, 0.25, 0.25)
    assert found.finished == 0.75
    assert found.pictured_share == 1.0
    assert found.partner_share == 0.0
    assert found.repeated == 0.25


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=2, max_size=25))
def test_weighted_auc_against_counting_pairs(rows):
    margins, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [((p > n) + 0.5 * (p == n), v * w) for p, a, v in rows for n, b, w in rows if a and not b]
    total = sum(weight for _, weight in pairs)
    wanted = sum(value * weight for value, weight in pairs) / total if total else math.nan
    found = weighted_auc(margins.astype(float), labels, weights[None].astype(float))
    assert found[0] == pytest.approx(wanted, nan_ok=True)


def test_closed_values_of_weighted_samples():
    rng = np.random.default_rng(2)
    margins, labels = rng.normal(size=30), rng.random(30) < 0.5
    weights = rng.integers(0, 3, (5, 30)).astype(float)
    found = closed_values(margins, labels, weights)
    for sample, row in enumerate(weights):
        index = np.repeat(np.arange(30), row.astype(int))
        wanted = closed_metrics(margins[index], labels[index])
        for name in (field.name for field in fields(wanted)):
            assert found[name][sample] == pytest.approx(getattr(wanted, name))
