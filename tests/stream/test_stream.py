"""The relevance stream on whole models: equal to backward passes, on every family that supports it."""

import pytest
import torch
from support.families import FAMILIES, batch
from support.recordings import recorded
from support.streams import REFUSED, STREAMED, backward_by_logit, backward_into_slots, perceptual_of
from transformers import DynamicCache

import lime_xai
from lime_rules import LRP_METHODS
from lime_rules.stream.tangents import FullTangents
from lime_xai.model.cache import slots
from lime_xai.model.gradients import DifferentiableCall
from lime_xai.model.modalities import modality_masks, union
from lime_xai.model.replay import Replayer
from lime_xai.stream.adjoint_check import adjoint_gap_of
from lime_xai.stream.engine import StreamEngine

NEW = 10
ASKED = [0, 1, 5, 9]
"""Of them, where a backward pass is made for each of three tokens."""


def grown(inputs, mask, count):
    return torch.nn.functional.pad(mask, (0, count))


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("name", STREAMED)
def test_stream_equals_one_backward_per_logit(name, method, double):
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    if method == "gradient_input" and "moe" in name:
        with pytest.raises(NotImplementedError, match="routing weights"):
            lime_xai.routes(model, inputs, method=method)
        return
    continuation = torch.arange(20, 20 + NEW)[None]
    perceptual = perceptual_of(model, inputs["input_ids"])
    found = lime_xai.routes(model, inputs, continuation, groups={"seen": perceptual}, method=method)
    assert found.logits.dtype == torch.float64
    tokens = [3, 47, 101]
    mask = grown(inputs, perceptual[0], NEW - 1)
    expected = backward_by_logit(model, inputs, continuation, mask, method, tokens, ASKED)
    part = found.contributions["seen"][0][ASKED][:, tokens]
    torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", STREAMED)
def test_stream_in_float32(name):
    model, inputs, _ = FAMILIES[name].build()
    perceptual = perceptual_of(model, inputs["input_ids"])
    continuation = torch.tensor([[20, 21]])
    found = lime_xai.routes(model, inputs, continuation, groups={"seen": perceptual})
    expected = backward_by_logit(model, inputs, continuation, grown(inputs, perceptual[0], 1), "attnlrp", [3, 47])
    torch.testing.assert_close(found.contributions["seen"][0][:, [3, 47]], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STREAMED)
def test_slot_form_equals_backward_into_slots(name, double):
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    perceptual = perceptual_of(model, inputs["input_ids"])
    found = lime_xai.routes(model, inputs, groups={"seen": perceptual}, relevance="direct")
    expected = backward_into_slots(model, inputs, perceptual, (3, 47))
    torch.testing.assert_close(found.contributions["seen"][0, 0, [3, 47]], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "qwen3_vl"])
def test_cached_states_are_split_by_origin(name, double):
    """The parts of a cached key agree with backward passes from single entries of it."""
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    found = lime_xai.routes(model, inputs)
    masks = modality_masks(model.config, inputs["input_ids"])
    replayer = Replayer(model)
    call = recorded(replayer, inputs).calls[0]
    with torch.enable_grad(), LRP_METHODS["attnlrp"]().context(replayer.decoder):
        leaves = DifferentiableCall.of(call)
        cache = DynamicCache(config=replayer.config)
        replayer.run(leaves.call, leaves.embeddings, cache)
        held = slots(cache)
        assert set(held) == set(found.states["text"])
        for layer, kind, entry in ((1, 0, (0, 1, -1, 2)), (2, 1, (0, 0, -3, 5)), (2, 0, (0, 1, -2, 0))):
            grads = torch.autograd.grad(held[layer][kind][entry], leaves.tensors, retain_graph=True, allow_unused=True)
            grads = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves.tensors, grads, strict=True)]
            relevance = leaves.relevance(grads)[0]
            for group, mask in {**masks, "text": ~union(masks, inputs["input_ids"])}.items():
                part = found.states[group][layer][kind][entry]
                torch.testing.assert_close(part, relevance[mask[0]].sum().detach(), rtol=1e-9, atol=1e-12)


def test_groups_add_up_and_relevance_reads_them(double):
    model, inputs, _ = FAMILIES["llava"].build()
    model, inputs = double(model, inputs)
    continuation = torch.tensor([[20, 21, 22]])
    found = lime_xai.routes(model, inputs, continuation)
    assert set(found.contributions) == {"image", "text"}
    assert found.logits.shape == found.contributions["image"].shape == (1, 3, 128)
    attribution = lime_xai.attribute(model, inputs, target=continuation)
    both = found.relevance(continuation)
    torch.testing.assert_close(
        sum(both.values())[0].double(), attribution.relevance[0].double().sum(-1), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        found.residual, found.logits - found.contributions["image"] - found.contributions["text"]
    )


def test_generated_tokens_belong_to_the_text():
    model, inputs, _ = FAMILIES["llava"].build()
    ids = inputs["input_ids"]
    image = perceptual_of(model, ids)
    everything = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), groups={"text": torch.ones_like(ids).bool()})
    split = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), groups={"image": image, "text": ~image})
    torch.testing.assert_close(
        everything.contributions["text"],
        split.contributions["image"] + split.contributions["text"],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("relevance", ["direct", "full"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen2_audio", "gemma3"])
def test_batch_and_padding_leave_a_row_alone(name, relevance):
    model, joined, singles = batch(name, 3)
    found = lime_xai.routes(model, joined, torch.tensor([[20, 21]] * 3), relevance=relevance)
    for row, inputs in enumerate(singles):
        alone = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), relevance=relevance)
        for group, part in alone.contributions.items():
            torch.testing.assert_close(found.contributions[group][row], part[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_the_stream_cannot_follow_are_refused_by_name(name):
    model, inputs, _ = FAMILIES[name].build()
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in model.modules()]
    with pytest.raises(NotImplementedError, match=REFUSED[name]):
        lime_xai.routes(model, inputs)
    after = [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in model.modules()]
    assert before == after


def test_inline_code_that_no_rule_sees_is_found_by_the_probe(monkeypatch):
    model, inputs, _ = FAMILIES["llava"].build()
    layer = model.get_decoder().layers[1].mlp
    inner = layer.forward
    monkeypatch.setattr(layer, "forward", lambda x: inner(x) * torch.sigmoid(x))
    with pytest.raises(NotImplementedError, match="disagrees with backward passes by"):
        lime_xai.routes(model, inputs)


def test_a_model_whose_first_tokens_are_zero_is_probed_too(untrained):
    model, _ = untrained
    table = model.get_input_embeddings().weight
    assert not table[0].any(), "the embedding of padding"
    assert adjoint_gap_of(StreamEngine(Replayer(model))) < 1e-5


def test_the_probe_sees_attention_weights(monkeypatch):
    original = FullTangents.key_scores
    monkeypatch.setattr(FullTangents, "key_scores", lambda *args: 100 * original(*args))
    model, _, _ = FAMILIES["llava"].build()
    assert adjoint_gap_of(StreamEngine(Replayer(model))) > 0.1


def test_another_dtype_is_probed_anew():
    model, inputs, _ = FAMILIES["llava"].build()
    model.bfloat16()
    coarse = adjoint_gap_of(StreamEngine(Replayer(model)))
    model.float()
    assert adjoint_gap_of(StreamEngine(Replayer(model))) < 1e-5 < coarse
    lime_xai.routes(model, inputs)


def test_an_audit_leaves_nothing_on_the_weights():
    model, _, _ = FAMILIES["llava"].build()
    lime_xai.audit(model)
    assert not any("_lime_key" in vars(parameter) for parameter in model.parameters())


def test_bad_input_is_refused_before_any_compute():
    model, inputs, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match="Unknown relevance 'slots'"):
        lime_xai.routes(model, inputs, relevance="slots")
    with pytest.raises(ValueError, match="groups is empty"):
        lime_xai.routes(model, inputs, groups={})
    with pytest.raises(ValueError, match=r"groups \['part'\] hold no position"):
        lime_xai.routes(model, inputs, groups={"part": torch.zeros_like(inputs["input_ids"]).bool()})
    with pytest.raises(ValueError, match="'part' has shape"):
        lime_xai.routes(model, inputs, groups={"part": torch.ones(1, 2)})
