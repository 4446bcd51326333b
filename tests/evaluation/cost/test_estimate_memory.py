"""``lime_xai.estimate_memory``: parts that can be counted, measured peaks, and what is refused."""

import pytest
import torch
from support.families import FAMILIES
from transformers import LlavaForConditionalGeneration

import lime_xai
from benchmarks import memory
from benchmarks.random_models import Shape, prompt_of, random_llava
from lime_xai import Contrast, Edit, Observe, Reweight
from lime_xai.evaluation.cost.memory import estimate_memory
from lime_xai.evaluation.cost.sizes import Sizes, weight_bytes

SHAPE = Shape(64, 96, 3, 4, 2, image=40, text=10, vocabulary=300)


@pytest.fixture(scope="module")
def asked():
    model = random_llava(SHAPE)
    return model, prompt_of(model, SHAPE)


def test_weights_and_cache_are_counted(asked):
    model, inputs = asked
    found = estimate_memory(model, inputs, max_new_tokens=4)
    assert found.weights == sum(one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers()))
    cache = model.generate(**inputs, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, eos_token_id=None)
    held = getattr(cache, "cache", None) or cache.past_key_values
    assert found.cache == sum(layer.keys.nbytes + layer.values.nbytes for layer in held.layers)
    assert (found.optimiser, found.branch) == (0, 0)


def test_a_model_without_weights_has_the_same_estimate(asked):
    model, inputs = asked
    found = estimate_memory(model, inputs, "paper")
    assert estimate_memory(random_llava(SHAPE, device="meta"), inputs, "paper") == found


def test_weights_that_share_a_storage_count_once():
    model = random_llava(SHAPE)
    before, table = weight_bytes(model), model.get_input_embeddings().weight
    model.get_output_embeddings().weight = table
    assert weight_bytes(model) == before - table.nbytes


def test_the_optimiser_of_free_deltas_has_four_numbers_for_each_of_the_cache(asked):
    model, inputs = asked
    found = estimate_memory(model, inputs, Edit.paper(), max_new_tokens=4)
    assert found.optimiser == 4 * found.cache
    assert estimate_memory(model, inputs, Edit(steps=0), max_new_tokens=4).optimiser == 0


@pytest.mark.parametrize(
    ("policy", "kwargs", "says"),
    [
        (Observe(), {}, "The memory of Observe is not estimated"),
        (Reweight(direction="backward"), {}, "The memory of Reweight is not estimated"),
        (Edit(scope="sequence"), {}, r"this kind of policy \(edit, sequence, gain\)"),
        ([Edit(), Contrast()], {}, "2 policies together"),
        (None, {"max_new_tokens": 0}, "max_new_tokens is 0"),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(asked, policy, kwargs, says):
    with pytest.raises(ValueError, match=says):
        lime_xai.estimate_memory(*asked, policy, **kwargs)


def test_weights_of_another_type_are_refused(asked):
    _, inputs = asked
    with pytest.raises(ValueError, match="weights in float64"):
        estimate_memory(random_llava(SHAPE, dtype=torch.float64), inputs)


def test_a_decoder_with_experts_is_refused(asked, monkeypatch):
    model, inputs = asked
    monkeypatch.setattr(model.config.get_text_config(), "num_experts", 8, raising=False)
    with pytest.raises(ValueError, match=r"LlavaForConditionalGeneration is not estimated: it has experts"):
        Sizes.of(model, inputs, 4)
    assert isinstance(model, LlavaForConditionalGeneration)


def test_a_decoder_whose_layers_have_different_sizes_is_refused():
    model, inputs, _ = FAMILIES["gemma4"].build()
    with pytest.raises(ValueError, match=r"Gemma4\w+ is not estimated: its layers have different sizes \(.*head_dim"):
        estimate_memory(model, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_memory_of_a_counterfactual_is_near_its_measured_peak(dtype):
    shape = memory.CHECKED["random, 9 layers"]
    model = random_llava(shape, dtype=dtype)
    inputs, policy = prompt_of(model, shape), Contrast("counterfactual")
    other = {**inputs, "pixel_values": torch.zeros_like(inputs["pixel_values"])}

    def answer(model, per_token):
        asked = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
        lime_xai.steer(model, inputs, policy, counterfactual=other, **asked)

    estimate = estimate_memory(model, inputs, policy, max_new_tokens=3)
    truth = memory.measured_of(model, answer)
    assert abs((estimate.total - estimate.weights) / truth - 1) < 0.2
    assert estimate.branch > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_estimates_are_near_measured_peaks(dtype):
    """Models that had no part in the fit; peaks with weights."""
    for row in memory.check(dtype):
        assert abs(row["error"]) < 0.2, row
