"""Rollouts of attention, token activation maps and the stream: against naive versions and backward passes."""

import pytest
import torch
from support import method_oracles as naive
from support.families import FAMILIES, batch
from support.recordings import posed

import lime_xai
from lime_xai.attribution.groups import group_tokens
from lime_xai.attribution.methods.stream import StreamRelevance
from lime_xai.attribution.methods.tam import TokenActivationMap, rank_gaussian, without_interference
from lime_xai.model.modalities import modality_masks

TOKEN = 47


@pytest.mark.parametrize("family", ["llava", "llava_mistral_sliding", "qwen3_vl"])
def test_rollouts_are_products_of_transformers_own_attentions(family):
    """Three tokens of an answer, against one plain pass over prompt and answer."""
    model, inputs, _ = FAMILIES[family].build()
    answer = [5, 6, 7]
    plain = lime_xai.attribute(model, inputs, answer, "attention_rollout").relevance[0]
    weighted = lime_xai.attribute(model, inputs, answer, "gradient_attention_rollout").relevance[0]
    grown = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_grid_thw")}
    grown["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer[:-1]])], 1)
    grown["attention_mask"] = torch.ones_like(grown["input_ids"])
    if "mm_token_type_ids" in inputs:
        grown["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, 2))
    model.set_attn_implementation("eager")
    model.requires_grad_(True)
    output = model(**grown, output_attentions=True)
    for index, token in enumerate(answer):
        position = inputs["input_ids"].shape[1] - 1 + index
        value = output.logits[0, position, token]
        gradients = torch.autograd.grad(value, output.attentions, retain_graph=True)
        attentions = [item[0].detach() for item in output.attentions]
        expected = naive.rollout(attentions, position)
        torch.testing.assert_close(plain[index], expected, rtol=1e-4, atol=1e-6)
        expected = naive.gradient_rollout(attentions, [item[0] for item in gradients], position)
        torch.testing.assert_close(weighted[index], expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(plain.sum(-1), torch.ones(3))


@pytest.mark.parametrize(("window", "sigma"), [(3, 1.0), (1, 1.0), (3, 2.5)])
def test_token_activation_maps_are_what_they_say(window, sigma):
    model, inputs, _ = FAMILIES["llava"].build()
    ids, seen = inputs["input_ids"][0], []
    handle = model.lm_head.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    image = modality_masks(model.config, ids[None])["image"][0].tolist()
    expected = naive.token_activation(
        seen[0], model.lm_head.weight.detach(), ids, image, TOKEN, len(ids) - 1, window, sigma
    )
    method = TokenActivationMap(window=window, sigma=sigma)
    found = lime_xai.attribute(model, inputs, TOKEN, method).relevance[0]
    assert found[torch.tensor(image)].any()
    torch.testing.assert_close(found.double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_what_the_context_explains_leaves_nothing_and_the_filter_is_a_soft_median():
    noise = torch.tensor([1.0, 2.0, 3.0])
    assert not without_interference(2 * noise, noise).any()
    assert torch.equal(without_interference(noise, -noise), noise)
    spike = torch.tensor([0.0, 0.0, 9.0, 0.0, 0.0])
    assert rank_gaussian(spike, None, 3, 0.1).tolist() == pytest.approx([0] * 5)
    torch.testing.assert_close(rank_gaussian(torch.ones(9), (3, 3), 3, 1.0), torch.ones(9))
    assert rank_gaussian(torch.arange(5.0), None, 3, 0.1).tolist() == pytest.approx([0, 1, 2, 3, 4])


@pytest.mark.parametrize("name", ["llava", "qwen2_audio"])
@pytest.mark.parametrize("composite", ["attnlrp", "gradient_input"])
def test_the_stream_gives_groups_what_backward_passes_do(name, composite):
    model, inputs, _ = batch(name, 2)
    answer = [5, 6, 7]
    rows, _ = posed(model, inputs, answer)
    groups = [group_tokens(row, most=3) for row in rows]
    method = StreamRelevance(composite=composite, rows_per_pass=4)
    found = lime_xai.attribute(model, inputs, answer, method, groups=groups)
    expected = lime_xai.attribute(model, inputs, answer, composite)
    for row, one in enumerate(groups):
        sums = one.sums(found.relevance[row]), one.sums(expected.relevance[row])
        torch.testing.assert_close(*sums, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "llava_mistral_sliding"])
def test_the_slot_form_is_that_of_routes(name):
    model, inputs, _ = FAMILIES[name].build()
    answer = torch.tensor([[5, 6, 7]])
    (problem,), _ = posed(model, inputs, answer[0].tolist())
    groups = group_tokens(problem, most=2)
    prompt = inputs["input_ids"].shape[1]
    masks = {str(g): (groups.ids == g)[None, :prompt] for g in range(len(groups))}
    expected = lime_xai.routes(model, inputs, answer, groups=masks, relevance="direct").relevance(answer)
    method = StreamRelevance(form="direct", rows_per_pass=5)
    found = groups.sums(lime_xai.attribute(model, inputs, answer, method, groups=groups).relevance[0])
    for g in range(len(groups)):
        torch.testing.assert_close(found[:, g], expected[str(g)][0], rtol=1e-4, atol=1e-5)
