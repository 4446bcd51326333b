"""Several kinds of replacement: each with its own column, and whether they order methods alike."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import spearmanr
from support.comparisons import example
from support.families import FAMILIES

import lime_xai
from lime_xai.evaluation.attributions.summary import Summary

METHODS = ["attnlrp", "gradient_input", "saliency", "feature_ablation"]


@pytest.fixture(scope="module")
def found():
    model, _, _ = FAMILIES["llava"].build()
    examples = [example("llava", row=row) for row in range(3)]
    kinds = ("deletion", "mean", "zero")
    return lime_xai.compare_attributions(
        model, examples, METHODS, ["delta_a", "sufficiency", "mm_shap", "residual"], replacement=kinds, progress=False
    )


def test_every_pair_of_kinds_has_its_rank_correlation(found):
    pairs = [(one.metric, one.kinds) for one in found.replacement_agreement]
    kinds = [("deletion", "mean"), ("deletion", "zero"), ("mean", "zero")]
    assert pairs == [(metric, pair) for metric in ("delta_a", "sufficiency") for pair in kinds]
    for one in found.replacement_agreement:
        columns = [one.metric if kind == "deletion" else f"{one.metric}@{kind}" for kind in one.kinds]
        means = [[found.values[method][column].mean() for method in METHODS] for column in columns]
        assert one.correlation.mean == pytest.approx(spearmanr(*means).statistic)
        assert one.correlation.low <= one.correlation.mean <= one.correlation.high
        pick = max if one.metric == "delta_a" else min
        for names, values in zip(one.best, means, strict=True):
            assert names == tuple(m for m, v in zip(METHODS, values, strict=True) if v == pick(values))


def test_reports_say_which_kinds_agree(found):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert "order of the methods, by kind of replacement" in text
    assert "deletion / mean" in text
    data = found.to_dict()["replacement_agreement"]
    assert [one["kinds"] for one in data[:2]] == [["deletion", "mean"], ["deletion", "zero"]]
    assert set(data[0]["correlation"]) == {"mean", "low", "high", "examples"}


def test_kinds_that_disagree_are_seen_and_one_kind_has_no_agreement():
    values = {
        "a": {"delta_a": np.array([3.0, 3.0]), "delta_a@mean": np.array([1.0, 1.0])},
        "b": {"delta_a": np.array([2.0, 2.0]), "delta_a@mean": np.array([2.0, 2.0])},
        "c": {"delta_a": np.array([1.0, 1.0]), "delta_a@mean": np.array([3.0, 3.0])},
    }
    (one,) = Summary(
        ("a", "b", "c"), ("delta_a", "delta_a@mean"), (0, 1), values, ("deletion", "mean")
    ).replacement_agreement
    assert one.correlation.mean == pytest.approx(-1)
    assert one.best == (("a",), ("c",))
    assert not one.same_best
    assert Summary(("a", "b", "c"), ("delta_a",), (0, 1), values, ("deletion",)).replacement_agreement == []
