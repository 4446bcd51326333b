"""Records of a model, and every metric over weighted scenes."""

from dataclasses import fields, replace

import numpy as np
import pytest

from lime_xai.evaluation.bootstrap import nested
from lime_xai.worlds.shared.closed import ClosedMetrics
from lime_xai.worlds.shared.measuring import groundings, measure, open_answers
from lime_xai.worlds.shared.metrics import CaptionMetrics, caption_counts
from lime_xai.worlds.shared.records import Records, Rows, collect, statistics


@pytest.fixture(scope="module")
def evaluation(each_world):
    return each_world.evaluation_set(seed=41, scenes=8)


@pytest.fixture(scope="module")
def records(each_untrained, evaluation):
    return collect(*each_untrained, evaluation)


def test_ones_give_the_plain_metrics(each_untrained, evaluation, records):
    found = nested({name: value[0] for name, value in statistics(records, np.ones((1, 8))).items()})
    wanted = measure(*each_untrained, evaluation)
    for field in fields(CaptionMetrics):
        assert found[field.name] == pytest.approx(getattr(wanted.captions, field.name), nan_ok=True)
        assert found["no_repeat"][field.name] == pytest.approx(getattr(wanted.no_repeat, field.name), nan_ok=True)
    for split, closed in wanted.splits.items():
        for field in fields(ClosedMetrics):
            assert found["splits"][split][field.name] == pytest.approx(getattr(closed, field.name))
    world = evaluation.world
    assert tuple(found["open"]) == world.open_kinds
    assert tuple(found["grounding"]) == world.probe_kinds
    for kind in world.probe_kinds:
        probed = [p for p in evaluation.probes if p.kind == kind]
        assert found["grounding"][kind] == pytest.approx(groundings(*each_untrained, evaluation, probed).mean())
    for kind in world.open_kinds:
        asked = [q for q in evaluation.open_questions if q.kind == kind]
        answers = open_answers(*each_untrained, evaluation, asked)
        right = np.mean([a == q.answer for a, q in zip(answers, asked, strict=True)])
        assert found["open"][kind]["accuracy"] == pytest.approx(right)
        attributes = [attribute.name for attribute in world.language.attributes]
        assert ("habitual" in found["open"][kind]) is (kind in attributes)


def _taken(records, order):
    """Repeat scenes by hand: an oracle for weights."""

    def rows(given):
        places = [(new, i) for new, old in enumerate(order) for i in np.flatnonzero(given.scenes == old)]
        return Rows(np.array([new for new, _ in places]), given.values[[i for _, i in places]])

    whole = {name: getattr(records, name)[order] for name in ("captions", "no_repeat", "detailed", "sentences")}
    parts = {
        name: {k: rows(r) for k, r in getattr(records, name).items()} for name in ("closed", "opened", "grounding")
    }
    return Records(**whole, **parts)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_repeated_scenes(records, seed):
    order = np.random.default_rng(seed).integers(0, 8, 8)
    weights = np.bincount(order, minlength=8).astype(float)[None]
    found = statistics(records, weights)
    wanted = statistics(_taken(records, order), np.ones((1, 8)))
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert value[0] == pytest.approx(wanted[name][0], nan_ok=True), name


def test_habitual_errors_are_shares_of_the_errors(records):
    values = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], float)
    changed = replace(records, opened={"colour": Rows(np.arange(4), values)})
    found = statistics(changed, np.ones((1, 8)))
    assert found["open.colour.accuracy"][0] == 0.25
    assert found["open.colour.habitual"][0] == pytest.approx(2 / 3)


def test_given_captions_are_not_generated_again(each_untrained, evaluation, records):
    language = evaluation.world.language
    captions = [f"{language.caption_text([0])} </s>"] * 8
    found = collect(*each_untrained, evaluation, captions=captions)
    assert np.array_equal(found.captions, caption_counts(captions, evaluation.scenes, language))
    assert np.array_equal(found.no_repeat, records.no_repeat)
