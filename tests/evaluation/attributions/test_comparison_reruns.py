"""Asking a method again, under noise and with other weights; nothing of the model is left changed."""

from contextlib import suppress
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.comparisons import SETTINGS, prepared
from support.families import FAMILIES, batch
from support.recordings import recorded
from transformers import LlamaConfig, LlamaForCausalLM

import lime_xai
from lime_rules import AttnLRP
from lime_xai.attribution.attribute import attribute
from lime_xai.evaluation.attributions.cost import forward_seconds
from lime_xai.evaluation.attributions.example import Example
from lime_xai.evaluation.attributions.identity import digest
from lime_xai.evaluation.attributions.recorded import record_example
from lime_xai.evaluation.attributions.registry import METRICS
from lime_xai.evaluation.attributions.robustness import (
    DRAWS,
    NOISE,
    cascade,
    cascade_depths,
    decoder_layers,
    draw_noise,
    with_noise,
)
from lime_xai.evaluation.attributions.scored import Scored
from lime_xai.model.replay import Replayer

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_noise_reaches_what_the_decoder_reads_and_leaves_the_prompt_as_it_was(name):
    model, inputs, _ = FAMILIES[name].build()
    prompt = lime_xai.read_prompt(model, inputs)
    plain = prompt.recording().calls[0]
    held = [plain.embeddings, *plain.deep_features]
    before = [tensor.clone() for tensor in held]
    noise = draw_noise(held, prompt.positions.attended, seed=1)

    def add(module, args, kwargs):
        deep = [old + new for old, new in zip(kwargs.get("deepstack_visual_embeds") or [], noise[1:], strict=True)]
        changed = {**kwargs, "inputs_embeds": kwargs["inputs_embeds"] + noise[0]}
        return args, {**changed, "deepstack_visual_embeds": deep} if deep else changed

    handle = model.get_decoder().register_forward_pre_hook(add, with_kwargs=True)
    wanted = recorded(Replayer(model), inputs).calls[0]
    handle.remove()
    found = prompt.with_inputs(partial(with_noise, noise=noise)).recording().calls[0]
    assert not torch.equal(found.embeddings, plain.embeddings)
    torch.testing.assert_close(found.embeddings, wanted.embeddings)
    assert len(found.deep_features) == len(wanted.deep_features)
    for one, other in zip(found.deep_features, wanted.deep_features, strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(old, now) for old, now in zip(before, held, strict=True))
    again = prompt.recording().calls[0]
    assert all(torch.equal(old, now) for old, now in zip(held, [again.embeddings, *again.deep_features], strict=True))


def test_noise_is_relative_to_each_position_and_spares_padding():
    embeddings = torch.randn(2, 300, 64) * torch.logspace(-2, 2, 300)[:, None]
    attended = torch.ones(2, 300, dtype=torch.bool)
    attended[1, :4] = False
    noise = draw_noise([embeddings], attended, seed=0)[0]
    ratio = (noise.norm(dim=-1) / embeddings.norm(dim=-1))[attended]
    assert float(ratio.mean()) == pytest.approx(NOISE, rel=0.02)
    assert float(ratio.max()) < 2 * NOISE
    assert not bool(noise[~attended].any())
    assert torch.equal(noise, draw_noise([embeddings], attended, seed=0)[0])
    assert not torch.equal(noise, draw_noise([embeddings], attended, seed=1)[0])


def test_layers_are_redrawn_from_the_top_and_restored_bit_for_bit():
    model, _, _ = FAMILIES["qwen3_vl"].build()
    model.requires_grad_(True)
    layers = decoder_layers(Replayer(model).decoder)
    norm = layers[0].input_layernorm.weight
    with torch.no_grad():
        norm.copy_(torch.linspace(0.5, 1.5, len(norm)))
    before = weights(model)
    with cascade(layers, seed=2) as deepen:
        deepen(1)
        for index, layer in enumerate(layers):
            moved = any(not torch.equal(p, q) for p, q in zip(layer.parameters(), _stored(before, index), strict=True))
            assert moved == (index == len(layers) - 1)
        once = [p.clone() for p in layers[-1].parameters()]
        deepen(len(layers))
        assert all(torch.equal(a, b) for a, b in zip(once, layers[-1].parameters(), strict=True))
        big = layers[0].mlp.gate_proj.weight.detach()
        assert float(big.std()) == pytest.approx(
            float(_named(model, before, layers[0].mlp.gate_proj.weight).std()), rel=0.1
        )
        assert float(norm.detach().mean()) == pytest.approx(1.0, abs=0.3)
    assert same(model, before)
    assert all(p.requires_grad for p in model.parameters())


def _named(model, before, wanted):
    return next(before[name] for name, parameter in model.named_parameters() if parameter is wanted)


def _stored(before, index):
    return [before[name] for name in before if f"language_model.layers.{index}." in name]


@settings(max_examples=25)
@given(st.integers(0, 99), st.lists(st.integers(0, 3), max_size=4), st.booleans())
def test_any_cascade_is_undone_bit_for_bit(seed, depths, fails):
    layers = torch.nn.ModuleList(torch.nn.Linear(3, 2, bias=index > 0) for index in range(3))
    layers[1].half()
    before = weights(layers)
    with suppress(ZeroDivisionError), cascade(layers, seed) as deepen:
        for depth in depths:
            deepen(depth)
        assert same(layers, before) == (max(depths, default=0) == 0)
        1 / (not fails)
    assert same(layers, before)


def test_a_text_model_is_asked_again_too():
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, bos_token_id=1
    )
    model = LlamaForCausalLM(config).eval()
    ready = record_example(model, Example({"input_ids": torch.tensor([[1, 5, 6, 7, 8]])}, 4), SETTINGS)
    relevance = ready.explain("attnlrp")
    assert not torch.allclose(ready.under_noise("attnlrp")[0], relevance)
    assert ready.randomised("attnlrp").shape == (2, *relevance.shape)
    (_, _, (row,)) = ready.tasks[0]
    assert METRICS["perceptual_share"].measure(Scored(row, relevance[0, 0])) == 0


@pytest.mark.parametrize("again", ["randomised", "under_noise"])
def test_weights_and_hooks_are_restored_after_an_exception(again, monkeypatch):
    ready = prepared("llava")
    before = weights(ready.prompt.model)

    def failing(model, *_, **__):
        assert same(model, before) == (again == "under_noise")
        raise FloatingPointError("no")

    monkeypatch.setattr("lime_xai.evaluation.attributions.recorded.attribute", failing)
    with pytest.raises(FloatingPointError):
        getattr(ready, again)("attnlrp")
    assert same(ready.prompt.model, before)
    assert not any(m._forward_pre_hooks for m in ready.prompt.model.modules())


def test_methods_on_groups_are_given_the_groups_of_the_metrics(monkeypatch):
    ready, real = prepared("llava"), attribute
    given = []

    def noting(*args, groups=None, **kwargs):
        given.append(groups)
        return real(*args[:3], "attnlrp", **kwargs)

    monkeypatch.setattr("lime_xai.evaluation.attributions.recorded.attribute", noting)
    for method in ("attnlrp", AttnLRP(), "occlusion"):
        ready.explain(method)
    assert given == [ready.groups] * 3


def test_a_quantised_layer_is_refused():
    layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    layers[0].weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match=r"weights of torch\.int8"), cascade(layers, 0):
        pass


def test_depths_are_all_layers_or_evenly_spread():
    assert cascade_depths(4) == [1, 2, 3, 4]
    assert cascade_depths(32) == [4, 8, 12, 16, 20, 24, 28, 32]
    assert cascade_depths(9)[-1] == 9
    assert len(set(cascade_depths(9))) == 8


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "qwen2_audio"])
def test_reruns_are_what_attribute_says_with_other_weights_and_embeddings(name):
    ready = prepared(name)
    model, layers = ready.prompt.model, decoder_layers(Replayer(ready.prompt.model).decoder)
    relevance = ready.explain("attnlrp")
    torch.testing.assert_close(relevance[:, 0], attribute(model, ready.example.inputs, 5).relevance)
    depths, found = cascade_depths(len(layers)), ready.randomised("attnlrp")
    for depth, rerun in zip(depths, found, strict=True):
        with cascade(layers, SETTINGS.seed) as deepen:
            deepen(depth)
            torch.testing.assert_close(rerun[:, 0], attribute(model, ready.example.inputs, 5).relevance)
    drawn = ready.under_noise("attnlrp")
    assert drawn.shape == (DRAWS, *relevance.shape)
    assert bool((drawn != relevance).flatten(1).any(1).all())


def test_each_token_of_an_answer_is_a_question_of_its_own():
    ready = prepared("llava", target=[5, 6, 7], rows=2)
    relevance = ready.explain("gradient_input")
    assert relevance.shape[:2] == (2, 3)
    assert [(b, g) for b, g, _ in ready.tasks] == [(b, g) for b in range(2) for g in range(3)]
    found = attribute(ready.prompt.model, ready.example.inputs, [5, 6, 7])
    for b, g, (row,) in ready.tasks:
        assert row.value == pytest.approx(float(found.logits[b, g]), abs=1e-4)
        case = Scored(row, relevance[b, g])
        assert METRICS["residual"].measure(case) == pytest.approx(
            abs(float(relevance[b, g].sum()) - row.value) / abs(row.value), rel=1e-4
        )


def test_without_a_target_the_models_own_token_stays_the_question():
    ready = prepared("llava", target=None)
    (_, _, (row,)) = ready.tasks[0]
    assert ready.example.target.tolist() == [int(row.problem.ids[0])]


def test_a_padded_answer_asks_only_about_its_own_tokens():
    model, inputs, _ = batch("llava", 2)
    ready = record_example(model, Example(inputs, torch.tensor([[5, 6], [7, -100]])), SETTINGS)
    assert [(b, g) for b, g, _ in ready.tasks] == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (torch.ones(3, dtype=torch.bool), "expected a bool mask"),
        (torch.ones(11), "expected a bool mask"),
        (torch.zeros(11, dtype=torch.bool), "marks no position"),
        (torch.ones(11, dtype=torch.bool), "hold no image, video or sound"),
    ],
)
def test_a_region_that_is_none_is_refused(truth, message):
    model, inputs, _ = FAMILIES["llava"].build()
    assert inputs["input_ids"].shape[1] == 12
    truth = truth if len(truth) == 3 else torch.nn.functional.pad(truth, (0, 1), value=bool(truth[0]))
    with pytest.raises(ValueError, match=message):
        record_example(model, Example(inputs, 5, truth), SETTINGS)


@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_one_forward_pass_of_any_family_can_be_timed(name):
    model, inputs, _ = FAMILIES[name].build()
    assert forward_seconds(lime_xai.read_prompt(model, inputs)) > 0


def test_a_digest_knows_inputs_target_and_region():
    inputs = {"input_ids": torch.arange(4)[None], "pixel_values": torch.ones(1, 2, dtype=torch.bfloat16)}
    truth = torch.tensor([True, False, False, False])
    variants = [
        Example(inputs, 5, truth),
        Example(inputs, 6, truth),
        Example(inputs, 5, ~truth),
        Example({**inputs, "input_ids": torch.arange(1, 5)[None]}, 5, truth),
        Example(inputs, 5, truth, "a"),
    ]
    assert len({digest(one) for one in variants}) == len(variants)
    assert digest(variants[0]) == digest(Example(dict(inputs), 5, truth.clone()))
