"""Every metric beside a naive version of it, written as loops, and what must hold of any relevance."""

import itertools
import math

import numpy as np
import pytest
import torch
from comparison_parts import game_case, prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lime_xai.comparison import METRICS, Case
from lime_xai.comparison.correlation import spearman
from lime_xai.comparison.registry import columns, metric_of
from lime_xai.comparison.shapley import EXACT, PERMUTATIONS, shapley_values

FAMILIES = ["llava", "qwen3_vl", "qwen2_audio"]
PERTURBING = ["delta_a", "deletion", "insertion", "comprehensiveness", "sufficiency"]
RELEVANCE = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12)


def measure(name, case):
    return METRICS[name].measure(case)


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
        name: [said(case.row, set(everything) - set(order[:k])) for k in range(len(order) + 1)]
        for name, order in (("most", falling), ("least", rising))
    }
    return without["most"], without["least"], [said(case.row, set(falling[:k])) for k in range(len(falling) + 1)]


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
    (_, _, (row,)) = ready.questions[0]
    case = Case(row, ready.explain("attnlrp")[0, 0])
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
    (_, _, (row,)) = ready.questions[0]
    kept = torch.rand(11, len(row.groups)) < 0.5
    vars_of = {name: vars(row)[name] for name in ("problem", "groups", "substitute")}
    for found, wanted in zip(row.readings(kept), type(row)(**vars_of, rows_per_pass=100).readings(kept), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


# Localisation --------------------------------------------------------------------------------------------------------


def naive_localisation(relevance, seen, truth):
    places = [i for i, here in enumerate(seen) if here]
    best = max(places, key=lambda i: relevance[i])
    positive = {i: max(relevance[i], 0.0) for i in places}
    total = sum(positive.values())
    ranked = sorted(places, key=lambda i: -relevance[i])[: sum(truth)]
    return {
        "pointing": float(truth[best]),
        "mass": sum(positive[i] for i in places if truth[i]) / total if total else 0.0,
        "rank": sum(truth[i] for i in ranked) / sum(truth),
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
    (_, _, (row,)) = ready.questions[0]
    heard = row.perceptual.nonzero()[:, 0]
    truth = torch.zeros_like(row.perceptual)
    truth[heard[2:5]] = True
    relevance = torch.zeros(len(truth))
    relevance[heard[2:5]] = 1.0
    relevance[0] = 9.0  # text does not compete
    case = Case(type(row)(row.problem, row.groups, row.substitute, truth), relevance)
    assert [measure(name, case) for name in ("pointing", "mass", "rank")] == [1, 1, 1]


# Modality ------------------------------------------------------------------------------------------------------------


def naive_shapley(game, orders, count):
    total = [0.0] * count
    for order in orders:
        for place, player in enumerate(order):
            before, after = torch.zeros(1, count, dtype=torch.bool), torch.zeros(1, count, dtype=torch.bool)
            before[0, list(order[:place])] = True
            after[0, list(order[: place + 1])] = True
            total[player] += float(game(after) - game(before)) / len(orders)
    return total


@pytest.mark.parametrize("count", [1, 2, 4])
def test_exact_shapley_values_are_the_mean_over_all_orders(count):
    table = torch.randn(2**count).double()

    def game(kept):
        return table[(kept.long() * 2 ** torch.arange(count)).sum(1)]

    orders = list(itertools.permutations(range(count)))
    assert shapley_values(game, count, 0).tolist() == pytest.approx(naive_shapley(game, orders, count))


def test_sampled_shapley_values_are_the_mean_over_the_drawn_orders():
    count = EXACT + 2

    def game(kept):
        return (kept.double() @ torch.linspace(-1, 2, count).double()).tanh() + kept[:, 0].double() * kept[:, 3]

    generator = torch.Generator().manual_seed(5)
    orders = [torch.randperm(count, generator=generator).tolist() for _ in range(PERMUTATIONS // 2)]
    orders += [order[::-1] for order in orders]
    found = shapley_values(game, count, seed=5)
    assert found.tolist() == pytest.approx(naive_shapley(game, orders, count))
    ends = game(torch.stack([torch.zeros(count), torch.ones(count)]).bool())
    assert float(found.sum()) == pytest.approx(float(ends[1] - ends[0]))


@given(RELEVANCE, st.integers(0, 3))
def test_shares_are_what_loops_give(relevance, words):
    seen = [i >= words for i in range(len(relevance))]
    case = game_case(relevance, seen=seen)
    total = sum(abs(r) for r in relevance)
    share = measure("perceptual_share", case)
    wanted = sum(abs(r) for r, s in zip(relevance, seen, strict=True) if s) / total if total else math.nan
    assert share == pytest.approx(wanted, nan_ok=True)
    values = case.row.shapley.abs().tolist()
    shap = sum(v for v, s in zip(values, seen, strict=True) if s) / sum(values)
    assert measure("mm_shap", case) == pytest.approx(shap)


# Robustness and bookkeeping ------------------------------------------------------------------------------------------

VECTOR = st.lists(st.integers(-3, 3), min_size=6, max_size=6)


@settings(max_examples=50)
@given(VECTOR, VECTOR)
def test_rank_correlation_is_scipys_and_zero_where_one_is_constant(first, second):
    found = spearman(torch.tensor(first), torch.tensor(second))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(float(spearmanr(first, second).statistic))


def test_sensitivity_is_the_largest_relative_change():
    noisy = torch.tensor([[3.0, 4.0], [0.0, 4.0], [3.0, 5.0]])
    case = game_case([3.0, 4.0], noisy=lambda: noisy)
    changes = [math.dist(draw, (3.0, 4.0)) / 5 for draw in noisy.tolist()]
    assert measure("sensitivity", case) == pytest.approx(max(changes))
    assert math.isnan(measure("sensitivity", game_case([0.0, 0.0], noisy=lambda: noisy)))


def test_randomisation_is_the_mean_correlation_of_absolute_relevance():
    relevance = torch.tensor([1.0, -4.0, 2.0, 0.5])
    others = torch.randn(3, 4)
    case = game_case(relevance, randomised=lambda: others)
    wanted = np.mean([spearmanr(relevance.abs(), one.abs()).statistic for one in others])
    assert measure("randomisation", case) == pytest.approx(wanted)


def test_bookkeeping_is_what_it_says():
    relevance = [1.0, 2.5, -2.0]
    case = game_case(relevance, reference=torch.tensor([5.0, 6.0, 1.0]))
    value = float(case.row.readings(torch.ones(1, 3, dtype=torch.bool))[0])
    assert measure("residual", case) == pytest.approx(abs(1.5 - value) / abs(value))
    assert measure("agreement", case) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pointing", "needs a true region"),
        ("sensitivity", "needs relevance under noise"),
        ("randomisation", "needs relevance of other weights"),
        ("agreement", "needs the first method's relevance"),
        ("passes", "was not timed"),
    ],
)
def test_a_case_without_what_a_metric_needs_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        measure(name, game_case([1.0, 2.0]))


def test_columns_repeat_only_what_perturbs():
    assert columns(["delta_a", "mass"], ["mean", "blur"]) == ["delta_a", "delta_a@blur", "mass"]
    assert metric_of("delta_a@blur").name == "delta_a"
    with pytest.raises(ValueError, match="Did you mean 'delta_a'"):
        metric_of("delta")


def test_every_metric_of_the_protocol_is_registered():
    assert all(name == metric.name and metric.better in ("high", "low", None) for name, metric in METRICS.items())
    documented = {"delta_a", "deletion", "insertion", "comprehensiveness", "sufficiency", "pointing", "mass", "rank"}
    documented |= {"perceptual_share", "mm_shap", "sensitivity", "residual", "agreement", "randomisation"}
    assert set(METRICS) == documented | {"seconds", "passes", "memory"}
