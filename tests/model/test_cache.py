"""Forking, slicing and editing caches of every family."""

import pytest
import torch
import transformers as hf
from support.families import FAMILIES
from transformers import DynamicCache

from lime_xai.editing.deltas import DELTAS, LayerShape
from lime_xai.model.cache import (
    CACHE_NAME,
    EditedCache,
    cache_length,
    check_cache,
    check_differentiable,
    detach_inference,
    fork_cache,
    layer_slots,
    slots,
    with_slots,
    without_last,
)

SLIDING = {"llava_mistral_sliding", "gemma3", "gemma4", "aya_vision", "qwen3_5_moe"}
OWN_CACHE = {"mllama"}


def prefilled(family):
    """A model, its cache after the prompt of 12 or more tokens, and the prompt."""
    model, inputs, _ = FAMILIES[family].build()
    output = model.generate(**inputs, max_new_tokens=1, return_dict_in_generate=True, do_sample=False)
    return model, getattr(output, CACHE_NAME), inputs


def tensors_of(cache):
    """Every tensor that a cache holds, by layer and name."""
    found = {}
    for index, layer in enumerate(cache.layers):
        for name, value in vars(layer).items():
            parts = value.items() if isinstance(value, dict) else [("", value)]
            found |= {(index, name, key): part for key, part in parts if isinstance(part, torch.Tensor)}
    return found


def decode(model, cache, inputs, token=5):
    length = inputs["input_ids"].shape[1]
    ids = torch.cat([inputs["input_ids"], torch.tensor([[token]])], 1)
    kwargs = {"attention_mask": torch.ones_like(ids), CACHE_NAME: cache, "use_cache": True}
    prepared = {"input_ids": ids[:, length:], "position_ids": torch.tensor([[length]]), **kwargs}
    with torch.no_grad():
        return model(**prepared).logits[:, -1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fork_leaves_the_original_alone(family):
    model, cache, inputs = prefilled(family)
    before = {key: value.clone() for key, value in tensors_of(cache).items()}
    assert before
    counted = [getattr(layer, "cumulative_length", None) for layer in cache.layers]
    fork = fork_cache(cache)
    assert type(fork) is type(cache)
    first = decode(model, fork, inputs)
    decode(model, fork, inputs, token=6)
    assert tensors_of(cache).keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in tensors_of(cache).items())
    assert [getattr(layer, "cumulative_length", None) for layer in cache.layers] == counted
    assert any(not torch.equal(value, before.get(key, value[:0])) for key, value in tensors_of(fork).items())
    assert torch.equal(decode(model, fork_cache(cache), inputs), first)
    assert torch.equal(decode(model, cache, inputs), first)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in OWN_CACHE])
def test_only_plain_layers_are_sliced(family):
    _, cache, inputs = prefilled(family)
    before = {key: value.clone() for key, value in tensors_of(cache).items()}
    found = without_last(cache)
    assert (found is None) == (family in SLIDING)
    assert all(torch.equal(value, before[key]) for key, value in tensors_of(cache).items())
    assert cache_length(cache) == inputs["input_ids"].shape[1]
    if found is not None:
        assert cache_length(found) == inputs["input_ids"].shape[1] - 1
        for index, pair in slots(cache).items():
            for whole, part in zip(pair, slots(found)[index], strict=True):
                assert torch.equal(whole[:, :, :-1], part)


@pytest.mark.parametrize("family", ["llava", "internvl", "qwen2_audio"])
def test_the_last_position_over_a_sliced_cache_is_the_prompt(family):
    model, cache, inputs = prefilled(family)
    with torch.no_grad():
        wanted = model(**inputs).logits[:, -1]
    last = int(inputs["input_ids"][0, -1])
    before = {name: value[:, :-1] for name, value in inputs.items() if name == "input_ids"}
    found = decode(model, without_last(cache), before, token=last)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_fork_of_beams_is_reordered_alone():
    _, cache, _ = prefilled("llava")
    cache.batch_repeat_interleave(2)
    cache.layers[0].keys = cache.layers[0].keys * torch.tensor([1.0, 2.0])[:, None, None, None]
    vars(cache)["reorder_cache"] = lambda rows: pytest.fail("the fork called the original's hook")
    fork = fork_cache(cache)
    fork.reorder_cache(torch.tensor([1, 0]))
    assert torch.equal(fork.layers[0].keys, cache.layers[0].keys.flip(0))


def test_slots_skip_recurrent_layers():
    _, cache, inputs = prefilled("qwen3_5_moe")
    assert list(slots(cache)) == [2]
    assert layer_slots(cache.layers[0]) is None
    assert slots(cache)[2][0].shape[2] == inputs["input_ids"].shape[1] == cache_length(cache)
    with pytest.raises(ValueError, match=r"Layers \[0, 1\] are linear attention with a recurrent state"):
        check_differentiable(cache)


@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2_vl"])
def test_attention_layers_are_differentiable(family):
    check_differentiable(prefilled(family)[1])


def test_an_empty_cache_has_no_slots_and_no_length():
    model, _, _ = prefilled("llava")
    cache = DynamicCache(config=model.config.text_config)
    assert slots(cache) == {}
    assert cache_length(cache) == cache_length(DynamicCache()) == 0


def test_a_sliding_cache_counts_what_it_dropped():
    _, cache, inputs = prefilled("llava_mistral_sliding")
    assert slots(cache)[0][0].shape[2] == 5
    assert cache_length(cache) == inputs["input_ids"].shape[1]


def test_replaced_slots_stay_attached():
    model, cache, inputs = prefilled("llava")
    keys, values = slots(cache)[1]
    leaf = torch.zeros(()).requires_grad_()
    edited = with_slots(cache, {1: (keys, values * (1 + leaf))})
    assert edited.layers[1].values.requires_grad
    assert cache.layers[1].values is values
    assert edited.layers[0].values is cache.layers[0].values
    past = with_slots(without_last(cache), {1: (keys[:, :, :-1], values[:, :, :-1] * (1 + leaf))})
    ids = {"input_ids": inputs["input_ids"][:, -1:], "position_ids": torch.tensor([[11]]), CACHE_NAME: past}
    (gradient,) = torch.autograd.grad(model(**ids).logits[0, -1, 5], leaf)
    assert float(gradient.abs()) > 0


@pytest.mark.parametrize("family", ["llava", "llava_mistral_sliding", "gemma3", "internvl"])
def test_an_edited_cache_without_an_edit_is_a_plain_one(family):
    model, inputs, _ = FAMILIES[family].build()
    seen = []

    def note(layer, keys, values, start):
        seen.append((layer, start, keys.shape[2]))
        return keys, values

    cache = EditedCache(model.get_decoder().config, note)
    settings = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    wanted = model.generate(**inputs, **settings)
    assert torch.equal(model.generate(**inputs, **settings, **{CACHE_NAME: cache}), wanted)
    length = inputs["input_ids"].shape[1]
    assert seen == [(layer, start, n) for start, n in ((0, length), (length, 1), (length + 1, 1)) for layer in range(3)]


def test_an_edited_cache_stores_what_the_edit_returns():
    keys, values = torch.randn(2, 1, 2, 3, 4)
    model, _, _ = FAMILIES["llava"].build()
    cache = EditedCache(model.config.text_config, lambda layer, k, v, start: (k + layer, v * (start + 2)))
    cache.update(keys, values, 1)
    found = cache.update(keys, values, 1)
    assert torch.equal(found[0], torch.cat([keys + 1, keys + 1], 2))
    assert torch.equal(found[1], torch.cat([values * 2, values * 5], 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda config: None, "found NoneType. Pass use_cache=True"),
        (lambda config: ((torch.zeros(1), torch.zeros(1)),), "found tuple"),
        (
            lambda config: hf.StaticCache(config=config, max_cache_len=9),
            "Static.*DynamicCache.*cache_implementation unset",
        ),
        (lambda config: hf.EncoderDecoderCache(DynamicCache(), DynamicCache()), "EncoderDecoder"),
    ],
)
def test_caches_that_cannot_be_forked_are_refused(make, message):
    model, _, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match=message):
        check_cache(make(model.config.text_config))


def test_offloaded_and_quantised_caches_are_refused():
    cache = DynamicCache()
    cache.offloading = True
    with pytest.raises(ValueError, match="offloaded"):
        check_cache(cache)

    class QuantizedLayer:
        pass

    quantised = DynamicCache()
    quantised.layers = [QuantizedLayer()]
    with pytest.raises(ValueError, match="Quantized"):
        check_cache(quantised)


@pytest.mark.parametrize("family", FAMILIES)
def test_caches_of_generate_are_accepted(family):
    if family not in OWN_CACHE:
        check_cache(prefilled(family)[1])


def test_inference_tensors_become_ordinary_ones():
    with torch.inference_mode():
        made = torch.ones(2)
        cache = DynamicCache()
        cache.update(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 0)
    plain = torch.ones(2)
    data = detach_inference({"a": [made, (made, 3)], "b": plain, "c": cache})
    assert not data["a"][0].is_inference()
    assert not data["a"][1][0].is_inference()
    assert data["a"][1][1] == 3
    assert data["b"] is plain
    assert not cache.layers[0].keys.is_inference()
    (data["a"][0] * torch.ones(2, requires_grad=True)).sum().backward()


def edited_by_loops(kind, states, parameter, groups, start):
    """Edit slot by slot: ``parameter`` by group for gains, under "all" for free deltas."""
    result = states.clone()
    for b, h, n in torch.cartesian_prod(*map(torch.arange, states.shape[:3])).tolist():
        for group, mask in groups.items():
            if bool(mask[b, start + n]):
                if kind == "gain":
                    result[b, h, n] = states[b, h, n] * (1 + parameter[group][b, h, 0, 0])
                else:
                    result[b, h, n] = states[b, h, n] + parameter["all"][b, h, start + n]
    return result


@pytest.mark.parametrize("kind", DELTAS)
@pytest.mark.parametrize("edit", ["keys", "values", "both"])
def test_deltas_change_slot_by_slot_what_they_may(kind, edit):
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, 2, 3, 4, 5, generator=generator)
    image = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]]).bool()
    groups = {"image": image, "audio": ~image & torch.tensor([0, 0, 0, 0, 1, 1]).bool()}
    deltas = DELTAS[kind]({1: LayerShape.of(keys, values, 6)}, groups, edit)
    assert all(torch.equal(a, b) for a, b in zip(deltas(1, keys, values, 2), (keys, values), strict=True))
    with torch.no_grad():
        for parameter in deltas.tensors():
            assert parameter.requires_grad
            assert not bool(parameter.any())
            parameter.normal_(generator=generator)
    for start in (0, 2):
        found = dict(zip(("keys", "values"), deltas(1, keys, values, start), strict=True))
        for part, states in (("keys", keys), ("values", values)):
            own = {group: p for (_, name, group), p in deltas.parameters.items() if name == part}
            changed = edit in (part, "both")
            wanted = edited_by_loops(kind, states, own, groups, start) if changed else states
            assert torch.allclose(found[part], wanted, atol=1e-6)
    assert deltas(0, keys, values, 0)[0] is keys
