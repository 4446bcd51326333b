"""Every metric beside a naive version of it, written as loops, and what must hold of any relevance."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.comparisons import RELEVANCE, game_case, measure, prepared

from lime_xai.evaluation.attributions.scored import Scored

FAMILIES = ["llava", "qwen3_vl", "qwen2_audio"]
PERTURBING = ["delta_a", "deletion", "insertion", "comprehensiveness", "sufficiency"]


# Perturbation --------------------------------------------------------------------------------------------------------


def said(row, kept):
    """Value and probability with only some groups kept, one position after the other."""
    problem, substitute = row.problem, row.substitute
    inputs = [tensor.clone() for tensor in problem.inputs]
    for position, group in enumerate(row.groups.ids.tolist()):
        if group >= 0 and group not in kept:
            inputs[0][0, position] = substitute[0][0, position]
            for deep, other in zip(inputs[1:], substitute[1:], strict=True):
                for index, visual in enumerate(problem.visual.tolist()):
                    if visual == position:
                        deep[0, index] = other[0, index]
    with torch.no_grad():
        token = int(problem.ids[0])
        return float(problem.values(*inputs).sum()), float(problem.logits(*inputs)[0, 0].double().softmax(-1)[token])


def naive_curves(case):
    """Value and probability along the three curves, in Python lists."""
    sums = [0.0] * len(case.groups)
    for position, group in enumerate(case.groups.ids.tolist()):
        if group >= 0:
            sums[group] += float(case.relevance[position])
    everything = range(len(sums))
    falling = sorted(everything, key=lambda group: -sums[group])
    rising = sorted(everything, key=lambda group: sums[group])
    without = {
        name: [said(case.task, set(everything) - set(order[:k])) for k in range(len(order) + 1)]
        for name, order in (("most", falling), ("least", rising))
    }
    return without["most"], without["least"], [said(case.task, set(falling[:k])) for k in range(len(falling) + 1)]


def area(heights):
    return sum((a + b) / 2 for a, b in itertools.pairwise(heights)) / (len(heights) - 1)


def naive(name, case):
    most, least, back = naive_curves(case)
    steps = [math.ceil(share * len(case.groups) / 100 - 1e-9) for share in (1, 5, 10, 20, 50)]
    full = most[0][1]
    return {
        "delta_a": area([v for v, _ in least]) - area([v for v, _ in most]),
        "deletion": area([p for _, p in most]),
        "insertion": area([p for _, p in back]),
        "comprehensiveness": sum(full - most[k][1] for k in steps) / 5,
        "sufficiency": sum(full - back[k][1] for k in steps) / 5,
    }[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_perturbation_metrics_are_what_loops_over_groups_give(family):
    ready = prepared(family)
    (_, _, (row,)) = ready.tasks[0]
    case = Scored(row, ready.explain("attnlrp")[0, 0])
    assert len(row.groups) > 5
    for name in PERTURBING:
        assert measure(name, case) == pytest.approx(naive(name, case), abs=1e-4), name


@given(RELEVANCE)
def test_a_relevance_and_its_negative_have_opposite_areas(relevance):
    one = game_case(relevance)
    other = game_case(-torch.tensor(relevance))
    assert measure("delta_a", one) == pytest.approx(-measure("delta_a", other), abs=1e-12)


@given(st.floats(-3, 3), st.integers(2, 12))
def test_a_constant_relevance_has_no_area(value, count):
    assert measure("delta_a", game_case([value] * count)) == 0


@given(RELEVANCE)
def test_probability_metrics_stay_in_their_range(relevance):
    case = game_case(relevance)
    assert 0 <= measure("deletion", case) <= 1
    assert 0 <= measure("insertion", case) <= 1
    assert -1 <= measure("comprehensiveness", case) <= 1
    assert -1 <= measure("sufficiency", case) <= 1


@given(RELEVANCE)
def test_only_the_order_of_relevance_counts(relevance):
    for name in PERTURBING:
        assert measure(name, game_case(relevance)) == measure(name, game_case(4 * torch.tensor(relevance)))


def test_rows_per_pass_changes_nothing():
    ready = prepared("llava")
    (_, _, (row,)) = ready.tasks[0]
    kept = torch.rand(11, len(row.groups)) < 0.5
    vars_of = {name: vars(row)[name] for name in ("problem", "groups", "substitute")}
    for found, wanted in zip(row.evaluate(kept), type(row)(**vars_of, rows_per_pass=100).evaluate(kept), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


# Localisation --------------------------------------------------------------------------------------------------------


def naive_localisation(relevance, seen, truth):
    places = [i for i, here in enumerate(seen) if here]
    positive = {i: max(relevance[i], 0.0) for i in places}
    total = sum(positive.values())

    def expected(count):
        """Chance of each true position to be among the first, if equal ones stand in any order."""
        hits = 0.0
        for i in places:
            above = sum(relevance[j] > relevance[i] for j in places)
            equal = sum(relevance[j] == relevance[i] for j in places)
            hits += truth[i] * min(1.0, max(0.0, (count - above) / equal))
        return hits / count

    return {
        "pointing": expected(1),
        "mass": sum(positive[i] for i in places if truth[i]) / total if total else 0.0,
        "rank": expected(sum(truth)),
    }


@given(st.data())
def test_localisation_is_what_loops_over_positions_give(data):
    relevance = data.draw(RELEVANCE)
    count = len(relevance)
    seen = data.draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    inside = data.draw(st.sets(st.sampled_from([i for i in range(count) if seen[i]]), min_size=1))
    truth = [i in inside for i in range(count)]
    case = game_case(relevance, truth, seen)
    for name, wanted in naive_localisation(relevance, seen, truth).items():
        assert measure(name, case) == pytest.approx(wanted, abs=1e-9), name


def test_a_stretch_of_sound_is_a_region_like_any_other():
    ready = prepared("qwen2_audio")
    (_, _, (row,)) = ready.tasks[0]
    heard = row.perceptual.nonzero()[:, 0]
    truth = torch.zeros_like(row.perceptual)
    truth[heard[2:5]] = True
    relevance = torch.zeros(len(truth))
    relevance[heard[2:5]] = 1.0
    relevance[0] = 9.0  # text does not compete
    case = Scored(type(row)(row.problem, row.groups, row.substitute, truth), relevance)
    assert [measure(name, case) for name in ("pointing", "mass", "rank")] == [1, 1, 1]
