"""Perceptual groups by name: every policy that has one takes ``modalities``, checks it, and acts there only."""

import dataclasses
import json

import pytest
import torch
from support.mixed import MIXED
from support.steps import captured_step

import lime_xai
from lime_xai import (
    POLICIES,
    Calibration,
    Constant,
    Contrast,
    Edit,
    KVEditor,
    Needs,
    Observe,
    Policy,
    RelevanceObjective,
    Reweight,
    UniformGain,
    policy_from_dict,
    policy_to_dict,
)
from lime_xai.branches.branch import BRANCHES
from lime_xai.storage.weights import weights_hash

WITHOUT_GROUP = {"plausible", "logit_shift"}
"""Registered policies that use neither image nor sound."""
PLAIN = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
OMNI = "qwen2_5_omni_thinker"


@pytest.fixture(scope="module")
def omni():
    return MIXED[OMNI].build()


def calibration(model, modalities=None, gains=("image", "audio")):
    config = model.config.get_text_config()
    generator = torch.Generator().manual_seed(1)
    shape = config.num_hidden_layers, config.num_key_value_heads
    found = {name: torch.randn(shape, generator=generator) for name in gains}
    mean = torch.randn(config.vocab_size, generator=generator)
    return Calibration(weights_hash(model), "direct", 1, 1, mean, found, modalities=modalities)


def with_groups(model):
    """One policy of each kind that has a perceptual group: the registry's, and those without usual settings."""
    found = {name: make() for name, make in POLICIES.items() if name not in WITHOUT_GROUP}
    found |= {f"contrast {branch}": Contrast(branch) for branch in BRANCHES if branch != "counterfactual"}
    return found | {"constant": Constant(calibration(model))}


KINDS = (
    sorted({*POLICIES} - WITHOUT_GROUP) + [f"contrast {b}" for b in BRANCHES if b != "counterfactual"] + ["constant"]
)


def logits(model, inputs, policy, count=2, **settings):
    asked = {"max_new_tokens": count, "min_new_tokens": count, **PLAIN, **settings}
    return torch.stack(lime_xai.steer(model, inputs, policy, **asked).generation.logits, 1)


def test_every_registered_policy_has_a_group_or_is_known_to_have_none():
    for name, make in POLICIES.items():
        has = "modalities" in {item.name for item in dataclasses.fields(make())}
        assert has is (name not in WITHOUT_GROUP), name


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_modalities_and_those_that_the_prompt_lacks_are_refused_before_compute(omni, kind):
    model, inputs, _ = omni
    policy = with_groups(model)[kind]
    with pytest.raises(ValueError, match=r"Unknown modalities\[0\] 'sound'"):
        dataclasses.replace(policy, modalities=("sound",))
    for bad in ((), ("audio", "audio")):
        with pytest.raises(ValueError, match="at least one modality, each once"):
            dataclasses.replace(policy, modalities=bad)
    with pytest.raises(TypeError, match="modalities is 'audio'"):
        dataclasses.replace(policy, modalities="audio")
    video = dataclasses.replace(policy, modalities=("audio", "video"))
    calls = []
    hook = model.get_decoder().register_forward_pre_hook(lambda *_: calls.append(1))
    message = r"has modalities=.*audio.*, and the prompt holds image, audio, but no video"
    try:
        with pytest.raises(ValueError, match=message):
            lime_xai.steer(model, inputs, video, max_new_tokens=2)
        with pytest.raises(ValueError, match=message), lime_xai.steering(model, video):
            model.generate(**inputs, max_new_tokens=2)
    finally:
        hook.remove()
    assert not calls


@pytest.mark.parametrize("kind", KINDS)
def test_each_group_does_something_else_and_all_by_name_what_none_does(omni, kind):
    model, inputs, _ = omni
    policy = with_groups(model)[kind]
    groups = (None, ("image", "audio"), ("image",), ("audio",))
    if kind == "observe":
        found = [shares(model, inputs, dataclasses.replace(policy, modalities=group)) for group in groups]
    else:
        found = [logits(model, inputs, dataclasses.replace(policy, modalities=group)) for group in groups]
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-5)
    for a, b in ((0, 2), (0, 3), (2, 3)):
        assert float((found[a] - found[b]).abs().max()) > 1e-6
    if kind == "observe":
        torch.testing.assert_close(found[0], found[2] + found[3], atol=1e-5, rtol=1e-5)


def shares(model, inputs, policy):
    trace = lime_xai.steer(model, inputs, policy, max_new_tokens=2, min_new_tokens=2, do_sample=False).trace
    return torch.stack([step.share_before for step in trace.steps])


@pytest.mark.parametrize("kind", KINDS)
def test_json_keeps_the_modalities(omni, kind):
    policy = dataclasses.replace(with_groups(omni[0])[kind], modalities=("audio",))
    if kind != "constant":  # its calibration was not saved
        assert policy_from_dict(json.loads(json.dumps(policy_to_dict(policy)))) == policy


@pytest.mark.parametrize("deltas", ["gain", "free"])
@pytest.mark.parametrize("modality", ["image", "audio"])
def test_an_edit_changes_slots_of_its_modality_only(omni, modality, deltas):
    model, inputs, _ = omni
    step = captured_step(model, inputs, 1)
    start, stop = MIXED[OMNI].places[modality]
    settings = Edit(deltas=deltas, edit="both", direction="backward", modalities=(modality,), learning_rate=0.1)
    found = KVEditor(settings).edit(step).deltas
    states = torch.ones(1, 2, step.positions.length - 1, 8)
    changed = torch.zeros(states.shape[2], dtype=torch.bool)
    for layer in found.shapes:
        for old, new in zip((states, states), found(layer, states, states, 0), strict=True):
            changed |= (old != new).any(1).any(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == list(range(start, stop))


def test_the_objective_asks_for_its_modality_and_counts_the_other_as_text(omni):
    """By hand from the relevance of the step: the difference form, and whose share the trace records."""
    model, inputs, _ = omni
    step = captured_step(model, inputs, 0)
    start, stop = MIXED[OMNI].places["audio"]
    objective = RelevanceObjective(form="difference", target="expected", kl_weight=0.0)
    named = dataclasses.replace(objective, modalities=("audio",))
    for settings in (Edit(objective=objective, modalities=("audio",)), Edit(objective=named)):
        result = KVEditor(dataclasses.replace(settings, direction="backward")).edit(step)
        relevance = result.relevance_before[0]
        counted = ~step.positions.bos[0]
        sound = relevance[start:stop]
        assert torch.allclose(result.losses[0, 0], relevance[counted].sum() - 2 * sound.sum(), atol=1e-5)
        share = sound.abs().sum() / relevance[counted].abs().sum()
        assert torch.allclose(result.share_before[0], share, atol=1e-6)
    parts = [set(KVEditor(e).edit(step).gains) for e in (Edit(modalities=("audio",), direction="backward"),
                                                         Edit(objective=named, direction="backward"))]  # fmt: skip
    assert parts == [{"audio"}, {"image", "audio"}]


def test_both_directions_of_an_edit_of_one_modality_agree(omni):
    model, inputs, _ = omni
    found = [logits(model, inputs, Edit(modalities=("audio",), direction=d)) for d in ("forward", "backward")]
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("family", [OMNI, "qwen3_omni_thinker"])
def test_contributions_of_a_modality_are_those_of_its_route(family):
    """Each policy of a list sees those of its own group; by ``routes``, in both directions."""
    model, inputs, _ = MIXED[family].build()
    route = lime_xai.routes(model, inputs, relevance="direct").contributions
    for direction in ("forward", "backward"):
        seen = [_Seen([], group, direction) for group in (("image",), None, ("audio",))]
        lime_xai.steer(model, inputs, seen, max_new_tokens=1)
        wanted = [route["image"], route["image"] + route["audio"], route["audio"]]
        for policy, part in zip(seen, wanted, strict=True):
            torch.testing.assert_close(policy.seen[0], part[:, 0], atol=1e-4, rtol=1e-3)


@dataclasses.dataclass(frozen=True)
class _Seen(Policy):
    """Keeps the contributions that it is given."""

    seen: list
    modalities: tuple | None
    direction: str

    @property
    def needs(self):
        return Needs(contributions=lime_xai.ContributionNeed("direct", self.direction, self.modalities))

    def step(self, step):
        self.seen.append(step.contributions)
        return step.logits


PAIRS = {
    "edit, reweight": (Edit(modalities=("audio",)), Reweight(modalities=("image",))),
    "reweight twice": (Reweight(modalities=("audio",)), Reweight(2.0, modalities=("image",))),
    "gain, edit": (UniformGain(modalities=("image",)), Edit(modalities=("audio",))),
    "contrast, edit": (Contrast("slot", modalities=("image",)), Edit(modalities=("audio",))),
    "contrast, reweight": (Contrast("blind", modalities=("image",)), Reweight(modalities=("audio",))),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("family", [OMNI, "qwen3_omni_thinker"])
def test_two_groups_in_one_session_add_what_each_does_alone(family, pair):
    model, inputs, _ = MIXED[family].build()
    first, second = (dataclasses.replace(policy, plausibility=0.0) if hasattr(policy, "plausibility") else policy
                     for policy in PAIRS[pair])  # fmt: skip
    plain, a, b, both = (logits(model, inputs, p, 1)[:, 0] for p in ([], [first], [second], [first, second]))
    torch.testing.assert_close(both, a + b - plain, atol=1e-3, rtol=1e-3)


def test_two_branches_in_one_session_are_refused_by_name(omni):
    model, inputs, _ = omni
    pair = [Contrast("slot", modalities=("image",)), Contrast("slot", modalities=("audio",))]
    with pytest.raises(ValueError, match=r"different branches: .*modalities=\('audio',\).*modalities=\('image',\)"):
        lime_xai.steer(model, inputs, pair, max_new_tokens=1)


def test_rows_without_the_modality_are_refused(omni):
    model, inputs, _ = omni
    ids = torch.cat([inputs["input_ids"]] * 2)
    start, stop = MIXED[OMNI].places["audio"]
    ids[1, start:stop] = 7
    rows = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    for name in ("pixel_values", "image_grid_thw"):
        rows[name] = torch.cat([inputs[name]] * 2)
    with pytest.raises(ValueError, match=r"UniformGain has modalities=\('audio',\), of which rows \[1\] .* nothing"):
        lime_xai.steer(model, rows, UniformGain(modalities=("audio",)), max_new_tokens=1)


def test_a_calibration_is_of_the_modalities_that_it_is_used_for(omni, tmp_path):
    model, inputs, _ = omni
    asked = {"max_new_tokens": 2, "progress": False}
    found = lime_xai.calibrate(model, [inputs], modalities=("audio",), path=tmp_path / "audio.safetensors", **asked)
    assert set(found.gains) == {"audio"}
    assert found.modalities == Calibration.load(tmp_path / "audio.safetensors").modalities == ("audio",)
    again = lime_xai.calibrate(model, [inputs], modalities=("audio",), path=tmp_path / "audio.safetensors", **asked)
    assert again == found
    with pytest.raises(ValueError, match="modalities"):
        lime_xai.calibrate(model, [inputs], path=tmp_path / "audio.safetensors", **asked)
    logits(model, inputs, Reweight(1.0, found, modalities=("audio",)))
    with pytest.raises(ValueError, match=r"calibration is of modalities \('audio',\), the policy of None"):
        Reweight(1.0, found)
    logits(model, inputs, Constant(found, modalities=("audio",)))
    with pytest.raises(ValueError, match=r"gains for \['audio'\], the prompt holds 'image'"):
        lime_xai.steer(model, inputs, Constant(found), max_new_tokens=1)


def test_observe_records_one_share(omni):
    model, inputs, _ = omni
    trace = lime_xai.steer(model, inputs, Observe(modalities=("audio",)), max_new_tokens=1).trace
    relevance = KVEditor(Observe()._settings()).edit(captured_step(model, inputs, 0)).relevance_before[0]
    start, stop = MIXED[OMNI].places["audio"]
    share = relevance[start:stop].abs().sum() / relevance[1:].abs().sum()
    assert torch.allclose(trace.steps[0].share_before[0], share, atol=1e-5)
