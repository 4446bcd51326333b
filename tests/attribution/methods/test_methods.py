"""Methods beside LRP: each registered one, Captum's against Captum, the others against naive versions."""

import numpy as np
import pytest
import torch
from support.families import FAMILIES, batch
from support.recordings import posed, text_model
from support.states import hooks_of

import lime_xai
from lime_rules import LRP_METHODS
from lime_xai.attribution.groups import group_tokens
from lime_xai.attribution.methods.base import RowMethod
from lime_xai.attribution.methods.lookup import as_method
from lime_xai.attribution.methods.registry import METHODS, method_from_dict, method_to_dict
from lime_xai.evaluation.conformance.state import model_state

ANSWER = [5, 6, 7]
NOT_LINEAR = ("saliency", "eagle")
"""Relevance of several tokens together is not the sum of that of each."""

ONE_PASS = ("saliency", "input_x_gradient", "attention_rollout", "gradient_attention_rollout", "tam", "gradient_shap")
"""Methods without rows to share out, and one that draws its points per pass."""

ROW_METHODS = [name for name in METHODS if name not in LRP_METHODS]
"""Methods that explain one row at a time; LRP explains all rows in one graph."""


def small(name):
    """The method with few samples."""
    settings = {"shapley_value_sampling": {"samples": 3}, "kernel_shap": {"samples": 40}}
    return METHODS[name](**settings.get(name, {}))


@pytest.fixture(scope="module")
def pair():
    return batch("llava", 2)


@pytest.mark.parametrize("name", METHODS)
def test_a_registered_method_is_one_and_goes_to_and_from_a_dict(name):
    method = METHODS[name]()
    assert as_method(method) is method
    assert method.name == name
    assert method_from_dict(method_to_dict(method)) == method
    assert method_to_dict(method)["method"] == name


@pytest.mark.parametrize("name", METHODS)
def test_batch_rows_are_single_rows_and_padding_gets_nothing(name, pair):
    model, inputs, singles = pair
    together = lime_xai.attribute(model, inputs, ANSWER, small(name))
    padding = ~together.attended
    assert together.method == name
    assert together.relevance.shape == (2, 3, inputs["input_ids"].shape[1] + 2)
    assert together.relevance.dtype == torch.float32
    assert together.relevance.isfinite().all()
    assert padding.any()
    assert not together.relevance[padding[:, None].expand_as(together.relevance)].any()
    for row, single in enumerate(singles):
        alone = lime_xai.attribute(model, single, ANSWER, small(name))
        length = alone.relevance.shape[-1]
        torch.testing.assert_close(together.relevance[row, :, -length:], alone.relevance[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_an_answer_is_attributed_by_token_or_as_their_sum(name, pair):
    model, _, singles = pair
    each = lime_xai.attribute(model, singles[0], ANSWER, small(name))
    whole = lime_xai.attribute(model, singles[0], ANSWER, small(name), per_token=False)
    assert whole.relevance.shape == each.relevance[:, 0].shape
    assert whole.logits.shape == (1,)
    torch.testing.assert_close(whole.logits, each.logits.sum(-1))
    if name not in NOT_LINEAR:
        torch.testing.assert_close(whole.relevance, each.relevance.sum(1), rtol=1e-3, atol=1e-4)
    prompt = singles[0]["input_ids"].shape[1]
    if name not in ("saliency", "input_x_gradient"):
        assert not each.relevance[0, 0, prompt:].any()  # the first token owes nothing to those after it


@pytest.mark.parametrize("name", METHODS)
def test_a_token_behind_the_end_of_an_answer_has_no_relevance(name, pair):
    model, inputs, _ = pair
    found = lime_xai.attribute(model, inputs, torch.tensor([[5, 6], [5, -100]]), small(name))
    assert not found.relevance[1, 1].any()
    assert found.relevance[0, 1].any()
    assert float(found.logits[1, 1]) == 0


@pytest.mark.parametrize("name", METHODS)
def test_a_margin_and_the_same_numbers_twice_with_generators_as_they_were(name, pair):
    model, _, singles = pair
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    first = lime_xai.attribute(model, singles[0], (5, 9), small(name))
    after = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1][1], after[1][1])
    torch.rand(5)
    assert torch.equal(lime_xai.attribute(model, singles[0], (5, 9), small(name)).relevance, first.relevance)
    assert first.relevance.any()
    if name not in (*NOT_LINEAR, "attention_rollout", "gradient_attention_rollout", "tam"):
        both = [lime_xai.attribute(model, singles[0], token, small(name)).relevance for token in (5, 9)]
        torch.testing.assert_close(first.relevance, both[0] - both[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_model_is_as_it_was_also_after_an_exception(name):
    model, inputs, _ = FAMILIES["llava"].build()
    model.requires_grad_(True)
    before, weights = model_state(model), {key: value.clone() for key, value in model.state_dict().items()}
    lime_xai.attribute(model, inputs, 5, small(name))
    calls = []

    def fail(module, args, kwargs):
        calls.append(module)
        if len(calls) > (name not in LRP_METHODS):  # the first call of other methods computes the model's own logits
            raise KeyboardInterrupt

    handle = model.model.language_model.layers[-1].register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(KeyboardInterrupt):
        lime_xai.attribute(model, inputs, 5, small(name))
    handle.remove()
    assert hooks_of(model) == []
    assert model_state(model) == before
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ROW_METHODS)
def test_passes_counts_the_rows_that_are_run(name, pair):
    model, _, singles = pair
    (problem,), _ = posed(model, singles[1], 5)
    groups, method = group_tokens(problem), small(name)
    rows = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(kwargs["inputs_embeds"].shape[0]), with_kwargs=True
    )
    try:
        method.relevance(problem, groups, None)  # gradients and a stream are probed once per model with its hooks
        rows.clear()
        method.relevance(problem, groups, None)
    finally:
        handle.remove()
    assert sum(rows) == method.passes(problem, groups)
    assert max(rows) <= getattr(method, "rows_per_pass", 1) + 1


@pytest.mark.parametrize("name", [name for name in ROW_METHODS if name not in ONE_PASS])
def test_how_many_rows_run_together_changes_nothing(name, pair):
    model, _, singles = pair
    found = [
        lime_xai.attribute(model, singles[1], 5, method_from_dict({**method_to_dict(small(name)), "rows_per_pass": n}))
        for n in (1, 5)
    ]
    torch.testing.assert_close(found[0].relevance, found[1].relevance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_audio", "gemma3"])
def test_other_families(family, name):
    model, inputs, _ = FAMILIES[family].build()
    found = lime_xai.attribute(model, inputs, 5, small(name))
    assert found.relevance.shape == inputs["input_ids"].shape
    assert found.relevance.isfinite().all()
    assert found.relevance.any()


def test_a_method_of_ones_own(pair):
    class Last(RowMethod):
        name = "last"

        def passes(self, problem, groups):
            return 0

        def relevance(self, problem, groups, column):
            return torch.eye(len(problem.input_ids))[-1]

    model, inputs, _ = pair
    found = lime_xai.attribute(model, inputs, 5, Last())
    assert found.method == "last"
    assert found.relevance[:, -1].tolist() == [1, 1]


def test_a_bar_only_if_it_is_asked_for(pair, capsys):
    model, inputs, _ = pair
    lime_xai.attribute(model, inputs, 5, "feature_ablation")
    assert capsys.readouterr() == ("", "")
    lime_xai.attribute(model, inputs, 5, "feature_ablation", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "feature_ablation" in err
    assert "100%" in err


@pytest.mark.parametrize("name", METHODS)
def test_half_precision_and_inference_mode(name):
    model, inputs, _ = FAMILIES["llava"].build()
    model.bfloat16()
    inputs = {key: value.bfloat16() if value.is_floating_point() else value for key, value in inputs.items()}
    with torch.inference_mode():
        found = lime_xai.attribute(model, inputs, (5, 9), small(name))
    assert found.relevance.dtype == torch.float32
    assert found.relevance.isfinite().all()
    assert found.relevance.any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("target", [5, [5, 6]], ids=["token", "answer"])
def test_text_alone(name, target):
    model, inputs = text_model()
    found = lime_xai.attribute(model, inputs, target, small(name))
    assert found.relevance.isfinite().all()
    assert found.relevance.any()
    assert list(found.shares) == ["text"]
