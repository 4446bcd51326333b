"""Shares, Shapley values, rank correlation and bookkeeping beside naive versions; the registry of metrics."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from support.comparisons import RELEVANCE, game_case, measure

from lime_xai.evaluation.attributions.registry import METRICS, columns, metric_of
from lime_xai.evaluation.attributions.shapley import EXACT, PERMUTATIONS, shapley_values
from lime_xai.evaluation.attributions.statistics import rank_correlation

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
    values = case.task.shapley.abs().tolist()
    shap = sum(v for v, s in zip(values, seen, strict=True) if s) / sum(values)
    assert measure("mm_shap", case) == pytest.approx(shap)


# Robustness and bookkeeping ------------------------------------------------------------------------------------------

VECTOR = st.lists(st.integers(-3, 3), min_size=6, max_size=6)


@settings(max_examples=50)
@given(VECTOR, VECTOR)
def test_rank_correlation_is_scipys_and_zero_where_one_is_constant(first, second):
    found = rank_correlation(torch.tensor(first), torch.tensor(second))
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
    value = float(case.task.evaluate(torch.ones(1, 3, dtype=torch.bool))[0])
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
