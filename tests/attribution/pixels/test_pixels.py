"""Relevance of pixels and spectrograms: every family, conservation, oracles, batches, and what is left behind."""

import warnings

import pytest
import torch
from support.every_family import FURTHER
from support.families import FAMILIES, batch
from torch import nn
from zennit.rules import ZBox

import lime_xai
from lime_rules import RatioHook
from lime_xai import EncoderLRP, attribute, attribute_pixels
from lime_xai.attribution.methods.lrp import LRP
from lime_xai.attribution.methods.task import AttributionTask
from lime_xai.attribution.pixels import encoding
from lime_xai.attribution.targets import resolve_target
from lime_xai.evaluation.conformance.state import model_state
from lime_xai.model.perception import encoder_of

REFUSED = {
    "mllama": (ValueError, "reads images or sounds by cross-attention"),
    "phi4_multimodal_audio": (ValueError, "merges perceptual embeddings inside the decoder"),
    "phi4_multimodal_image": (ValueError, "merges perceptual embeddings inside the decoder"),
    "aria": (NotImplementedError, "outside transformers' attention interface .*cross_attn.multihead_attn"),
    "deepseek_vl_hybrid": (NotImplementedError, "outside transformers' attention interface .*high_res_vision_model"),
    "got_ocr2": (NotImplementedError, "outside transformers' attention interface .*vision_tower.layers.0.attn"),
    "granite_speech": (NotImplementedError, "outside transformers' attention interface .*encoder.layers.0.attn"),
    "ovis2": (NotImplementedError, "outside transformers' attention interface .*vision_tower"),
    "emu3": (NotImplementedError, "pixel_values reaches the decoder of .* by no differentiable way"),
    "vibevoice_asr": (NotImplementedError, "input_values reaches the decoder of .* by no differentiable way"),
    "voxtral_realtime": (NotImplementedError, "cannot be called with its inputs alone, outside generate"),
    "inkling_audio": (ValueError, "The inputs hold no picture, video or sound"),
}
"""Of FAMILIES, and one family per reason of FURTHER."""

WARNS = {"aya_vision": "mul in model.multi_modal_projector"}
"""What is named in the encoders of FAMILIES; all others are covered in full."""

ENCODED = [name for name in FAMILIES if name not in REFUSED]


def built(name):
    family = FAMILIES.get(name) or FURTHER[name]
    model, inputs, _ = family.build()
    return model, inputs


def signal(inputs):
    return next(name for name in ("pixel_values", "input_features") if name in inputs)


@pytest.mark.parametrize("name", ENCODED)
def test_every_family(name):
    model, inputs = built(name)
    before = model_state(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = attribute_pixels(model, inputs, 20)
    key = signal(inputs)
    assert set(found.relevance) == {key}
    assert found.relevance[key].shape == inputs[key].shape
    assert found.relevance[key].dtype == torch.float32
    assert found.relevance[key].any()
    plain = attribute(model, inputs, 20)
    torch.testing.assert_close(found.tokens.relevance, plain.relevance, rtol=1e-5, atol=1e-7)
    assert model_state(model) == before
    named = [str(one.message) for one in caught if "encodes pictures" in str(one.message)]
    assert found.coverage.complete == (name not in WARNS)
    assert len(named) == (name in WARNS)
    assert WARNS.get(name, "") in "".join(named)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_is_refused_by_name(name):
    model, inputs = built(name)
    before = model_state(model)
    kind, match = REFUSED[name]
    with pytest.raises(kind, match=match):
        attribute_pixels(model, inputs, 20)
    assert model_state(model) == before


def test_plain_gradients_are_given_where_rules_are_refused():
    model, inputs = built("aria")
    found = attribute_pixels(model, inputs, 20, encoder="gradient_input")
    assert found.relevance["pixel_values"].any()
    assert any("softmax" in one.name for one in found.coverage.operations)


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "qwen3_vl", "qwen2_audio", "voxtral", "llava_next"])
def test_gradient_times_input_is_the_derivative_along_the_picture(name, double):
    model, inputs = built(name)
    model, inputs = double(model, inputs)
    key, step = signal(inputs), 1e-5
    found = attribute_pixels(model, inputs, 20, "gradient_input")

    def logit(factor):
        with torch.no_grad():
            return model(**{**inputs, key: inputs[key] * factor}).logits[0, -1, 20]

    expected = (logit(1 + step) - logit(1 - step)) / (2 * step)
    torch.testing.assert_close(found.relevance[key].sum(), expected, rtol=1e-5, atol=1e-9)


def without_constants(model, *also):
    """Set everything to zero that a tower adds to what depends on the picture."""
    decoder = set(model.get_decoder().modules())
    for name, module in model.named_modules():
        if module in decoder:
            continue
        for own, parameter in module.named_parameters(recurse=False):
            if own == "bias" or own in also or "position_embedding" in name:
                parameter.data.zero_()


@pytest.mark.parametrize("first", [None, "flat", "wsquare"])
@pytest.mark.parametrize("name", ["llava", "paligemma", "qwen2_vl", "qwen2_5_vl", "qwen2_audio", "voxtral"])
def test_the_encoder_conserves_without_biases(name, first, double):
    model, inputs = built(name)
    without_constants(model, "class_embedding")
    if name in ("qwen2_audio", "voxtral"):
        model.get_submodule("model.audio_tower.embed_positions").weight.data.zero_()
    model, inputs = double(model, inputs)
    found = attribute_pixels(model, inputs, 20, encoder=EncoderLRP("cplrp", first=first)).conservation
    # Qwen's norms are computed in float32, and Zennit adds 1e-6 to denominators.
    torch.testing.assert_close(found["inputs"], found["tokens"], rtol=1e-7 if first is None else 1e-3, atol=1e-9)


def test_biases_are_what_is_between_tokens_and_pixels():
    model, inputs = built("llava")
    found = attribute_pixels(model, inputs, 20, encoder="cplrp").conservation
    assert abs(float(found["inputs"] - found["tokens"])) > 1e-3 * abs(float(found["tokens"]))


def held(value, share):
    """A value whose gradient is a share of it."""
    return value * share + (value * (1 - share)).detach()


def naive_clip(model, pixels):
    """The features of a LLaVA tower and projector, in which AttnLRP's ratios are constants of the graph."""
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector

    def norm(module, x):
        x = x - x.mean(-1, keepdim=True)
        scale = ((x**2).mean(-1, keepdim=True) + module.eps).sqrt().detach()
        return x / scale * module.weight + module.bias

    embeddings = tower.embeddings
    patches = torch.nn.functional.conv2d(pixels, embeddings.patch_embedding.weight, stride=14).flatten(2).mT
    token = embeddings.class_embedding.expand(len(pixels), 1, -1)
    x = torch.cat([token, patches], 1) + embeddings.position_embedding.weight
    x = norm(tower.pre_layrnorm, x)
    for layer in tower.encoder.layers:
        attention, y = layer.self_attn, norm(layer.layer_norm1, x)
        parts = []
        for projection, share in ((attention.q_proj, 0.25), (attention.k_proj, 0.25), (attention.v_proj, 0.5)):
            heads = projection(y).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            parts.append(held(heads, share))
        weights = (parts[0] @ parts[1].mT / parts[0].shape[-1] ** 0.5).softmax(-1)
        x = x + attention.out_proj((weights @ parts[2]).transpose(1, 2).flatten(2))
        y = layer.mlp.fc1(norm(layer.layer_norm2, x))
        x = x + layer.mlp.fc2(y * torch.sigmoid(1.702 * y).detach())
    y = projector.linear_1(x[:, 1:])
    return projector.linear_2(y * (0.5 * (1 + torch.erf(y / 2**0.5))).detach())


def test_llava_equals_a_naive_version(double):
    model, inputs = built("llava")
    model, inputs = double(model, inputs)
    prompt = lime_xai.read_prompt(model, inputs)
    goal = resolve_target(20, 1, prompt.vocabulary, prompt.positions.input_ids.device)
    _, gradients = LRP().explain_inputs(AttributionTask(prompt, goal))
    leaf = inputs["pixel_values"].clone().requires_grad_()
    features = naive_clip(model, leaf)
    above = gradients[0][0][prompt.positions.modalities["image"]]
    expected = leaf * torch.autograd.grad(features, leaf, above.reshape(features.shape))[0]
    found = attribute_pixels(model, inputs, 20)
    torch.testing.assert_close(found.relevance["pixel_values"], expected.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "gemma3", "qwen2_audio", "voxtral"])
@pytest.mark.parametrize("encoder", [None, EncoderLRP(gamma=0.1, first="flat")], ids=["plain", "gamma"])
def test_a_batch_equals_its_rows(name, encoder):
    model, joined, singles = batch(name, 2)
    key = signal(joined)
    found = attribute_pixels(model, joined, 20, encoder=encoder).relevance[key]
    rows = [attribute_pixels(model, single, 20, encoder=encoder).relevance[key] for single in singles]
    torch.testing.assert_close(found, torch.cat(rows), rtol=2e-3, atol=2e-5 * float(found.abs().max()))


def test_an_answer_is_explained_word_by_word_or_as_a_sum():
    model, inputs = built("llava")
    words = attribute_pixels(model, inputs, [20, 21, 22])
    shape = inputs["pixel_values"].shape
    assert words.relevance["pixel_values"].shape == (3, *shape)
    assert words.conservation["inputs"].shape == words.conservation["tokens"].shape == (3,)
    whole = attribute_pixels(model, inputs, [20, 21, 22], per_token=False)
    torch.testing.assert_close(words.relevance["pixel_values"].sum(0), whole.relevance["pixel_values"])
    torch.testing.assert_close(words.maps()[0].values, whole.maps()[0].values)
    first = attribute_pixels(model, inputs, 20)
    torch.testing.assert_close(words.relevance["pixel_values"][0], first.relevance["pixel_values"])


def test_flat_keeps_the_relevance_of_every_patch():
    model, inputs = built("llava")
    plain, flat = (
        attribute_pixels(model, inputs, 20, encoder=EncoderLRP(first=first)).maps()[0].values
        for first in (None, "flat")
    )

    def patches(values):
        return values.reshape(2, 14, 2, 14).sum((1, 3))

    torch.testing.assert_close(patches(flat), patches(plain), rtol=1e-3, atol=1e-5)
    assert not torch.allclose(flat, plain)


def test_a_first_layer_behind_changed_pixels_is_refused():
    model, inputs = built("gemma4")  # its tower computes 2 * (pixels - 0.5) first
    with pytest.raises(NotImplementedError, match="arrived at the pixels"):
        attribute_pixels(model, inputs, 20, encoder=EncoderLRP(first=ZBox(-3.0, 3.0)))


def test_an_error_inside_leaves_nothing_behind():
    class Broken(RatioHook):
        def copy(self):
            return Broken()

        def post_forward_ratio(self, module, args, output):
            raise RuntimeError("broken")

    model, inputs = built("llava")
    before = model_state(model)
    with pytest.raises(RuntimeError, match="broken"):
        attribute_pixels(model, inputs, 20, encoder=EncoderLRP(layer_map=[(nn.Conv2d, Broken())]))
    assert model_state(model) == before


def test_an_encoder_that_computes_something_else_under_the_rules_is_refused(monkeypatch):
    model, inputs = built("llava")
    monkeypatch.setattr(encoding, "perceive", lambda *args: [1.1 * one for one in original(*args)])
    with pytest.raises(NotImplementedError, match=r"computes something else \(relative distance 1.0e-01"):
        attribute_pixels(model, inputs, 20)


original = encoding.perceive


def test_a_method_that_is_not_lrp_is_refused():
    model, inputs = built("llava")
    with pytest.raises(ValueError, match="method 'saliency' ends at the decoder's inputs"):
        attribute_pixels(model, inputs, 20, "saliency")
    with pytest.raises(TypeError, match="encoder is int"):
        attribute_pixels(model, inputs, 20, encoder=3)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "qwen2_audio"])
@pytest.mark.parametrize("first", [False, True])
def test_an_encoder_with_a_quantised_layer_is_refused_by_its_name(family, first):
    """Its kernels have no gradient; the ways around them gave relevance that was wrong without a word."""
    model, inputs, _ = FAMILIES[family].build()
    if first:
        lime_xai.attribute_pixels(model, inputs, 7)  # a check that passed before does not count
    encoder = encoder_of(lime_xai.read_prompt(model, inputs).replayer)
    decoder = set(model.get_decoder().modules())
    name, parent = next(
        (name, module)
        for name, module in encoder.named_modules()
        if module not in decoder and name.endswith("mlp" if family != "qwen2_audio" else "layers.0")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(parent, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
        with pytest.raises(NotImplementedError, match=rf"{name}.*depends on its input and has no gradient"):
            lime_xai.attribute_pixels(model, inputs, 7, encoder="gradient_input")
