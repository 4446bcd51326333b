"""Bootstrap over scenes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lime_xai.evaluation.bootstrap import estimate, interval, nested, resampling_weights


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 5))
def test_every_resample_draws_as_many_scenes_as_there_are(units, resamples, seed):
    weights = resampling_weights(units, resamples, seed)
    assert weights.shape == (1 + resamples, units)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == units).all()
    assert np.array_equal(weights, resampling_weights(units, resamples, seed))


def test_seeds_differ():
    assert not np.array_equal(resampling_weights(20, 5, 0), resampling_weights(20, 5, 1))


def test_the_interval_of_a_mean_is_that_of_theory():
    sample = np.random.default_rng(3).normal(2.0, 1.5, 400)
    weights = resampling_weights(400, 4000)
    value, low, high = estimate(weights @ sample / weights.sum(1))
    assert value == pytest.approx(sample.mean())
    error = sample.std() / math.sqrt(400)
    assert low == pytest.approx(sample.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(sample.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    weights = resampling_weights(60, 300)
    hits = 0
    for _ in range(300):
        _, low, high = estimate(weights @ rng.normal(size=60) / 60)
        hits += low <= 0 <= high
    assert 0.89 <= hits / 300 <= 0.98


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(0.5, 0.99))
def test_intervals_are_ordered_and_within_the_values(values, level):
    low, high = interval(np.array(values), level)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_resamples_without_a_value_are_left_out():
    assert interval(np.array([1.0, math.nan, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(bound) for bound in interval(np.array([math.nan])))


def test_names_nest():
    assert nested({"a": 1, "b.c.d": 2, "b.e": 3}) == {"a": 1, "b": {"c": {"d": 2}, "e": 3}}


@pytest.mark.parametrize(("units", "resamples"), [(0, 5), (5, 0)])
def test_nothing_to_draw(units, resamples):
    with pytest.raises(ValueError, match="at least one of each"):
        resampling_weights(units, resamples)
