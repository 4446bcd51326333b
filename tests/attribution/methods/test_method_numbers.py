"""What the methods beside LRP compute: Captum's equal Captum's own, the others their definitions, in float64."""

from itertools import pairwise

import captum.attr
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from support import method_oracles as naive
from support.families import FAMILIES
from support.recordings import posed

import lime_xai
from lime_xai.attribution.groups import Groups, group_tokens
from lime_xai.attribution.methods.ablation import FeatureAblation, Occlusion
from lime_xai.attribution.methods.eagle import Eagle
from lime_xai.attribution.methods.integrated import GradientShap, IntegratedGradients
from lime_xai.attribution.methods.registry import METHODS
from lime_xai.attribution.methods.shapley import KernelShap, ShapleyValueSampling, _WeightedLeastSquares
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import perturbed, perturbed_values, replacement, substitute_of
from lime_xai.model.modalities import modality_masks

TOKEN = 47
EXACT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture
def case(request, float64_norms):
    """A float64 model, its inputs, the prompt as an independent function, its image mask and its groups."""

    def make(family):
        model, inputs, _ = FAMILIES[family].build()
        if family.endswith("_moe"):
            model.set_experts_implementation("eager")
        float64_norms(model)
        inputs = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
        (problem,), _ = posed(model, inputs, TOKEN)
        groups = group_tokens(problem, most=2)
        image = modality_masks(model.config, inputs["input_ids"])["image"][0]
        return model, inputs, naive.Row(model, inputs), image, groups

    return make


def attributed(model, inputs, method, groups=None):
    return lime_xai.attribute(model, inputs, TOKEN, method, groups=groups).relevance[0].double()


def asking(row):
    return tuple(item.clone().requires_grad_() for item in row.inputs)


FAMILIES_HERE = pytest.mark.parametrize("family", ["llava", "qwen3_vl"])


@FAMILIES_HERE
def test_gradients_are_captums(family, case):
    model, inputs, row, _, _ = case(family)
    found = captum.attr.Saliency(row.logit(TOKEN)).attribute(asking(row))
    torch.testing.assert_close(attributed(model, inputs, "saliency"), naive.summed(row, found), **EXACT)
    found = captum.attr.InputXGradient(row.logit(TOKEN)).attribute(asking(row))
    torch.testing.assert_close(attributed(model, inputs, "input_x_gradient"), naive.summed(row, found), **EXACT)
    lrp = attributed(model, inputs, "gradient_input")
    torch.testing.assert_close(attributed(model, inputs, "input_x_gradient"), lrp, **EXACT)


@FAMILIES_HERE
def test_integrated_gradients_and_gradient_shap_are_captums(family, case):
    model, inputs, row, image, groups = case(family)
    start = naive.mean_replaced(row, image, groups.ids)
    found = captum.attr.IntegratedGradients(row.logit(TOKEN)).attribute(asking(row), baselines=start, n_steps=32)
    torch.testing.assert_close(attributed(model, inputs, "integrated_gradients"), naive.summed(row, found), **EXACT)
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002
    found = captum.attr.GradientShap(row.logit(TOKEN)).attribute(asking(row), baselines=start, n_samples=6)
    method = GradientShap(samples=6, seed=4)
    torch.testing.assert_close(attributed(model, inputs, method), naive.summed(row, found), **EXACT)


@FAMILIES_HERE
@pytest.mark.parametrize(
    ("method", "name", "settings"),
    [
        (FeatureAblation(), "FeatureAblation", {}),
        (ShapleyValueSampling(samples=4, seed=2), "ShapleyValueSampling", {"n_samples": 4}),
        (KernelShap(samples=20, seed=2), "KernelShap", {"n_samples": 20}),  # fewer than there are subsets
    ],
    ids=["feature_ablation", "shapley_value_sampling", "kernel_shap"],
)
def test_perturbations_are_captums_with_groups_as_feature_masks_on_embeddings(family, method, name, settings, case):
    model, inputs, row, image, groups = case(family)
    torch.manual_seed(2)
    with torch.no_grad():
        found = getattr(captum.attr, name)(row.logit(TOKEN)).attribute(
            row.inputs,
            baselines=naive.mean_replaced(row, image, groups.ids),
            feature_mask=naive.feature_masks(row, groups.ids),
            **settings,
        )
    torch.testing.assert_close(attributed(model, inputs, method, groups), naive.shared(found, groups.ids), **EXACT)


@pytest.mark.parametrize("groups", [2, 5, 36, 64])
@pytest.mark.parametrize("relation", [0.05, 0.5, 1, 1.03, 2, 10])
def test_the_least_squares_of_kernel_shap_are_scikit_learns(groups, relation):
    samples = max(2, round(relation * groups))
    generator = torch.Generator().manual_seed(samples)
    features = (torch.rand(samples, groups, generator=generator) > 0.5).float()
    values, weights = torch.randn(samples, generator=generator), torch.rand(samples, generator=generator) + 0.1
    wanted, found = SkLearnLinearRegression(), _WeightedLeastSquares()
    wanted.fit([(features, values, weights)])
    found.fit([(features, values, weights)])
    torch.testing.assert_close(found.representation(), wanted.representation(), rtol=1e-4, atol=1e-5)


@FAMILIES_HERE
@pytest.mark.parametrize(("window", "stride"), [(3, 1), (2, 2), (1, 1), (50, 1)])
def test_perturbations_are_what_they_say(family, window, stride, case):
    model, inputs, row, image, groups = case(family)
    count = len(groups)
    value = naive.game(row.logit(TOKEN), row, naive.mean_replaced(row, image, groups.ids), groups.ids)
    expected = groups.spread(torch.tensor(naive.occlusion(value, count, min(window, count), stride)).double())
    method = Occlusion(window=window, stride=stride)
    torch.testing.assert_close(attributed(model, inputs, method, groups), expected, **EXACT)
    if window == 1:
        expected = groups.spread(torch.tensor(naive.ablation(value, count)).double())
        torch.testing.assert_close(attributed(model, inputs, "feature_ablation", groups), expected, **EXACT)


def test_shapley_values_come_near_the_exact_ones(case):
    model, inputs, row, image, groups = case("llava")
    value = naive.game(row.logit(TOKEN), row, naive.mean_replaced(row, image, groups.ids), groups.ids)
    exact = torch.tensor(naive.shapley(value, len(groups))).double()
    span = float(exact.abs().max())
    for method in (ShapleyValueSampling(samples=400), KernelShap(samples=1500)):
        found = groups.sums(attributed(model, inputs, method, groups))
        assert float((found - exact).abs().max()) < 0.1 * span
        assert float(found.sum()) == pytest.approx(value(range(len(groups))) - value(()), abs=1e-4)


@FAMILIES_HERE
def test_integrated_gradients_are_complete(family, case):
    model, inputs, row, image, groups = case(family)
    value = naive.game(row.logit(TOKEN), row, naive.mean_replaced(row, image, groups.ids), groups.ids)
    found = attributed(model, inputs, IntegratedGradients(steps=200))
    assert float(found.sum()) == pytest.approx(value(range(len(groups))) - value(()), abs=1e-5)
    assert not found[groups.ids < 0].any()


@FAMILIES_HERE
def test_integrated_gradients_say_how_far_their_sum_is_off_and_take_more_points(family, case):
    model, inputs, row, image, groups = case(family)
    value = naive.game(row.logit(TOKEN), row, naive.mean_replaced(row, image, groups.ids), groups.ids)
    change = value(range(len(groups))) - value(())
    coarse = lime_xai.attribute(model, inputs, TOKEN, IntegratedGradients(steps=1, tolerance=None))
    error = float(coarse.relevance.double().sum()) - change
    assert float(coarse.convergence_delta) == pytest.approx(error, abs=1e-5)
    assert abs(error) > 1e-3 * abs(change)
    method = IntegratedGradients(steps=1, tolerance=1e-3)
    fine = lime_xai.attribute(model, inputs, TOKEN, method)
    assert abs(float(fine.convergence_delta)) <= 1e-3 * abs(change) + 1e-6
    with pytest.warns(UserWarning, match=r"relevance sums to .* after 1 steps. Raise most \(now 1\)"):
        lime_xai.attribute(model, inputs, TOKEN, IntegratedGradients(steps=1, tolerance=1e-3, most=1))
    shap = lime_xai.attribute(model, inputs, TOKEN, GradientShap(samples=3))
    assert float(shap.convergence_delta) == pytest.approx(float(shap.relevance.double().sum()) - change, abs=1e-5)
    assert lime_xai.attribute(model, inputs, TOKEN, "attnlrp").convergence_delta is None


def test_points_are_added_up_to_the_limit():
    attempts = [
        list(IntegratedGradients(**found)._attempts()) for found in ({}, {"most": 100}, {"limit": 200}, {"limit": 40})
    ]
    assert attempts == [[32, 128, 512], [32, 100], [32, 128], [32]]


@FAMILIES_HERE
@pytest.mark.parametrize("replacement", ["mean", "deletion"])
def test_few_groups_get_their_exact_shapley_values(family, replacement, case):
    model, inputs, _, _, groups = case(family)
    (problem,), _ = posed(model, inputs, TOKEN)
    few = Groups(torch.where(groups.ids < 4, groups.ids, -1), groups.names[:4])
    substitute = substitute_of(problem, replacement)

    def value(members):
        kept = torch.tensor([[int(g) < 0 or int(g) in set(members) for g in few.ids]])
        with torch.no_grad():
            return float(perturbed_values(problem, kept, substitute)[0, 0])

    exact = torch.tensor(naive.shapley(value, 4)).double()
    for method in (
        KernelShap(samples=16, replacement=replacement),
        ShapleyValueSampling(samples=4, replacement=replacement),
    ):
        assert method.passes(problem, few) == 16
        torch.testing.assert_close(few.sums(attributed(model, inputs, method, few)), exact, rtol=1e-5, atol=1e-5)


class Linear(Problem):
    """A row whose explained values are linear in the embeddings."""

    def values(self, *inputs):
        weights = torch.randn(self.inputs[0].shape[1:], generator=torch.Generator().manual_seed(1))
        return (inputs[0] * weights).sum((1, 2))[:, None]


def test_on_a_linear_function_all_that_replace_agree():
    model, inputs, _ = FAMILIES["llava"].build()
    (problem,), _ = posed(model, inputs, TOKEN)
    linear, groups = Linear(**vars(problem)), group_tokens(problem, most=2)
    whole = perturbed(problem, torch.ones(1, len(groups.ids), dtype=torch.bool), replacement(problem))
    alone = [
        torch.where((groups.ids == g)[None, :, None], replacement(problem)[0], whole[0]) for g in range(len(groups))
    ]
    expected = torch.stack([linear.values(*whole)[0, 0] - linear.values(mixed)[0, 0] for mixed in alone])
    for name in ("integrated_gradients", "gradient_shap", "feature_ablation", "shapley_value_sampling", "kernel_shap"):
        found = groups.sums(METHODS[name]().relevance(linear, groups, 0))
        torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3)


@FAMILIES_HERE
def test_eagle_chooses_as_a_naive_greedy_search_does(family, case):
    model, inputs, row, image, groups = case(family)
    value = naive.game(row.probability(TOKEN), row, naive.mean_replaced(row, image, groups.ids), groups.ids)
    order, objective = naive.eagle(value, len(groups))
    found = groups.sums(attributed(model, inputs, "eagle", groups))
    assert all(float(found[a]) >= float(found[b]) - 1e-9 for a, b in pairwise(order))
    assert float(found.sum()) == pytest.approx(objective[-1] - value(()), abs=1e-7)
    few = groups.sums(attributed(model, inputs, Eagle(most=2), groups))
    assert sorted(few.nonzero()[:, 0].tolist()) == sorted(order[:2])
    assert float(few.sum()) == pytest.approx(objective[2] - value(()), abs=1e-7)


class Switches(Problem):
    """A row whose token is likely only if its positions 1 and 2 are both there, and unlikely if 3 is."""

    def logits(self, *inputs):
        there = (inputs[0] == self.inputs[0]).all(-1).float()
        score = 4 * there[:, 1] * there[:, 2] - 2 * there[:, 5] + 0.5 * there[:, 6]
        found = torch.zeros(len(there), 1, 128)
        found[:, 0, TOKEN] = score
        return found


def test_eagle_gives_what_acts_together_the_same_and_what_hinders_less_than_nothing():
    model, inputs, _ = FAMILIES["llava"].build()
    (problem,), _ = posed(model, inputs, TOKEN)
    ids = torch.full((len(problem.input_ids),), -1)
    ids[[1, 2, 5, 6]] = torch.arange(4)
    groups = Groups(ids, ("first", "second", "hinders", "helps"))
    found = groups.sums(Eagle().relevance(Switches(**vars(problem)), groups, 0))
    assert float(found[0]) == pytest.approx(float(found[1]))
    assert found[0] > found[3] > 0 > found[2]


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (2, 2), (1, 1)])
def test_occlusion_is_captums_with_windows_of_positions_on_embeddings(window, stride, case):
    model, inputs, row, image, _ = case("llava")
    positions = image.nonzero()[:, 0]
    start, stop = int(positions[0]), int(positions[-1]) + 1
    ids = torch.full((len(image),), -1)
    ids[start:stop] = torch.arange(stop - start)
    groups = Groups(ids, tuple(f"token {place}" for place in range(stop - start)))
    embeddings, width = row.inputs[0], row.inputs[0].shape[-1]
    (mean,) = naive.mean_replaced(row, image, ids)

    def value(part):
        rows = part.shape[0]
        whole = [embeddings[:, :start].expand(rows, -1, -1), part, embeddings[:, stop:].expand(rows, -1, -1)]
        return row.logit(TOKEN)(torch.cat(whole, 1))

    with torch.no_grad():
        found = captum.attr.Occlusion(value).attribute(
            embeddings[:, start:stop],
            sliding_window_shapes=(window, width),
            strides=(stride, width),
            baselines=mean[:, start:stop],
        )
    method = Occlusion(window=window, stride=stride)
    torch.testing.assert_close(attributed(model, inputs, method, groups)[start:stop], found[0, :, 0].double(), **EXACT)
