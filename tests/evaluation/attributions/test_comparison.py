"""Comparing methods: values, intervals, resuming, tables, figures."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from support.comparisons import example
from support.families import FAMILIES, batch

import lime_xai
from lime_rules import AttnLRP
from lime_xai import Comparison, compare_attributions
from lime_xai.evaluation.attributions.recorded import Settings, record_example
from lime_xai.evaluation.attributions.registry import METRICS
from lime_xai.evaluation.attributions.scored import Scored
from lime_xai.evaluation.attributions.statistics import Clusters
from lime_xai.evaluation.bootstrap import resampling_weights

METHODS = ["attnlrp", "gradient_input"]
CHEAP = ["delta_a", "mass", "perceptual_share", "agreement", "passes"]


def dataset(count=3):
    found = []
    for row in range(count):
        one = example("llava", row=row, cluster=row // 2)
        truth = torch.zeros(one.inputs["input_ids"].shape[1], dtype=torch.bool)
        truth[4 + row % 2] = True
        found.append(replace(one, truth=truth))
    return found


@pytest.fixture(scope="module")
def model():
    return FAMILIES["llava"].build()[0]


@pytest.fixture(scope="module")
def found(model):
    """Every metric of two methods on three examples."""
    return compare_attributions(model, dataset(), METHODS, replacement=("mean", "blur"), progress=False)


def test_every_metric_has_a_value_per_example(found):
    assert found.methods == tuple(METHODS)
    assert found.clusters == (0, 0, 1)
    assert {column.partition("@")[0] for column in found.metrics} == set(METRICS)
    for column in found.metrics:
        values = found.values["attnlrp"][column]
        assert values.shape == (3,)
        assert np.isfinite(values).all() == (column != "memory"), column
    assert found.values["attnlrp"]["agreement"].tolist() == [1, 1, 1]
    assert not np.array_equal(found.values["attnlrp"]["delta_a"], found.values["attnlrp"]["delta_a@blur"])
    assert np.array_equal(found.values["attnlrp"]["mm_shap"], found.values["gradient_input"]["mm_shap"])


def test_a_value_is_the_metric_of_what_attribute_says(model, found):
    one = dataset()[1]
    relevance = lime_xai.attribute(model, one.inputs, 5, "gradient_input").relevance[0]
    (_, _, rows) = record_example(model, one, Settings(None, ("mean", "blur"), 8, 0)).tasks[0]
    for name in ("delta_a", "mass", "comprehensiveness", "residual"):
        wanted = METRICS[name].measure(Scored(rows[0], relevance))
        assert found.values["gradient_input"][name][1] == pytest.approx(wanted, abs=1e-4)
    blurred = METRICS["delta_a"].measure(Scored(rows[1], relevance))
    assert found.values["gradient_input"]["delta_a@blur"][1] == pytest.approx(blurred, abs=1e-4)


def test_intervals_are_bootstrapped_over_clusters_and_differences_are_paired(found):
    first, second = (found.values[method]["delta_a"] for method in METHODS)
    weights = resampling_weights(2)
    means = [float(np.average(second - first, weights=w[[0, 0, 1]])) for w in weights]
    difference = found.differences["gradient_input"]["delta_a"]
    assert difference.mean == pytest.approx(np.mean(second - first))
    assert (difference.low, difference.high) == pytest.approx(tuple(np.quantile(means[1:], [0.025, 0.975])))
    assert difference.examples == 3
    assert found.summary["attnlrp"]["memory"].examples == 0


def test_undefined_values_are_left_out_of_a_mean():
    clusters = Clusters(["a", "a", "b"])
    assert clusters.mean(np.array([1.0, np.nan, 4.0])).mean == 2.5
    assert str(clusters.mean(np.full(3, np.nan))) == "-"


def test_the_best_of_each_column_stands_out(found):
    best = found.best("delta_a")
    means = {method: found.summary[method]["delta_a"].mean for method in METHODS}
    assert best == (max(means, key=means.get),)
    assert found.best("perceptual_share") == ()
    text = found.to_latex(metrics=["delta_a", "perceptual_share"])
    assert text.count(r"\textbf") == 1
    assert r"delta\_a $\uparrow$" in text
    assert r"\toprule" in text
    with pytest.raises(ValueError, match="Unknown metric 'deltaa'"):
        found.to_latex(metrics=["deltaa"])


def test_tables_name_methods_metrics_and_what_was_not_measured(found):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    for fragment in ("gradient_input", "delta_a ↑", "(blur)", "change against attnlrp", "not measured: memory"):
        assert fragment in text


def test_files_hold_what_was_measured(found, tmp_path):
    found.to_json(tmp_path / "a.json")
    again = Comparison.from_json(tmp_path / "a.json")
    assert again.summary["attnlrp"]["delta_a"] == found.summary["attnlrp"]["delta_a"]
    found.to_csv(tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == 2 * len(found.metrics)
    line = next(row for row in rows if row["method"] == "gradient_input" and row["metric"] == "delta_a")
    assert float(line["difference"]) == pytest.approx(found.differences["gradient_input"]["delta_a"].mean, rel=1e-6)
    found.to_latex(tmp_path / "a.tex")
    assert (tmp_path / "a.tex").read_text().startswith(r"\begin{tabular}")
    found.plot().savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_the_figure_has_a_panel_per_main_metric_and_one_for_cost(found, model):
    shown = [axes.get_title() for axes in found.plot().axes if axes.get_title()]
    assert shown[:2] == ["delta_a", "deletion"]
    assert shown[-1] == "faithfulness and cost"
    few = compare_attributions(model, dataset(1), METHODS, ["agreement"], progress=False)
    assert [axes.get_title() for axes in few.plot().axes] == ["agreement"]


def test_the_figure_is_shown_and_saved_with_its_numbers(found, tmp_path):
    figure = found.plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.save(tmp_path / "a.pdf")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    drawn = {axes.get_title() for axes in figure.axes} - {"", "faithfulness and cost"} | {"passes"}
    assert {(row["metric"], row["method"]) for row in rows} == {(m, n) for m in drawn for n in found.summary}
    for row in rows:
        mean = found.summary[row["method"]][row["metric"]]
        assert [float(row[name]) for name in ("value", "low", "high")] == pytest.approx(
            [mean.mean, mean.low, mean.high]
        )


# Resuming ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_comparison_goes_on_and_gives_the_same(model, tmp_path):
    path = tmp_path / "c.json"

    def interrupted():
        yield from dataset()[:2]
        raise KeyboardInterrupt

    settings = {"metrics": CHEAP, "progress": False, "out": path}
    with pytest.raises(KeyboardInterrupt):
        compare_attributions(model, interrupted(), METHODS, **settings)
    held = json.loads(path.read_text())["examples"]
    assert len(held) == 2
    found = compare_attributions(model, dataset(), METHODS, **settings)
    assert list(found.examples[:2]) == held
    whole = compare_attributions(model, dataset(), METHODS, CHEAP, progress=False)
    for column in CHEAP[:-1]:
        for method in METHODS:
            np.testing.assert_array_equal(found.values[method][column], whole.values[method][column])
    assert not list(tmp_path.glob("*.draft"))
    few = compare_attributions(model, dataset(1), METHODS, **settings)
    assert few.clusters == (0,)
    assert len(json.loads(path.read_text())["examples"]) == 3
    assert "summary" in json.loads(path.read_text())


def test_a_file_of_something_else_is_refused(model, tmp_path):
    path = tmp_path / "c.json"
    settings = {"progress": False, "out": path}
    compare_attributions(model, dataset(1), METHODS, CHEAP, **settings)
    with pytest.raises(ValueError, match=r"holds a comparison with {'seed': 0}, asked for was {'seed': 1}"):
        compare_attributions(model, dataset(1), METHODS, CHEAP, seed=1, **settings)
    with pytest.raises(ValueError, match=r"holds a comparison with {'methods'"):
        compare_attributions(model, dataset(1), METHODS[:1], CHEAP, **settings)
    other, _, _ = FAMILIES["llava"].build(seed=4)
    with pytest.raises(ValueError, match=r"holds a comparison with {'weights'"):
        compare_attributions(other, dataset(1), METHODS, CHEAP, **settings)
    with pytest.raises(ValueError, match=r"Example 0 in .* is another one"):
        compare_attributions(model, dataset()[1:], METHODS, CHEAP, **settings)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="holds a JSON list, expected an object"):
        compare_attributions(model, dataset(1), METHODS, CHEAP, **settings)
    path.write_text('{"format": 2, "examples": []}')
    with pytest.raises(ValueError, match="is no comparison of format 1"):
        compare_attributions(model, dataset(1), METHODS, CHEAP, **settings)
    path.write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        Comparison.from_json(path)


# What may be given ---------------------------------------------------------------------------------------------------


def test_one_batch_is_compared_row_by_row():
    model, inputs, _ = batch("llava", 2)
    found = compare_attributions(model, inputs, METHODS, CHEAP[:1], target=[5, 6], progress=False)
    assert len(set(found.clusters)) == 2
    every = compare_attributions(model, inputs, METHODS[:1], target=5, progress=False)
    assert "pointing" not in every.metrics
    assert "delta_a" in every.metrics


def test_methods_may_have_names_of_their_own(model):
    methods = {"mine": AttnLRP(), "theirs": "attnlrp"}
    found = compare_attributions(model, dataset(1), methods, ["delta_a", "agreement"], progress=False)
    assert found.values["theirs"]["agreement"].tolist() == [1]
    np.testing.assert_allclose(found.values["mine"]["delta_a"], found.values["theirs"]["delta_a"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": []}, "methods is empty"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": ["delta"]}, "Did you mean 'delta_a'"),
        ({"replacement": ()}, "replacement is empty"),
        ({"replacement": "means"}, "Did you mean 'mean'"),
        ({"rows_per_pass": 0}, "rows_per_pass is 0"),
        ({"inputs_or_dataset": []}, "has no examples"),
        ({"metrics": ["mass"], "inputs_or_dataset": [example("llava")]}, "mass need a true region and example 0"),
    ],
)
def test_bad_settings_are_refused(model, changes, message):
    arguments = {"inputs_or_dataset": dataset(1), "methods": METHODS, "metrics": CHEAP, "progress": False}
    with pytest.raises(ValueError, match=message):
        compare_attributions(model, **{**arguments, **changes})


def test_a_dataset_of_something_else_is_refused(model):
    with pytest.raises(TypeError, match=r"expected lime_xai\.Example"):
        compare_attributions(model, [{"input_ids": 1}], METHODS, CHEAP, progress=False)


def test_progress_is_shown_where_it_is_asked_for(model):
    console = Console(file=io.StringIO(), force_terminal=True)
    compare_attributions(model, dataset(2), METHODS, ["mass"], progress=console)
    assert "4/4" in console.file.getvalue()


@pytest.mark.parametrize("column", [3, None, torch.ones(2), dict])
def test_a_column_that_is_no_text_is_an_unknown_metric(column):
    rows = [{"cluster": "0", "values": {method: {"delta_a": 0.5} for method in ("a", "b")}}]
    data = {
        "format": 1,
        "header": {"methods": ["a", "b"], "metrics": ["delta_a"]},
        "examples": [{"digest": "0", "rows": rows}],
    }
    with pytest.raises(ValueError, match="Unknown metric"):
        Comparison.of(data).best(column)
