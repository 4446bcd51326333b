"""What a careless comparison would get wrong: answers that leak, ties, NaN, seeds, files of other settings."""

import math

import numpy as np
import pytest
import torch
from support.families import FAMILIES, batch

from lime_xai import Example, attribute, compare_attributions
from lime_xai.attribution.groups import Groups
from lime_xai.attribution.methods.ablation import FeatureAblation
from lime_xai.attribution.methods.shapley import ShapleyValueSampling
from lime_xai.evaluation.attributions.localisation import hits
from lime_xai.evaluation.attributions.registry import METRICS
from lime_xai.evaluation.attributions.statistics import Clusters

PERTURBING = ["feature_ablation", "integrated_gradients", "shapley_value_sampling"]


def example(model, row=0, **settings):
    return Example(FAMILIES["llava"].inputs(model, row), 5, **settings)


def compared(model, data, *args, **settings):
    return compare_attributions(model, data, *args, progress=False, **settings)


@pytest.mark.parametrize("method", PERTURBING)
def test_a_token_is_explained_alike_whatever_follows_it_and_whoever_stands_beside_it(method):
    model, joined, singles = batch("llava", 2)
    ragged = torch.tensor([[5, 6, 7, 50], [5, -100, -100, -100]])
    together = attribute(model, joined, ragged, method).relevance
    alone = attribute(model, singles[1], 5, method).relevance[0]
    length = len(alone)
    padding = joined["input_ids"].shape[1] - length
    torch.testing.assert_close(together[1, 0, padding : padding + length], alone, atol=1e-4, rtol=1e-4)
    longer = attribute(model, singles[1], [5, 60, 61], method).relevance[0, 0]
    torch.testing.assert_close(longer[:length], alone, atol=1e-4, rtol=1e-4)


def test_groups_of_a_user_lose_padding_and_refuse_to_become_empty():
    model, joined, _ = batch("llava", 2)
    length = joined["input_ids"].shape[1]
    wide = Groups(torch.tensor([0] * (length - 3) + [1, 1, -1]), ("first", "rest"))
    found = attribute(model, joined, 5, "feature_ablation", groups=wide).relevance
    padded = joined["attention_mask"] == 0
    assert bool(padded.any())
    assert float(found[padded].abs().max()) == 0
    split = Groups(torch.tensor([0] + [1] * (length - 2) + [-1]), ("padding", "rest"))
    with pytest.raises(ValueError, match=r"The groups \['padding'\] hold no attended position"):
        attribute(model, joined, 5, "feature_ablation", groups=split)


def test_tokens_of_no_place_are_neither_in_a_region_nor_outside():
    """LLaVA-Next's newline tokens; where they are marked as true they count."""
    from dataclasses import replace

    from support.comparisons import measure, prepared

    ready = prepared("llava_next")
    (_, _, (task,)) = ready.tasks[0]
    (layout,) = task.problem.layouts
    assert len(layout.unplaced) == 2
    inside = torch.zeros_like(task.perceptual)
    inside[layout.tiles[0].positions[0]] = True
    relevance = torch.zeros(len(inside))
    relevance[[*layout.unplaced]] = 9.0
    relevance[inside] = 1.0
    from lime_xai.evaluation.attributions.scored import Scored

    scored = Scored(replace(task, truth=inside), relevance)
    assert [measure(name, scored) for name in ("pointing", "mass", "rank")] == [1.0, 1.0, 1.0]
    marked = inside.clone()
    marked[layout.unplaced[0]] = True
    assert measure("mass", Scored(replace(task, truth=marked), relevance)) == 1.0


def test_examples_without_a_region_are_left_out_where_no_metric_is_named():
    model = FAMILIES["llava"].build()[0]
    truth = example(model).inputs["input_ids"][0] == 99
    found = compared(model, [example(model, truth=truth), example(model, 1)], ["gradient_input", "attnlrp"])
    assert found.summary["attnlrp"]["mass"].examples == 1
    assert compared(model, [example(model)], ["gradient_input"]).summary["gradient_input"]["mass"].examples == 0


def test_nan_is_no_score():
    model = FAMILIES["llava"].build()[0]

    class Broken(FeatureAblation):
        def relevance(self, problem, groups, column):
            return torch.full((len(problem.input_ids),), math.nan)

    with pytest.raises(FloatingPointError, match="relevance by feature_ablation is NaN or infinite"):
        compared(model, [example(model)], {"broken": Broken()}, ["delta_a"])


def test_the_seed_reaches_methods_that_draw():
    model = FAMILIES["llava"].build()[0]
    one, same, other = (
        compared(model, [example(model)], "shapley_value_sampling", "delta_a", seed=seed) for seed in (0, 0, 1)
    )
    relevance = [found.values["shapley_value_sampling"]["delta_a"] for found in (one, same, other)]
    assert np.array_equal(relevance[0], relevance[1])
    shares = [
        compared(model, [example(model)], "shapley_value_sampling", "perceptual_share", seed=seed) for seed in (0, 1)
    ]
    assert len({float(s.values["shapley_value_sampling"]["perceptual_share"][0]) for s in shares}) == 2


def test_a_file_of_a_method_with_other_settings_is_refused(tmp_path):
    model, path = FAMILIES["llava"].build()[0], tmp_path / "found.json"
    compared(model, [example(model)], {"shap": ShapleyValueSampling(samples=1)}, "residual", out=path)
    with pytest.raises(ValueError, match=r"found\.json holds a comparison with .*settings"):
        compared(model, [example(model)], {"shap": ShapleyValueSampling(samples=2)}, "residual", out=path)
    with pytest.raises(ValueError, match=r"nowhere is no folder"):
        compared(model, [example(model)], "attnlrp", "residual", out=tmp_path / "nowhere" / "found.json")


def test_unknown_methods_are_named_before_anything_is_measured(monkeypatch):
    model = FAMILIES["llava"].build()[0]
    monkeypatch.setattr(
        "lime_xai.evaluation.attributions.compare.record_example", lambda *args: pytest.fail("measured")
    )
    with pytest.raises(ValueError, match="Did you mean 'attnlrp'"):
        compared(model, [example(model)], ["attnlrp", "attnlpr"])


def test_clusters_may_be_numpys(tmp_path):
    model = FAMILIES["llava"].build()[0]
    found = compared(model, [example(model, cluster=np.int64(3))], "attnlrp", "residual", out=tmp_path / "f.json")
    assert found.clusters == (3,)


@pytest.mark.parametrize(
    ("relevance", "truth", "count", "wanted"),
    [
        ([3, 2, 1, 0], [1, 0, 0, 0], 1, 1.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 1, 0.25),
        ([5, 1, 1, 1], [1, 1, 0, 0], 2, (1 + 1 / 3) / 2),
        ([1, 1, 0, 0], [0, 0, 1, 1], 2, 0.0),
    ],
)
def test_equal_positions_share_what_they_hit(relevance, truth, count, wanted):
    assert hits(torch.tensor(relevance).double(), torch.tensor(truth).bool(), count) == pytest.approx(wanted)


def test_the_median_is_that_of_the_examples():
    values = np.array([1.0, 100.0, 2.0, np.nan, 3.0])
    found = Clusters(list("abcde")).median(values)
    assert (found.mean, found.examples) == (2.0, 4)
    assert found.low <= found.mean <= found.high
    assert Clusters(["a"]).median(np.array([np.nan])).examples == 0
    assert METRICS["passes"].typical == "median"


def test_costs_are_those_of_one_token(monkeypatch):
    model = FAMILIES["llava"].build()[0]
    monkeypatch.setattr("lime_xai.evaluation.attributions.measure.timed", lambda call, device: (call(), 6.0, math.nan))
    answer = Example(FAMILIES["llava"].inputs(model), [5, 6, 7])
    assert compared(model, [answer], "attnlrp", "seconds").values["attnlrp"]["seconds"].tolist() == [2.0]
    assert compared(model, [example(model)], "attnlrp", "seconds").values["attnlrp"]["seconds"].tolist() == [6.0]
