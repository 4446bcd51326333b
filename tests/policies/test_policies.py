"""Policies: names, JSON, order, and what each does, by hand."""

import dataclasses
import json

import pytest
import torch
from support.families import FAMILIES, batch
from transformers import DynamicCache

import lime_xai
from lime_xai import (
    POLICIES,
    Contrast,
    Edit,
    LogitShift,
    Needs,
    Observe,
    Plausible,
    Policy,
    RelevanceObjective,
    UniformGain,
    policy_from_dict,
    policy_to_dict,
)
from lime_xai.model.cache import CACHE_NAME
from lime_xai.policies import registry
from lime_xai.policies.registry import as_policies

FULL = {"do_sample": False, "output_logits": True, "output_scores": True, "return_dict_in_generate": True}
IDLE = [
    Edit(steps=0),
    Edit.paper().__class__(steps=0, scope="sequence", deltas="free"),
    Contrast(strength=0.0),
    UniformGain(0.0),
    Plausible(0.0),
    LogitShift(),
    LogitShift({5: 0.0}),
    [],
    [Edit(steps=0), [Contrast(strength=0.0)]],
]
CHANGED = [
    Edit(layers=(0, -1), steps=3, method="cplrp", edit="both", include_bos=True),
    Edit(objective=RelevanceObjective(temperature=0.5, target="margin", kl_direction="reference_steered")),
    Edit.paper("cache", 0.01),
    Contrast(strength=2.0, plausibility=0.0),
    LogitShift({3: 1.5, 7: -2.0}),
    Observe("cplrp", "sequence"),
    Plausible(0.3),
    UniformGain(-0.5),
]


def tokens(count):
    return {"max_new_tokens": count, "min_new_tokens": count, **FULL}


def steered(model, inputs, policy, count=1):
    return lime_xai.steer(model, inputs, policy, **tokens(count)).generation


class Double(Policy):
    """Doubles what it is given and notes what it saw."""

    needs = Needs(past=True)

    def __init__(self):
        self.plain, self.given = [], []

    def step(self, step):
        self.plain.append(step.plain.clone())
        self.given.append(step.logits.clone())
        return step.logits * 2


# Names and JSON ------------------------------------------------------------------------------------------------------


def test_the_registry_makes_what_it_names():
    assert {"edit", "paper", "contrast", "uniform_gain", "logit_shift", "observe", "plausible"} <= set(POLICIES)
    for name, make in POLICIES.items():
        assert as_policies(name) == (make(),)
    assert POLICIES["paper"]() == Edit.paper()
    assert POLICIES["edit"]() == Edit()
    assert as_policies(None) == (Edit(),)


def test_lists_are_flattened_in_order():
    one = Plausible()
    found = as_policies(["edit", (one, ["contrast"])])
    assert found == (Edit(), one, Contrast())
    assert found[1] is one
    assert as_policies([]) == ()


@pytest.mark.parametrize("policy", [*(make() for make in POLICIES.values()), *CHANGED], ids=repr)
def test_policies_go_to_json_and_back(policy):
    text = json.dumps(policy_to_dict(policy))
    back = policy_from_dict(json.loads(text))
    assert back == policy
    assert type(back) is type(policy)
    assert json.dumps(policy_to_dict(back)) == text


@pytest.mark.parametrize("policy", [make() for make in POLICIES.values()], ids=list(POLICIES))
def test_policies_are_frozen(policy):
    for field in dataclasses.fields(policy):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, field.name, None)


def test_reading_does_not_change_the_data():
    data = policy_to_dict(Edit(layers=(1,)))
    before = json.dumps(data)
    policy_from_dict(data)
    assert json.dumps(data) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"policy": "Edti"}, "Unknown policy 'Edti'. Did you mean 'Edit'"),
        ({}, "Unknown policy None"),
        ({"policy": "Edit", "stesp": 1}, "Unknown field of Edit 'stesp'. Did you mean 'steps'"),
        ({"policy": "Contrast", "steps": 1}, "Unknown field of Contrast 'steps'"),
        ({"policy": "Edit", "objective": {"temprature": 1.0}}, "'temprature'.*'temperature'"),
        ({"policy": "Edit", "steps": -1}, "steps is -1"),
        ({"policy": "Edit", "steps": 2.7}, "Edit.steps: found 2.7, expected int"),
        ({"policy": "Edit", "steps": "3"}, "Edit.steps: found '3', expected int"),
        ({"policy": "Edit", "steps": True}, "Edit.steps: found True, expected int"),
        ({"policy": "Edit", "layers": "12"}, "Edit.layers"),
        ({"policy": "Edit", "layers": [1.9]}, "Edit.layers: found 1.9, expected int"),
        ({"policy": "Edit", "layers": 3}, "Edit.layers"),
        ({"policy": "Edit", "include_bos": "false"}, "Edit.include_bos: found 'false', expected bool"),
        ({"policy": "Edit", "scope": "cach"}, "Edit.scope: .*Did you mean 'cache'"),
        ({"policy": "Edit", "objective": []}, "Edit.objective: .*fields of RelevanceObjective"),
        ({"policy": "Edit", "objective": None}, "Edit.objective: .*fields of RelevanceObjective"),
        ({"policy": "Edit", "objective": {"temperature": "1"}}, "Edit.objective.temperature: found '1'"),
        ({"policy": "Contrast", "strength": True}, "Contrast.strength: found True, expected float"),
        ({"policy": "Contrast", "strength": None}, "Contrast.strength: found None, expected float"),
        ({"policy": "Constant"}, "Constant.calibration is missing"),
        ({"policy": "Constant", "calibration": None}, "Constant.calibration: found None"),
        ({"policy": "LogitShift", "shifts": [1.0]}, "LogitShift.shifts: .*expected a mapping"),
        ({"policy": ["Edit"]}, "Unknown policy"),
        (["Edit"], "found list"),
    ],
)
def test_data_that_is_no_policy_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        policy_from_dict(data)


def test_a_whole_number_is_read_as_a_float():
    assert policy_from_dict({"policy": "Contrast", "strength": 1}) == Contrast(strength=1.0)


# Registered from outside --------------------------------------------------------------------------------------------


@pytest.fixture
def unregistered(monkeypatch):
    """Leaves the registries as they were."""
    monkeypatch.setattr(registry, "POLICIES", dict(POLICIES))
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))


def outside(name="Outside", **annotations):
    def step(self, step):
        return step.logits

    members = {"__annotations__": annotations, "__module__": __name__, "step": step}
    return dataclasses.dataclass(frozen=True)(type(name, (Policy,), members))


@pytest.mark.usefixtures("unregistered")
def test_a_class_can_be_defined_again_in_its_module():
    first, second = (registry.register_policy("outside")(outside(strength=float)) for _ in range(2))
    data = policy_to_dict(second(0.5))
    assert type(policy_from_dict(data)) is second is not first
    assert as_policies("edit") == (Edit(),)
    with pytest.raises(ValueError, match=r"Outside\.strength: found 'much'"):
        policy_from_dict({**data, "strength": "much"})


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize(
    ("register", "error", "message"),
    [
        (lambda: registry.register_policy(outside()), TypeError, "has parentheses"),
        (lambda: registry.register_policy("edit")(outside()), ValueError, "There is a policy 'edit' already"),
        (lambda: registry.register_policy()(outside("Edit")), ValueError, "There is a policy class Edit already"),
        (lambda: registry.register_policy()(outside(policy=str)), TypeError, "has a field 'policy'"),
        (lambda: registry.register_policy()(outside(other="NotDefined")), TypeError, "not at module level"),
        (lambda: registry.register_policy()(int), TypeError, "int is no dataclass"),
    ],
)
def test_a_class_that_cannot_be_registered_is_refused(register, error, message):
    with pytest.raises(error, match=message):
        register()


class Failing(Policy):
    @property
    def needs(self):
        raise AttributeError("inside")

    def step(self, step):
        return step.logits


def test_an_error_inside_needs_is_not_hidden():
    policy = Failing()
    assert as_policies(policy) == (policy,)


# Idle and composed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize("policy", IDLE, ids=repr)
def test_idle_policies_leave_generate_bit_identical(family, policy):
    model, inputs, _ = FAMILIES[family].build()
    plain = model.generate(**inputs, **tokens(3))
    found = steered(model, inputs, policy, 3)
    assert torch.equal(plain.sequences, found.sequences)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, found.logits, strict=True))


@pytest.mark.parametrize("policy", [make() for name, make in POLICIES.items() if name != "logit_shift"], ids=repr)
def test_policies_of_the_registry_are_not_idle(policy):
    assert not policy.idle


def test_each_policy_gets_what_the_one_before_made():
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, **tokens(1)).logits[0]
    shift = LogitShift({5: 3.0})
    moved = plain.clone()
    moved[:, 5] += 3.0
    last = Double()
    assert torch.equal(steered(model, inputs, [shift, last]).logits[0], moved * 2)
    assert torch.equal(last.plain[0], plain)
    assert torch.equal(last.given[0], moved)
    wanted = plain * 2
    wanted[:, 5] += 3.0
    assert torch.equal(steered(model, inputs, [Double(), shift]).logits[0], wanted)


@pytest.mark.parametrize("second", [UniformGain(), Contrast(plausibility=0.0), Edit(plausibility=0.0)], ids=repr)
def test_policies_that_start_from_the_model_keep_what_was_done_before(second):
    model, inputs, _ = FAMILIES["llava"].build()
    shift = LogitShift({5: 3.0, 9: -1.0})
    wanted = steered(model, inputs, second).logits[0].clone()
    wanted[:, 5] += 3.0
    wanted[:, 9] -= 1.0
    for order in ([shift, second], [second, shift]):
        assert torch.allclose(steered(model, inputs, order).logits[0], wanted, atol=1e-5)


def test_a_mask_survives_the_policies_after_it():
    model, inputs, _ = FAMILIES["llava"].build()
    masked = steered(model, inputs, Plausible(0.5)).scores[0].isinf()
    assert 0 < int(masked.sum()) < 127
    for after in (LogitShift({5: 1.0}), UniformGain(), Contrast(plausibility=0.0), Observe()):
        assert torch.equal(steered(model, inputs, [Plausible(0.5), after]).scores[0].isinf(), masked)


def test_each_policy_has_a_memory_of_its_own():
    model, inputs, _ = FAMILIES["llava"].build()
    one = Contrast(plausibility=0.0)
    single = steered(model, inputs, one, 3)
    plain = model.generate(**inputs, **tokens(1)).logits[0]
    twice = steered(model, inputs, [one, one], 1).logits[0]
    assert torch.allclose(twice - plain, 2 * (single.logits[0] - plain), atol=1e-4)


# What each does ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.99])
def test_plausible_keeps_tokens_near_the_best(fraction):
    model, inputs, _ = batch("llava", 3)
    model.generation_config.eos_token_id = None  # which min_new_tokens would ban
    plain = model.generate(**inputs, **tokens(1)).logits[0]
    found = steered(model, inputs, Plausible(fraction)).scores[0]
    for row in range(3):
        probability = plain[row].double().softmax(-1).tolist()
        for token, value in enumerate(found[row].tolist()):
            if probability[token] >= fraction * max(probability):
                assert value == float(plain[row, token])
            else:
                assert value == -float("inf")


def test_logit_shift_adds_constants_at_every_token():
    model, inputs, _ = FAMILIES["llava"].build()
    found = steered(model, inputs, LogitShift({5: 100.0, 6: -2.0}), 3)
    assert found.sequences[0, -3:].tolist() == [5, 5, 5]
    ids = found.sequences[:, :-1]
    with torch.no_grad():
        plain = model(**inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[:, -3:]
    shift = torch.zeros(128)
    shift[5], shift[6] = 100.0, -2.0
    assert torch.allclose(torch.stack(found.logits, 1), plain + shift, atol=1e-4)


def teacher_forced(model, inputs, sequences, count):
    """Plain logits ``[B, count, V]`` before each of the last tokens, in one pass of the whole model."""
    length = inputs["input_ids"].shape[1]
    ids = sequences[:, :-1]
    grown = {
        "input_ids": ids,
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (0, count - 1), value=1),
    }
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in inputs:
            grown[name] = torch.nn.functional.pad(inputs[name], (0, count - 1))
    with torch.no_grad():
        if "image_grid_thw" in inputs:
            model.model.rope_deltas = None
        return model(**inputs | grown).logits[:, length - 1 :]


def blind_logits(model, inputs, sequences, count, removed):
    """Each row alone without what is removed and without padding: text for a text model."""
    length = inputs["input_ids"].shape[1]
    rows = []
    for row, mask in zip(sequences.tolist(), inputs["attention_mask"].tolist(), strict=True):
        prompt = [token for token, seen in zip(row[:length], mask, strict=True) if seen and token not in removed]
        ids = torch.tensor([prompt + row[length:-1]])
        with torch.no_grad():
            hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            rows.append(model.lm_head(hidden)[0, -count:])
    return torch.stack(rows)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("family", "removed"), [("llava", {99}), ("qwen2_vl", {99, 95, 96})])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_contrast_is_the_difference_to_a_prompt_without_the_image(family, removed, rows, strength):
    model, inputs, _ = batch(family, rows)
    found = steered(model, inputs, Contrast(strength=strength, plausibility=0.0), 3)
    plain = teacher_forced(model, inputs, found.sequences, 3)
    blind = blind_logits(model, inputs, found.sequences, 3, removed)
    assert float((plain - blind).abs().max()) > 0.1
    wanted = (1 + strength) * plain - strength * blind
    assert torch.allclose(torch.stack(found.logits, 1), wanted, atol=1e-4)


def test_contrast_excludes_what_the_model_finds_implausible():
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, **tokens(1)).logits[0].softmax(-1)
    free, kept = (steered(model, inputs, Contrast(plausibility=p)).scores[0] for p in (0.0, 0.3))
    excluded = plain < 0.3 * plain.max()
    assert bool(kept[excluded].isinf().all())
    assert torch.equal(kept[~excluded], free[~excluded])


@pytest.mark.parametrize("gain", [0.8, -1.0])
@pytest.mark.parametrize("family", ["llava", "llava_mistral_sliding", "qwen2_audio", "internvl"])
def test_uniform_gain_scales_cached_values_of_what_is_perceived(family, gain):
    """By hand: cache everything before the last token, scale the values, run the last token."""
    model, inputs, placeholders = FAMILIES[family].build()
    token = placeholders[FAMILIES[family].modality]
    found = steered(model, inputs, UniformGain(gain), 3)
    moved = model.generate(**inputs, **tokens(1)).logits[0] - found.logits[0]
    assert float(moved.abs().max()) > 1e-3
    length = inputs["input_ids"].shape[1]
    for index in range(3):
        ids = found.sequences[:, : length + index]
        cache = DynamicCache(config=model.get_decoder().config)
        before = inputs | {"input_ids": ids[:, :-1], "attention_mask": torch.ones_like(ids[:, :-1])}
        with torch.no_grad():
            model(**before, use_cache=True, **{CACHE_NAME: cache})
            for layer in cache.layers:
                held = layer.values.shape[2]
                for slot, value in enumerate(ids[0, -1 - held : -1].tolist()):
                    if value == token:
                        layer.values[:, :, slot] *= 1 + gain
            last = {"input_ids": ids[:, -1:], "position_ids": torch.tensor([[ids.shape[1] - 1]])}
            wanted = model(**last, attention_mask=torch.ones_like(ids), **{CACHE_NAME: cache}).logits[:, -1]
        assert torch.allclose(found.logits[index], wanted, atol=1e-4)


def test_observing_records_shares_and_changes_nothing():
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, **tokens(3))
    for scope in ("cache", "sequence"):
        output = lime_xai.steer(model, inputs, Observe(scope=scope), **tokens(3))
        assert all(torch.equal(a, b) for a, b in zip(plain.logits, output.generation.logits, strict=True))
        assert len(output.trace) == 3
        for step in output.trace.steps:
            assert 0 < float(step.share_before) < 1
            assert step.losses is None


def test_names_are_policies_too():
    model, inputs, _ = FAMILIES["llava"].build()
    by_name = steered(model, inputs, ["uniform_gain", "plausible"], 2)
    by_hand = steered(model, inputs, [UniformGain(), Plausible()], 2)
    assert all(torch.equal(a, b) for a, b in zip(by_name.logits, by_hand.logits, strict=True))
