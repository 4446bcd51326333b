"""The relevance stream on whole models: equal to backward passes, on every family that supports it."""

import pytest
import torch
from families import FAMILIES, batch
from transformers import DynamicCache

import lime_xai
from lime_rules import LRP_METHODS
from lime_rules.stream_tangents import SplitTangents
from lime_xai.cache import slots, with_slots
from lime_xai.calls import merged
from lime_xai.leaves import CallLeaves
from lime_xai.modalities import modality_masks, union
from lime_xai.passes import forward_sequence
from lime_xai.recording import record
from lime_xai.replay import Replayer
from lime_xai.streaming import StreamEngine
from lime_xai.trust import stream_gap

NEW = 10
REFUSED = {
    "qwen3_5_moe": "linear_attn",
    "gemma4": "does not run through Gemma4",
}
STREAMED = [name for name, family in FAMILIES.items() if family.attributable and name not in REFUSED]


@pytest.fixture
def double(float64_norms, monkeypatch):
    """Turn a model and its inputs into float64, throughout: some compute rotary embeddings in float32."""

    def convert(model, inputs):
        if model.config.model_type == "qwen3_omni_moe_thinker":
            pytest.skip("transformers merges its float32 features into float64 embeddings; tested in float32")
        if type(model)._can_set_experts_implementation():
            model.set_experts_implementation("eager")  # transformers' fast ones know no float64
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
        monkeypatch.setattr(torch, "float", torch.double)
        values = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
        return float64_norms(model), values

    return convert


def grown(inputs, mask, count):
    return torch.nn.functional.pad(mask, (0, count))


def backward_by_logit(model, inputs, continuation, mask, method, tokens):
    """What one backward pass from each logit sums over a group: ``[N, len(tokens)]``, the last N positions."""
    replayer = Replayer(model)
    recording = record(replayer, inputs, inputs["input_ids"], continuation)
    composite = LRP_METHODS[method]()
    with torch.enable_grad(), composite.context(replayer.decoder):
        leaves = [CallLeaves.of(call) for call in merged(recording.calls)]
        logits = forward_sequence(replayer, leaves, keep=continuation.shape[1])[0]
        flat = [tensor for leaf in leaves for tensor in leaf.tensors]
        rows = []
        for position in range(logits.shape[0]):
            for token in tokens:
                found = torch.autograd.grad(logits[position, token], flat, retain_graph=True, allow_unused=True)
                grads = iter(torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True))
                parts = [leaf.relevance([next(grads) for _ in leaf.tensors]) for leaf in leaves]
                rows.append(torch.cat(parts, 1)[0][mask].sum().detach())
    return torch.stack(rows).reshape(-1, len(tokens))


def backward_into_slots(model, inputs, perceptual, tokens):
    """What one backward pass from each logit of the first token sums over slots of the cache: ``[len(tokens)]``."""
    replayer = Replayer(model)
    call = record(replayer, inputs, inputs["input_ids"]).calls[0]
    one, cache = call.last_position(replayer.window), DynamicCache(config=replayer.config)
    with torch.no_grad():
        replayer.run(call, call.embeddings, cache)
        past = replayer.past_of(call, cache)
    leaves = {layer: tuple(t.clone().requires_grad_() for t in pair) for layer, pair in slots(past).items()}
    flat = [t for pair in leaves.values() for t in pair]
    found = []
    with torch.enable_grad(), LRP_METHODS["attnlrp"]().context(replayer.decoder):
        logits = replayer.run(one, one.embeddings, with_slots(past, leaves))[0, -1]
        for token in tokens:
            grads = torch.autograd.grad(logits[token], flat, retain_graph=True)
            parts = ((t * g)[0, :, perceptual[0, :-1][-t.shape[2] :]] for t, g in zip(flat, grads, strict=True))
            found.append(sum(part.sum() for part in parts).detach())
    return torch.stack(found)


def perceptual_of(model, ids):
    return union(modality_masks(model.config, ids), torch.ones_like(ids))


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
    expected = backward_by_logit(model, inputs, continuation, mask, method, tokens)
    torch.testing.assert_close(found.owed["seen"][0][:, tokens], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", STREAMED)
def test_stream_in_float32(name):
    model, inputs, _ = FAMILIES[name].build()
    perceptual = perceptual_of(model, inputs["input_ids"])
    continuation = torch.tensor([[20, 21]])
    found = lime_xai.routes(model, inputs, continuation, groups={"seen": perceptual})
    expected = backward_by_logit(model, inputs, continuation, grown(inputs, perceptual[0], 1), "attnlrp", [3, 47])
    torch.testing.assert_close(found.owed["seen"][0][:, [3, 47]], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STREAMED)
def test_slot_form_equals_backward_into_slots(name, double):
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    perceptual = perceptual_of(model, inputs["input_ids"])
    found = lime_xai.routes(model, inputs, groups={"seen": perceptual}, relevance="slot")
    expected = backward_into_slots(model, inputs, perceptual, (3, 47))
    torch.testing.assert_close(found.owed["seen"][0, 0, [3, 47]], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "qwen3_vl"])
def test_cached_states_are_split_by_origin(name, double):
    """The parts of a cached key agree with backward passes from single entries of it."""
    model, inputs, _ = FAMILIES[name].build()
    model, inputs = double(model, inputs)
    found = lime_xai.routes(model, inputs)
    masks = modality_masks(model.config, inputs["input_ids"])
    replayer = Replayer(model)
    call = record(replayer, inputs, inputs["input_ids"]).calls[0]
    with torch.enable_grad(), LRP_METHODS["attnlrp"]().context(replayer.decoder):
        leaves = CallLeaves.of(call)
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
    assert set(found.owed) == {"image", "text"}
    assert found.logits.shape == found.owed["image"].shape == (1, 3, 128)
    attribution = lime_xai.attribute(model, inputs, target=continuation)
    both = found.relevance(continuation)
    torch.testing.assert_close(
        sum(both.values())[0].double(), attribution.relevance[0].double().sum(-1), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(found.residual, found.logits - found.owed["image"] - found.owed["text"])


def test_generated_tokens_belong_to_the_text():
    model, inputs, _ = FAMILIES["llava"].build()
    ids = inputs["input_ids"]
    image = perceptual_of(model, ids)
    everything = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), groups={"text": torch.ones_like(ids).bool()})
    split = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), groups={"image": image, "text": ~image})
    torch.testing.assert_close(everything.owed["text"], split.owed["image"] + split.owed["text"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relevance", ["slot", "input"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen2_audio", "gemma3"])
def test_batch_and_padding_leave_a_row_alone(name, relevance):
    model, joined, singles = batch(name, 3)
    found = lime_xai.routes(model, joined, torch.tensor([[20, 21]] * 3), relevance=relevance)
    for row, inputs in enumerate(singles):
        alone = lime_xai.routes(model, inputs, torch.tensor([[20, 21]]), relevance=relevance)
        for group, part in alone.owed.items():
            torch.testing.assert_close(found.owed[group][row], part[0], rtol=1e-4, atol=1e-4)


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
    assert stream_gap(StreamEngine(Replayer(model))) < 1e-5


def test_the_probe_sees_attention_weights(monkeypatch):
    original = SplitTangents.key_scores
    monkeypatch.setattr(SplitTangents, "key_scores", lambda *args: 100 * original(*args))
    model, _, _ = FAMILIES["llava"].build()
    assert stream_gap(StreamEngine(Replayer(model))) > 0.1


def test_another_dtype_is_probed_anew():
    model, inputs, _ = FAMILIES["llava"].build()
    model.bfloat16()
    coarse = stream_gap(StreamEngine(Replayer(model)))
    model.float()
    assert stream_gap(StreamEngine(Replayer(model))) < 1e-5 < coarse
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
