"""Measures with intervals, paired differences and McNemar's test, against loops over drawn units."""

import math
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol
from lime_xai.evaluation.benchmarks.rates import harmonic, ratio
from lime_xai.evaluation.benchmarks.scoring import ALL, differences, mcnemar, score
from lime_xai.evaluation.benchmarks.two_classes import SPLITS, measures_of, rates_of, tally

RESAMPLES = 40


class Exact(Protocol):
    """Answers "yes" and "no" about items of several groups."""

    name = "exact"
    parsers = ("plain",)
    measures = measures_of("yes")

    def read(self, files, media=None, *, partial=False):
        raise NotImplementedError

    def count(self, item, answer, parser):
        return tally("yes", item.truth["label"], answer if answer in ("yes", "no") else None)

    def values(self, sums):
        return rates_of(sums)


class ByGroup(Exact):
    average = "groups"


class Length(Exact):
    """A benchmark in which no answer is simply right."""

    measures: ClassVar = {"length": Measure(None, "characters")}

    def count(self, item, answer, parser):
        return {"length": float(len(answer))}

    def values(self, sums):
        return {"length": ratio(sums["length"], sums["items"])}


def made(seed, count=60, units=11, groups=SPLITS):
    rng = np.random.default_rng(seed)
    items = [
        Item(
            id=str(number),
            question="?",
            group=groups[rng.integers(len(groups))],
            truth={"label": "yes" if rng.random() < 0.5 else "no"},
            unit=f"unit {rng.integers(units)}",
        )
        for number in range(count)
    ]

    def answers():
        return {item.id: str(rng.choice(["yes", "no", item.truth["label"], "?"])) for item in items}

    return items, answers(), answers()


def naive_measures(items, answers):
    """Accuracy, precision, recall and F1 of "yes" by loops; NaN where nothing is divided by."""
    right = hits = claimed = asked = 0
    for item in items:
        answer, label = answers[item.id], item.truth["label"]
        right += answer == label
        hits += answer == label == "yes"
        claimed += answer == "yes"
        asked += label == "yes"
    precision = hits / claimed if claimed else math.nan
    recall = hits / asked if asked else math.nan
    total = precision + recall
    return {
        "accuracy": right / len(items) if items else math.nan,
        "precision": precision,
        "recall": recall,
        "f1": 0.0 if total == 0 else 2 * precision * recall / total,
    }


def drawn_samples(items, resamples, seed):
    """Return the items as they are, and then samples: units drawn with replacement, each with all of its items."""
    units = sorted({item.unit for item in items})
    rng = np.random.default_rng(seed)
    samples = [list(items)]
    for times in rng.multinomial(len(units), [1 / len(units)] * len(units), size=resamples):
        sample = []
        for unit, count in zip(units, times, strict=True):
            for _ in range(count):
                sample += [item for item in items if item.unit == unit]
        samples.append(sample)
    return samples


def naive_scores(protocol, items, answers, resamples, seed):
    groups = list(dict.fromkeys(item.group for item in items))
    found = {}
    for sample in drawn_samples(items, resamples, seed):
        rows = {group: naive_measures([item for item in sample if item.group == group], answers) for group in groups}
        if len(groups) > 1 and protocol.average == "groups":
            rows[ALL] = {name: sum(rows[group][name] for group in groups) / len(groups) for name in rows[groups[0]]}
        elif len(groups) > 1:
            rows[ALL] = naive_measures(sample, answers)
        for group, row in rows.items():
            for name, value in row.items():
                found.setdefault(group, {}).setdefault(name, []).append(value)
    return found


def naive_interval(values):
    finite = [value for value in values[1:] if not math.isnan(value)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite else (math.nan, math.nan)
    return values[0], low, high


@pytest.mark.parametrize("protocol", [Exact(), ByGroup()], ids=["items", "groups"])
@pytest.mark.parametrize("seed", range(4))
def test_intervals_are_those_of_loops_over_drawn_units(protocol, seed):
    items, answers, _ = made(seed)
    found = score(protocol, items, answers, resamples=RESAMPLES, seed=seed)
    naive = naive_scores(protocol, items, answers, RESAMPLES, seed)
    assert found.keys() == naive.keys()
    for group, row in naive.items():
        for name, values in row.items():
            assert found[group][name] == pytest.approx(naive_interval(values), abs=1e-12, nan_ok=True), (group, name)


@pytest.mark.parametrize("protocol", [Exact(), ByGroup()], ids=["items", "groups"])
def test_differences_are_taken_within_each_sample(protocol):
    items, first, second = made(9)
    found = differences(protocol, items, first, second, resamples=RESAMPLES, seed=3)
    one, two = (naive_scores(protocol, items, answers, RESAMPLES, 3) for answers in (first, second))
    for group, row in one.items():
        for name in row:
            values = [b - a for a, b in zip(one[group][name], two[group][name], strict=True)]
            assert found[group][name] == pytest.approx(naive_interval(values), abs=1e-12, nan_ok=True), (group, name)
    assert found["random"]["accuracy"] != pytest.approx((0, 0, 0))


def test_the_same_answers_do_not_differ():
    items, answers, _ = made(2)
    found = differences(Exact(), items, answers, answers, resamples=20)
    assert all(value in (0, pytest.approx(0)) for row in found.values() for value in row["accuracy"])


def test_questions_about_one_image_are_drawn_together():
    """With copies of each question in one unit the interval stays as wide; drawn alone it would shrink."""
    alone = [Item(id=f"{i}", question="?", truth={"label": "yes" if i % 2 else "no"}, unit=f"{i}") for i in range(30)]
    copies = [
        Item(id=f"{one.id}-{copy}", question="?", truth=one.truth, unit=one.unit) for one in alone for copy in range(9)
    ]
    answers = {item.id: "yes" for item in (*alone, *copies)}
    narrow = [Item(id=item.id, question="?", truth=item.truth) for item in copies]
    widths = []
    for items in (alone, copies, narrow):
        _, low, high = score(Exact(), items, answers, resamples=200)["all"]["accuracy"]
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] < widths[0] / 2


def test_a_group_has_no_row_of_all_groups_beside_it():
    items, answers, _ = made(1, groups=("only",))
    assert list(score(Exact(), items, answers, resamples=2)) == ["only"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_a_binomial_test_of_the_questions_that_differ(pairs):
    items = [Item(id=str(i), question="?", truth={"label": "yes"}) for i in range(len(pairs))]
    first, second = ({str(i): "yes" if pair[side] else "no" for i, pair in enumerate(pairs)} for side in (0, 1))
    found = mcnemar(Exact(), items, first, second)
    gained = sum(not before and after for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    assert (found.gained, found.lost) == (gained, lost)
    tail = binom.cdf(min(gained, lost), gained + lost, 0.5)
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    back = mcnemar(Exact(), items, second, first)
    assert (back.gained, back.lost, back.p) == (lost, gained, pytest.approx(found.p))


def test_mcnemar_of_a_known_table():
    """Six gained and one lost: 2 (1 + 7) / 2^7."""
    items = [Item(id=str(i), question="?", truth={"label": "no"}) for i in range(20)]
    first = {str(i): "yes" if i < 6 else "no" for i in range(20)}
    second = {str(i): "yes" if i == 10 else "no" for i in range(20)}
    found = mcnemar(Exact(), items, first, second)
    assert (found.gained, found.lost) == (6, 1)
    assert found.p == pytest.approx(16 / 128)


def test_there_is_no_test_where_no_answer_is_simply_right():
    items, first, second = made(0)
    assert mcnemar(Length(), items, first, second) is None
    assert score(Length(), items, first, resamples=2)[ALL]["length"][0] == pytest.approx(
        sum(map(len, first.values())) / len(first)
    )


def test_items_without_an_answer_are_named():
    items, answers, _ = made(0)
    del answers["7"]
    with pytest.raises(ValueError, match=r"1 of 60 items have no answer; the first is \['7'\]"):
        score(Exact(), items, answers)
    with pytest.raises(ValueError, match="0 of 0 items"):
        score(Exact(), [], {})


def test_a_protocol_that_counts_different_things_is_a_fault_of_the_protocol():
    class Uneven(Exact):
        def count(self, item, answer, parser):
            return {"right": 1.0} if item.id == "0" else {"wrong": 1.0}

    items, answers, _ = made(0)
    with pytest.raises(RuntimeError, match="counts different things"):
        score(Uneven(), items, answers)


def test_ratios_and_harmonic_means_at_zero():
    assert np.isnan(ratio(np.array([0.0]), np.array([0.0]))).all()
    assert harmonic(np.array([0.0, 0.5, np.nan]), np.array([0.0, 1.0, 1.0])) == pytest.approx(
        [0.0, 2 / 3, np.nan], nan_ok=True
    )
