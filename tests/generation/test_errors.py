"""Bad input gets a clear error before any compute, and the model stays as it was."""

import math
import re
from contextlib import contextmanager

import pytest
import torch
import transformers as hf
from support.families import FAMILIES, batch
from support.states import hooks_of
from transformers import DynamicCache, StaticCache

import lime_xai
from lime_xai import Contrast, Edit, EditSettings, LogitShift, Observe, Plausible, UniformGain
from lime_xai.evaluation.conformance.state import model_state
from lime_xai.model.cache import CACHE_NAME
from lime_xai.worlds import bundled_model, load_world

SHORT = {"max_new_tokens": 2, "do_sample": False}


def by_steer(model, inputs, **kwargs):
    return lime_xai.steer(model, inputs, **SHORT, **kwargs)


def by_context(model, inputs, policy=None, **kwargs):
    with lime_xai.steering(model, policy):
        return model.generate(**inputs, **SHORT, **kwargs)


def by_custom_loop(model, inputs, **kwargs):
    return model.generate(**inputs, **SHORT, **kwargs, custom_generate=lime_xai.steered_generate)


def by_attribute(model, inputs, **kwargs):
    return lime_xai.attribute(model, inputs, **kwargs)


STEERED = [by_steer, by_context, by_custom_loop]
EVERYWHERE = [*STEERED, by_attribute]


@contextmanager
def untouched(model, forwards=0):
    """The model computes nothing inside (or ``forwards`` passes of its decoder), and is the same afterwards.

    ``forwards=None`` counts nothing; ``"decoder"`` allows its encoders to run, but not the decoder.
    """
    before, weights = model_state(model), {name: value.clone() for name, value in model.state_dict().items()}
    assert hooks_of(model) == []
    watched = [model.get_decoder()] if forwards else [m for m in model.modules() if m is not model]
    ran = []
    handles = [
        module.register_forward_pre_hook(lambda module, args: ran.append(type(module).__name__)) for module in watched
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    assert hooks_of(model) == []
    assert model_state(model) == before
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in weights.items() if not value.isnan().any())
    if forwards is not None:
        assert ran == []


@pytest.fixture
def llava():
    model, inputs, _ = FAMILIES["llava"].build()
    return model, inputs


def without(inputs, *names, **new):
    return {name: value for name, value in inputs.items() if name not in names} | new


def allowed(call):
    """Generate may encode images before a context or a custom loop gets to see anything."""
    return 0 if call in (by_steer, by_attribute) else "decoder"


def text_only():
    config = hf.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
    )
    return hf.LlamaForCausalLM(config).eval(), {"input_ids": torch.randint(3, 64, (1, 9))}


# No perceptual tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", STEERED)
def test_a_text_only_model_is_not_steered(call):
    model, inputs = text_only()
    with untouched(model), pytest.raises(ValueError, match="No perceptual tokens in the prompt of Llama") as error:
        call(model, inputs)
    assert "none in the config" in str(error.value)
    assert "perceptual=" in str(error.value)


@pytest.mark.parametrize("call", STEERED)
def test_a_prompt_without_an_image_is_not_steered(call, llava):
    model, _ = llava
    ids = torch.tensor([[1, 5, 6, 7]])
    with untouched(model), pytest.raises(ValueError, match=r"steering needs an image.*\{'image': 99\}"):
        call(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})


@pytest.mark.parametrize("call", STEERED)
def test_rows_without_an_image_are_named(call):
    model, inputs, _ = batch("llava", 3)
    ids = inputs["input_ids"].clone()
    ids[1, ids[1] == 99] = 7
    new = without(inputs, input_ids=ids, pixel_values=inputs["pixel_values"][:2])
    with untouched(model, allowed(call)), pytest.raises(ValueError, match=r"Rows \[1\] of the batch have no percept"):
        call(model, new)


@pytest.mark.parametrize("call", [by_steer, by_attribute])
def test_a_perceptual_mask_of_another_shape(call, llava):
    model, inputs = llava
    mask = torch.ones(1, 5, dtype=torch.bool)
    with untouched(model), pytest.raises(ValueError, match=r"shape \(1, 5\), the prompt \(1, 12\); give one entry"):
        call(model, inputs, perceptual=mask)


@pytest.mark.parametrize("call", [by_steer])
def test_a_perceptual_mask_of_nothing(call, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(ValueError, match="No perceptual tokens"):
        call(model, inputs, perceptual=torch.zeros(1, 12, dtype=torch.bool))


# Placeholders and features -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("change", ["one_less", "one_more"])
@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "qwen2_5_vl", "gemma3", "internvl", "qwen2_audio"])
def test_placeholders_that_do_not_fit_the_features(call, change, family):
    model, inputs, ids = FAMILIES[family].build()
    modality = FAMILIES[family].modality
    token, count = ids[modality], FAMILIES[family].tokens
    prompt = inputs["input_ids"].clone()
    prompt[0, 1 if change == "one_more" else int((prompt[0] == token).nonzero()[0])] = (
        token if change == "one_more" else 5
    )
    found = count + (1 if change == "one_more" else -1)
    # Without a grid only the encoder knows how many features there are; the decoder never runs.
    forwards = 0 if "image_grid_thw" in inputs else "decoder"
    with untouched(model, forwards), pytest.raises(ValueError, match=r"placeholder|do not match") as error:
        call(model, inputs | {"input_ids": prompt})
    assert str(found) in str(error.value)
    if forwards == 0:
        assert str(count) in str(error.value)


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "gemma3", "qwen2_audio"])
def test_placeholders_without_features_and_features_without_placeholders(call, family):
    model, inputs, ids = FAMILIES[family].build()
    modality = FAMILIES[family].modality
    with untouched(model), pytest.raises(ValueError, match=f"placeholders for {modality} but the inputs hold no"):
        call(model, without(inputs, "pixel_values", "input_features"))
    prompt = torch.where(inputs["input_ids"] == ids[modality], 5, inputs["input_ids"])
    with untouched(model), pytest.raises(ValueError, match=r"no placeholder token.*chat template"):
        call(model, inputs | {"input_ids": prompt})


# Targets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (128, "128"),
        (-1, "-1"),
        (-100, "-100"),
        ((5, 4000), "4000"),
        ([5, 999], "999"),
        (torch.tensor([128]), "128"),
        (torch.tensor([[5, -7]]), "-7"),
        (torch.tensor([-100]), "-100"),
    ],
)
def test_target_ids_out_of_range(llava, target, named):
    model, inputs = llava
    with untouched(model), pytest.raises(ValueError, match="out of range; the vocabulary has 128 tokens") as error:
        lime_xai.attribute(model, inputs, target)
    assert f"[{named}]" in str(error.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("yes", r"target 'yes' is text; pass processor="),
        ([], "empty phrase"),
        ((1, 2, 3), "tuple of 3; a margin has two token ids"),
        (True, "target is a bool"),
        (torch.tensor([1, 2, 3]), r"shape \(3,\); expected \[1\] or \[1, answer length\]"),
        (torch.tensor(5), r"shape \(\); expected"),
        (torch.zeros(1, 0, dtype=torch.long), r"shape \(1, 0\)"),
        (torch.zeros(1, 2, 2, dtype=torch.long), r"shape \(1, 2, 2\)"),
        (torch.tensor([1.5]), "float"),
        (1.5, "float"),
    ],
)
def test_targets_of_the_wrong_kind(llava, target, message):
    model, inputs = llava
    with untouched(model), pytest.raises((ValueError, TypeError), match=message) as error:
        lime_xai.attribute(model, inputs, target)
    assert "target" in str(error.value)


def test_shifted_tokens_out_of_range(llava):
    model, inputs = llava
    with untouched(model, None), pytest.raises(ValueError, match=r"\[999\] are out of range.*128"):
        lime_xai.steer(model, inputs, LogitShift({999: 1.0}), **SHORT)


def test_shifted_tokens_are_checked_before_any_call(llava):
    model, inputs = llava
    calls = []
    hook = model.register_forward_pre_hook(lambda *_: calls.append(1))
    policy = LogitShift({-1: 1.0})
    try:
        with pytest.raises(ValueError, match=r"\[-1\] are out of range"), lime_xai.steering(model, policy):
            model.generate(**inputs, **SHORT)
    finally:
        hook.remove()
    assert not calls


# Models --------------------------------------------------------------------------------------------------------------


def no_decoders():
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    yield "module", torch.nn.Linear(2, 2), "Expected a transformers PreTrainedModel, found Linear"
    yield "encoder", hf.BertModel(hf.BertConfig(vocab_size=32, **small)), "decoder"
    yield "vision", hf.CLIPVisionModel(hf.CLIPVisionConfig(image_size=8, patch_size=4, **small)), "decoder"
    t5 = hf.T5Config(vocab_size=32, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    yield "encoder_decoder", hf.T5ForConditionalGeneration(t5), "encoder-decoder; only decoder-only"
    bart = hf.BartConfig(
        vocab_size=32,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
    )
    yield "encoder_decoder_2", hf.BartForConditionalGeneration(bart), "encoder-decoder; only decoder-only"


NO_DECODERS = {name: (model, message) for name, model, message in no_decoders()}


@pytest.mark.parametrize("call", [by_steer, by_context, by_attribute])
@pytest.mark.parametrize("kind", NO_DECODERS)
def test_models_without_a_decoder(call, kind):
    model, message = NO_DECODERS[kind]
    with pytest.raises(ValueError, match=message) as error:
        call(model.eval(), {"input_ids": torch.tensor([[3, 4, 5]])})
    assert type(model).__name__ in str(error.value)
    assert hooks_of(model) == []


@pytest.mark.parametrize("kind", NO_DECODERS)
def test_audit_refuses_what_has_no_decoder(kind):
    model, message = NO_DECODERS[kind]
    with pytest.raises(ValueError, match=message):
        lime_xai.audit(model)


@pytest.mark.parametrize("call", EVERYWHERE)
def test_an_attention_that_cannot_be_switched(call, llava, monkeypatch):
    model, inputs = llava
    kind = type(model.get_decoder())
    monkeypatch.setattr(kind, "_can_set_attn_implementation", classmethod(lambda cls: False))
    with (
        untouched(model, allowed(call)),
        pytest.raises(ValueError, match=f"attention of {kind.__name__} cannot be switched"),
    ):
        call(model, inputs)


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("kind", ["bloom", "mamba"])
def test_real_models_whose_attention_cannot_be_switched(call, kind):
    made = {
        "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2)),
        "mamba": lambda: hf.MambaForCausalLM(
            hf.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)
        ),
    }
    model = made[kind]().eval()
    ids = torch.tensor([[3, 4, 5]])
    kwargs = {} if call is by_attribute else {"perceptual": ids == 4}
    with (
        untouched(model),
        pytest.raises(ValueError, match=r"cannot be switched|has no text decoder|AttentionInterface"),
    ):
        call(model, {"input_ids": ids}, **kwargs)


@pytest.mark.parametrize("call", EVERYWHERE)
def test_training_mode(call, llava):
    model, inputs = llava
    model.train()
    with untouched(model, allowed(call)), pytest.raises(ValueError, match=r"training mode.*call model\.eval\(\)"):
        call(model, inputs)


@pytest.mark.parametrize("call", EVERYWHERE)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite(call, value, llava):
    model, inputs = llava
    with torch.no_grad():
        model.lm_head.weight[7] = value
    with untouched(model, None), pytest.raises(FloatingPointError, match=r"NaN or infinite.*bfloat16") as error:
        call(model, inputs)
    assert "[0]" in str(error.value)


@pytest.mark.parametrize("call", EVERYWHERE)
def test_only_the_rows_that_are_not_finite_are_named(call):
    model, inputs, _ = batch("llava", 3)
    inputs["pixel_values"][2] = math.nan
    with untouched(model, None), pytest.raises(FloatingPointError, match=r"rows \[2\]"):
        call(model, inputs)


@pytest.mark.parametrize(
    "policy",
    [Observe(), Plausible(), UniformGain(), Contrast(), LogitShift({5: 1.0}), Edit.paper(), [Plausible(), Edit()]],
    ids=lambda p: type(p).__name__,
)
def test_no_policy_hides_logits_that_are_not_finite(policy, llava):
    model, inputs = llava
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with untouched(model, None), pytest.raises(FloatingPointError, match="NaN or infinite"):
        lime_xai.steer(model, inputs, policy, **SHORT)
    with pytest.raises(FloatingPointError):  # and the model is free to be steered again
        lime_xai.steer(model, inputs, policy, **SHORT)


@pytest.mark.parametrize("call", [by_steer, by_context])
def test_a_model_is_steered_once_at_a_time(call, llava):
    model, inputs = llava
    with (
        lime_xai.steering(model),
        pytest.raises(ValueError, match=r"steered already.*pass several policies as one list"),
    ):
        call(model, inputs)
    assert hooks_of(model) == []
    call(model, inputs)


# Inputs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("shape", [(0, 12), (1, 0), (12,), (1, 1, 12)])
def test_empty_batches_and_odd_shapes(call, shape, llava):
    model, inputs = llava
    ids = torch.ones(shape, dtype=torch.long)
    with (
        untouched(model),
        pytest.raises(ValueError, match=r"input_ids has shape .*; expected \[batch, tokens\]") as error,
    ):
        call(model, inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("call", [by_steer, by_attribute])
def test_inputs_that_are_no_mapping_or_hold_no_prompt(call, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(TypeError, match="inputs is Tensor; expected what a processor returns"):
        call(model, inputs["input_ids"])
    with (
        untouched(model),
        pytest.raises(ValueError, match=r"neither input_ids nor inputs_embeds; found \['pixel_values'"),
    ):
        call(model, {"pixel_values": inputs["pixel_values"]})


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "pixel_values"])
def test_mixed_devices(call, name, llava):
    model, inputs = llava
    with (
        untouched(model),
        pytest.raises(ValueError, match=r"\['cpu', 'meta'\], the model's embeddings on cpu; use inputs"),
    ):
        call(model, inputs | {name: inputs[name].to("meta")})


def test_all_inputs_elsewhere(llava):
    model, inputs = llava
    with untouched(model), pytest.raises(ValueError, match=r"inputs are on \['meta'\]"):
        lime_xai.attribute(model, {name: value.to("meta") for name, value in inputs.items()})


@pytest.mark.parametrize("call", [by_steer, by_attribute])
def test_right_padding(call, llava):
    model, inputs = llava
    mask = inputs["attention_mask"].clone()
    mask[0, -1] = 0
    with untouched(model), pytest.raises(ValueError, match=r"padded on the right; set .*padding_side = 'left'"):
        call(model, inputs | {"attention_mask": mask})


# Caches and ways of decoding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["static", "offloaded_static", "quantized", "offloaded"])
def test_cache_implementations_that_cannot_be_forked(kind, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(ValueError, match=rf"cache_implementation='{kind}'.*leave it unset"):
        lime_xai.steer(model, inputs, **SHORT, cache_implementation=kind)
    config = hf.GenerationConfig(cache_implementation=kind, max_new_tokens=2)
    with untouched(model), pytest.raises(ValueError, match=rf"cache_implementation='{kind}'"):
        lime_xai.steer(model, inputs, generation_config=config)
    model.generation_config.cache_implementation = kind
    with untouched(model), pytest.raises(ValueError, match=rf"cache_implementation='{kind}'"):
        lime_xai.steer(model, inputs, **SHORT)


@pytest.mark.parametrize("call", [by_context, by_custom_loop])
@pytest.mark.parametrize("kind", ["static"])
def test_caches_are_also_refused_inside_generate(call, kind, llava):
    model, inputs = llava
    with (
        untouched(model, "decoder"),
        pytest.raises(ValueError, match=r"cache_implementation|needs a DynamicCache"),
    ):
        call(model, inputs, cache_implementation=kind)


def test_a_static_cache_of_ones_own(llava):
    model, inputs = llava
    cache = StaticCache(config=model.config.text_config, max_cache_len=32)
    with untouched(model), pytest.raises(ValueError, match="cannot edit a Static"):
        lime_xai.steer(model, inputs, **SHORT, **{CACHE_NAME: cache})


def test_a_cache_that_is_not_empty(llava):
    model, inputs = llava
    cache = DynamicCache(config=model.config.text_config)
    with torch.no_grad():
        model(**inputs, use_cache=True, **{CACHE_NAME: cache})
    longer = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    longer = {name: torch.cat([value, torch.ones(1, 2).long() * 5], 1) for name, value in longer.items()}
    with (
        untouched(model, "decoder"),
        pytest.raises(ValueError, match="cache of 12 positions that steering did not run"),
    ):
        by_context(model, longer, **{CACHE_NAME: cache})


@pytest.mark.parametrize("call", STEERED)
def test_no_cache_at_all(call, llava):
    model, inputs = llava
    with untouched(model, allowed(call)), pytest.raises(ValueError, match="use_cache"):
        call(model, inputs, use_cache=False)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (by_steer, "assistant_model"),
        (by_context, "assistant_model"),
        (by_steer, "prompt_lookup_num_tokens"),
        (by_custom_loop, "prompt_lookup_num_tokens"),
    ],
)
def test_assisted_decoding(call, kind, llava):
    model, inputs = llava
    value = FAMILIES["llava"].build(1)[0] if kind == "assistant_model" else 2
    with untouched(model, allowed(call)), pytest.raises(ValueError, match=r"[Aa]ssisted|one token at a time|ASSISTED"):
        call(model, inputs, **{kind: value})


def test_the_custom_loop_steers_every_token_where_generate_drops_the_assistant(llava):
    model, inputs = llava
    assistant = FAMILIES["llava"].build(1)[0]
    with untouched(model, None):
        found = by_custom_loop(model, inputs, assistant_model=assistant, policy=LogitShift({5: 1e3}))
    assert found[0, -2:].tolist() == [5, 5]


def test_prompt_lookup_in_the_generation_config(llava):
    model, inputs = llava
    config = hf.GenerationConfig(prompt_lookup_num_tokens=2, max_new_tokens=2)
    with untouched(model), pytest.raises(ValueError, match="Drop assistant_model and prompt_lookup_num_tokens"):
        lime_xai.steer(model, inputs, generation_config=config)


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Edit, EditSettings])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": -1}, "steps is -1; expected zero or more"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; expected a positive number"),
        ({"learning_rate": -0.5}, r"learning_rate is -0\.5; expected a positive number"),
        ({"learning_rate": math.nan}, "learning_rate is nan; expected a positive number"),
        ({"method": "attnlpr"}, "Unknown method 'attnlpr'. Did you mean 'attnlrp'"),
        ({"scope": "cach"}, "Unknown scope 'cach'. Did you mean 'cache'"),
        ({"deltas": "gains"}, "Unknown deltas 'gains'. Did you mean 'gain'"),
        ({"edit": "value"}, "Unknown edit 'value'. Did you mean 'values'"),
        ({"positions": "percept"}, "Did you mean 'perceptual'"),
        ({"second_order": "exakt"}, "Did you mean 'exact'"),
    ],
)
def test_settings_of_an_edit(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(**wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Edit(plausibility=1.0), r"plausibility is 1\.0; expected at least 0 and less than 1"),
        (lambda: Edit(plausibility=-0.1), r"plausibility is -0\.1"),
        (lambda: Plausible(1.5), r"plausibility is 1\.5"),
        (lambda: Contrast(plausibility=math.nan), "plausibility is nan"),
        (lambda: Contrast(strength=-1.0), r"strength is -1\.0; expected zero or more"),
        (lambda: Contrast("blin"), "Unknown branch 'blin'. Did you mean 'blind'"),
        (lambda: Observe("attnlpr"), "Unknown method 'attnlpr'. Did you mean 'attnlrp'"),
        (lambda: Observe(scope="sequenc"), "Unknown scope 'sequenc'. Did you mean 'sequence'"),
        (lambda: Edit.paper(scope="chache"), "Did you mean 'cache'"),
        (lambda: Edit.paper(learning_rate=0), "learning_rate is 0"),
    ],
)
def test_settings_of_other_policies(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("call", STEERED)
@pytest.mark.parametrize("layers", [(3,), (-4,), (0, 17)])
def test_layers_out_of_range(call, layers, llava):
    model, inputs = llava
    bad = [layer for layer in layers if layer]
    with untouched(model, allowed(call)), pytest.raises(ValueError, match="the decoder has 3 layers") as error:
        call(model, inputs, policy=Edit(layers=layers))
    assert f"layers {bad} are out of range" in str(error.value)


def test_no_layers_at_all(llava):
    model, inputs = llava
    with untouched(model, None), pytest.raises(ValueError, match="layers"):
        lime_xai.steer(model, inputs, Edit(layers=()), **SHORT)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", STEERED)
@pytest.mark.parametrize(
    ("name", "near"), [("edti", "edit"), ("papers", "paper"), ("contrst", "contrast"), ("Uniform_Gain", "uniform_gain")]
)
def test_unknown_policies(call, name, near, llava):
    model, inputs = llava
    with (
        untouched(model, allowed(call)),
        pytest.raises(ValueError, match=f"Unknown policy '{name}'. Did you mean '{near}'"),
    ):
        call(model, inputs, policy=name)
    with untouched(model, allowed(call)), pytest.raises(ValueError, match=f"Did you mean '{near}'"):
        call(model, inputs, policy=["observe", name])


@pytest.mark.parametrize("call", STEERED)
@pytest.mark.parametrize("policy", [3, Edit, {"policy": "Edit"}], ids=["number", "class", "dict"])
def test_what_is_no_policy(call, policy, llava):
    model, inputs = llava
    with untouched(model, allowed(call)), pytest.raises(TypeError, match="is no policy; give a name"):
        call(model, inputs, policy=policy)


@pytest.mark.parametrize(
    ("name", "near"), [("attnlpr", "attnlrp"), ("cp-lrp", "cplrp"), ("gradient-input", "gradient_input")]
)
def test_unknown_methods(name, near, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(ValueError, match=f"Unknown method '{name}'. Did you mean '{near}'"):
        lime_xai.attribute(model, inputs, method=name)


@pytest.mark.parametrize("call", [load_world, bundled_model])
def test_unknown_worlds(call):
    with pytest.raises(ValueError, match=r"(?i)unknown world 'scen'.*did you mean 'scene'"):
        call("scen")


# Inputs that fit no prompt -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", EVERYWHERE)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda mask: mask * 2, "[2]"),
        (lambda mask: -mask, "[-1]"),
        (lambda mask: mask * math.nan, "[nan"),
        (lambda mask: mask * 0.5, "[0.5]"),
        (lambda mask: torch.zeros(mask.shape).index_fill(1, torch.tensor([0]), -math.inf), "[-inf]"),
    ],
    ids=["twos", "minus one", "nan", "half", "added to scores"],
)
def test_an_attention_mask_of_other_values(call, change, named, llava):
    """The plain model reads them in two ways: attention as true, ``generate`` as a number that it adds up."""
    model, inputs = llava
    given = inputs | {"attention_mask": change(inputs["attention_mask"])}
    with untouched(model, allowed(call)), pytest.raises(ValueError, match=re.escape(f"attention_mask holds {named}")):
        call(model, given)


@pytest.mark.parametrize("call", EVERYWHERE)
def test_rows_of_padding_alone(call):
    model, joined, _ = batch("llava", 2)
    joined["attention_mask"][1] = 0
    with (
        untouched(model, allowed(call)),
        pytest.raises(ValueError, match=r"attends to no position of rows \[1\]; leave these"),
    ):
        call(model, joined)


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("change", ["shorter", "other batch", "one dimension", "three dimensions"])
def test_an_attention_mask_of_another_shape(call, change, llava):
    model, inputs = llava
    mask = inputs["attention_mask"]
    changes = {"shorter": mask[:, 1:], "other batch": mask.repeat(2, 1), "one dimension": mask[0]}
    given = changes.get(change, mask[None])
    shape = re.escape(str(tuple(given.shape)))
    with untouched(model), pytest.raises(ValueError, match=rf"attention_mask has shape {shape}, the prompt \(1, 12\)"):
        call(model, inputs | {"attention_mask": given})


@pytest.mark.parametrize("call", [by_steer, by_attribute])
def test_keys_that_are_no_names(call, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(TypeError, match=r"inputs has the keys \[3\]; expected names"):
        call(model, inputs | {3: torch.ones(1)})


@pytest.mark.parametrize("call", [by_steer, by_attribute])
@pytest.mark.parametrize("cache", [3, "dynamic", [(torch.ones(1), torch.ones(1))]])
def test_what_is_no_cache(call, cache, llava):
    model, inputs = llava
    with untouched(model), pytest.raises(TypeError, match=r"past_key_values is .*; expected a transformers Cache"):
        call(model, inputs | {"past_key_values": cache})


@pytest.mark.parametrize("call", [by_steer, by_attribute])
def test_embeddings_without_channels(call):
    model, _ = text_only()
    with untouched(model), pytest.raises(ValueError, match=r"inputs_embeds has shape \(1, 9\); expected \[batch"):
        call(model, {"inputs_embeds": torch.ones(1, 9)})


def test_an_argument_given_twice(llava):
    model, inputs = llava
    with untouched(model), pytest.raises(TypeError, match="attention_mask: given in inputs and as a keyword"):
        by_steer(model, inputs, attention_mask=inputs["attention_mask"])


def test_a_prompt_of_no_token_inside_steering(llava):
    model, inputs = llava
    empty = inputs["input_ids"][:, :0]
    with untouched(model), pytest.raises(ValueError, match=r"input_ids has shape \(1, 0\); expected \[batch, tokens\]"):
        by_context(model, {"input_ids": empty, "attention_mask": empty})


def test_an_id_without_an_embedding_inside_steering():
    model, inputs = text_only()
    inputs["input_ids"][0, -1] = 64
    mask = torch.ones(1, 9, dtype=torch.bool)

    def call():
        with lime_xai.steering(model, perceptual=mask):
            model.generate(**inputs, **SHORT)

    with untouched(model), pytest.raises(ValueError, match=r"Token ids \[64\] are out of range"):
        call()


@pytest.mark.parametrize("call", STEERED)
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(1, 9, dtype=torch.bool, device="meta"), "perceptual mask 'image' is on the meta device"),
        (torch.zeros(0), r"perceptual mask 'image' has shape \(0,\)"),
        (torch.tensor(3), r"perceptual mask 'image' has shape \(\)"),
    ],
)
def test_masks_that_hold_nothing(call, mask, message):
    model, inputs = text_only()

    def run():
        if call is by_steer:
            return call(model, inputs, perceptual=mask)
        if call is by_custom_loop:
            return call(model, inputs, perceptual=mask)
        with lime_xai.steering(model, perceptual=mask):
            return model.generate(**inputs, **SHORT)

    with untouched(model), pytest.raises(ValueError, match=message):
        run()


@pytest.mark.parametrize("call", STEERED[:2])
@pytest.mark.parametrize("lookup", [torch.ones(1, 12), "two", 2])
def test_prompt_lookup_of_any_kind_is_refused(call, lookup, llava):
    model, inputs = llava
    with untouched(model, allowed(call)), pytest.raises(ValueError, match="prompt lookup check several tokens"):
        call(model, inputs, prompt_lookup_num_tokens=lookup)
