"""Calibrations, and the policies that need them."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from support.families import FAMILIES, batch
from support.recordings import recorded

import lime_xai
from lime_xai import Calibration, Constant, Edit, Needs, Reweight, calibrate, policy_from_dict, policy_to_dict
from lime_xai.decoding.policy import ContributionNeed
from lime_xai.model.cache import slots
from lime_xai.storage.weights import weights_hash

SETTINGS = {"max_new_tokens": 3, "progress": False}


@pytest.fixture(scope="module")
def llava():
    return FAMILIES["llava"].build()[:2]


@pytest.fixture(scope="module")
def prompts(llava):
    return [FAMILIES["llava"].inputs(llava[0], row) for row in range(3)]


@pytest.fixture(scope="module")
def measured(llava, prompts):
    return calibrate(llava[0], prompts, **SETTINGS)


def test_baseline_is_the_mean_over_the_steps_of_greedy_decoding(llava, prompts, measured):
    model = llava[0]
    parts, ended = [], []
    for inputs in prompts:
        tokens = model.generate(**inputs, max_new_tokens=3, do_sample=False)[:, -3:]
        length = next((i + 1 for i, token in enumerate(tokens[0].tolist()) if token == 2), 3)
        owed = lime_xai.routes(model, inputs, tokens, relevance="direct").contributions["image"][0, :length]
        parts.append(owed)
        ended.append(length)
    assert measured.prompts == 3
    assert measured.steps == sum(ended)
    torch.testing.assert_close(measured.mean_contribution, torch.cat(parts).mean(0), rtol=1e-4, atol=1e-5)


def test_rows_that_have_ended_do_not_count(llava):
    model, joined, singles = batch("llava", 3)
    model.generation_config.eos_token_id = model.generate(**singles[0], max_new_tokens=1, do_sample=False)[0, -1].item()
    together = calibrate(model, [joined], gains=False, **SETTINGS)
    apart = calibrate(model, singles, gains=False, **SETTINGS)
    assert together.steps == apart.steps < 9
    assert together.prompts == apart.prompts == 3
    torch.testing.assert_close(together.mean_contribution, apart.mean_contribution, rtol=1e-4, atol=1e-5)


def test_gains_are_means_of_what_the_edit_chose(llava, prompts, measured):
    model = llava[0]
    chosen = []

    class Spy(Edit):
        def step(self, step):
            from lime_xai.editing.editor import KVEditor

            chosen.append(KVEditor(self).edit(step).gains["image"][0])
            return step.logits

    for inputs in prompts:
        lime_xai.steer(model, inputs, Spy(), max_new_tokens=3, do_sample=False)
    assert measured.gains["image"].shape == (3, 2)
    torch.testing.assert_close(measured.gains["image"], torch.stack(chosen).mean(0), rtol=1e-4, atol=1e-5)
    assert measured.gains["image"].abs().min() > 0


def test_merging_counts_steps(llava, prompts, measured):
    parts = [calibrate(llava[0], [inputs], **SETTINGS) for inputs in prompts]
    merged = parts[0].merged(parts[1]).merged(parts[2])
    assert (merged.prompts, merged.steps) == (measured.prompts, measured.steps)
    torch.testing.assert_close(merged.mean_contribution, measured.mean_contribution, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(merged.gains["image"], measured.gains["image"], rtol=1e-5, atol=1e-6)


def test_files_come_back_as_they_were(measured, tmp_path):
    saved = measured.save(tmp_path / "calibration.safetensors")
    found = Calibration.load(saved.path)
    assert found == saved == measured
    assert hash(found) == hash(measured)
    assert torch.equal(found.mean_contribution, measured.mean_contribution)
    assert (found.weights, found.steps, found.path) == (measured.weights, measured.steps, saved.path)
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.safetensors"]
    assert found != dataclasses.replace(found, steps=1)


def test_an_interrupted_calibration_goes_on(llava, prompts, measured, tmp_path):
    path = tmp_path / "calibration.safetensors"

    def stopping():
        yield prompts[0]
        yield prompts[1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(llava[0], stopping(), path=path, **SETTINGS)
    assert Calibration.load(path).prompts == 2
    resumed = calibrate(llava[0], prompts, path=path, **SETTINGS)
    assert resumed.prompts == 3
    torch.testing.assert_close(resumed.mean_contribution, measured.mean_contribution, rtol=1e-5, atol=1e-6)
    assert calibrate(llava[0], prompts, path=path, **SETTINGS) == resumed


def test_calibrating_leaves_the_model_alone(llava, prompts, measured):
    model = llava[0]
    plain = model.generate(**prompts[0], max_new_tokens=4, do_sample=False)
    calibrate(model, prompts[:1], **SETTINGS)
    assert torch.equal(model.generate(**prompts[0], max_new_tokens=4, do_sample=False), plain)
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_reweight_subtracts_the_baseline(llava, prompts, measured):
    model = llava[0]
    asked = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    plain = Reweight(2.0, plausibility=0.0)
    found = [
        lime_xai.steer(model, prompts[0], policy, **asked).generation.logits[0]
        for policy in (plain, dataclasses.replace(plain, calibration=measured))
    ]
    torch.testing.assert_close(found[0] - found[1], 2 * measured.mean_contribution[None], rtol=1e-4, atol=1e-4)


def constant_by_hand(model, inputs, gains, scale):
    """Greedy decoding over a prompt whose cached values were scaled by hand."""
    image = inputs["input_ids"][0] == 99
    from transformers import DynamicCache

    from lime_xai.model.replay import Replayer

    replayer = Replayer(model)
    call = recorded(replayer, inputs).calls[0]
    cache = DynamicCache(config=replayer.config)
    with torch.no_grad():
        replayer.run(call.without_last(), call.without_last().embeddings, cache)
        for layer in slots(cache):
            cache.layers[layer].values[:, :, image[:-1]] *= 1 + scale * gains[layer][None, :, None, None]
        logits = replayer.run(call.last_position(None), call.embeddings[:, -1:], cache)[:, -1]
        tokens = []
        for position in range(call.length, call.length + 4):
            tokens.append(logits.argmax(-1))
            one = model.get_input_embeddings()(tokens[-1])[:, None]
            hidden = model.get_decoder()(
                inputs_embeds=one, past_key_values=cache, use_cache=True, position_ids=torch.tensor([[position]])
            )
            logits = model.lm_head(hidden.last_hidden_state)[:, -1]
    return torch.stack(tokens, 1)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_constant_gains_are_written_into_the_cache_once(llava, prompts, measured, scale):
    model = llava[0]
    policy = Constant(measured, scale)
    output = lime_xai.steer(
        model, prompts[1], policy, max_new_tokens=4, do_sample=False, eos_token_id=None, return_dict_in_generate=True
    )
    expected = constant_by_hand(model, prompts[1], measured.gains["image"], scale)
    assert torch.equal(output.sequences[:, -4:], expected)
    plain = model.generate(
        **prompts[1], max_new_tokens=4, do_sample=False, eos_token_id=None, return_dict_in_generate=True
    )
    image = prompts[1]["input_ids"][0] == 99
    cached = output.generation.past_key_values.layers[0].values[:, :, : len(image)][:, :, image]
    factor = 1 + scale * measured.gains["image"][0][None, :, None, None]
    torch.testing.assert_close(cached, plain.past_key_values.layers[0].values[:, :, : len(image)][:, :, image] * factor)


@pytest.mark.parametrize("family", ["llava_mistral_sliding", "qwen2_5_vl", "qwen2_audio", "gemma3", "paligemma"])
def test_constant_gains_on_other_families(family):
    model, joined, singles = batch(family, 2)
    found = calibrate(model, singles, edit=Edit(steps=1), **SETTINGS)
    asked = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    together = lime_xai.steer(model, joined, Constant(found, 3.0), **asked).sequences[:, -4:]
    for row, inputs in enumerate(singles):
        alone = lime_xai.steer(model, inputs, Constant(found, 3.0), **asked).sequences[:, -4:]
        assert torch.equal(alone[0], together[row])
    beams = lime_xai.steer(model, singles[0], Constant(found, 3.0), num_beams=2, **asked).sequences
    assert beams.shape[1] == singles[0]["input_ids"].shape[1] + 4


def test_only_the_first_step_may_exchange_the_cache(llava, prompts):
    class Late(Reweight):
        needs = Needs(past=True, contributions=ContributionNeed())

        def step(self, step):
            return step.keep(step.fork()) if step.index else step.logits

    with pytest.raises(RuntimeError, match="Only the first step"):
        lime_xai.steer(llava[0], prompts[0], Late(), max_new_tokens=2, eos_token_id=None)


def test_another_model_is_refused(llava, prompts, measured, tmp_path):
    other, _, _ = FAMILIES["llava"].build(seed=1)
    assert weights_hash(other) != measured.weights == weights_hash(llava[0])
    for policy in (Constant(measured), Reweight(1.0, measured)):
        with pytest.raises(ValueError, match=f"have SHA-256 {measured.weights[:12]}"):
            lime_xai.steer(other, prompts[0], policy, max_new_tokens=1)
    saved = measured.save(tmp_path / "found.safetensors")
    with pytest.raises(ValueError, match=r"holds a calibration with .*weights"):
        calibrate(other, prompts, path=saved.path, **SETTINGS)
    with pytest.raises(ValueError, match="different weights"):
        measured.merged(calibrate(other, prompts[:1], **SETTINGS))


def test_policies_name_their_calibration_in_json(measured, tmp_path):
    saved = measured.save(tmp_path / "found.safetensors")
    for policy in (Constant(saved, 2.0), Reweight(1.0, saved), Reweight(1.0)):
        assert policy_from_dict(policy_to_dict(policy)) == policy
    unsaved = policy_to_dict(Constant(measured))
    assert unsaved["calibration"] == f"sha256:{measured.digest}"
    with pytest.raises(ValueError, match="was never saved"):
        policy_from_dict(unsaved)


def test_calibrating_edits_in_forward_direction(llava, prompts, monkeypatch):
    from lime_xai.editing import editor

    monkeypatch.setattr(editor, "value_over_cache", lambda *args: pytest.fail("a double backward pass"))
    calibrate(llava[0], prompts[:1], edit=Edit(direction="forward"), **SETTINGS)


def test_an_edit_that_insists_on_the_stream_does_not_go_without(llava, prompts):
    class Own(Reweight):
        needs = Needs(past=True, contributions=ContributionNeed())

        def step(self, step):
            from lime_xai.editing.editor import KVEditor

            return KVEditor(Edit(direction="forward")).edit(step).logits

    with pytest.raises(RuntimeError, match="No stream was made"):
        lime_xai.steer(llava[0], prompts[0], Own(), max_new_tokens=1)


def test_constants_add_up_in_a_list(llava, prompts, measured):
    model = llava[0]
    asked = {"max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    once, twice = (dataclasses.replace(measured, gains={"image": torch.full((3, 2), gain)}) for gain in (1.25, 0.5))
    together = lime_xai.steer(model, prompts[0], Constant(once), **asked).generation.logits
    in_turn = lime_xai.steer(model, prompts[0], [Constant(twice), Constant(twice)], **asked).generation.logits
    for ours, theirs in zip(in_turn[1:], together[1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("other", [Edit.paper(), Reweight(relevance="full")], ids=["sequence", "exact stream"])
def test_policies_that_would_not_see_a_rewritten_cache_are_refused(llava, prompts, measured, other):
    with pytest.raises(ValueError, match="Constant rewrites the cache that generation keeps"):
        lime_xai.steer(llava[0], prompts[0], [Constant(measured), other], max_new_tokens=1)


def test_small_gains_survive_half_precision():
    model, inputs, _ = FAMILIES["llava"].build()
    model.bfloat16()
    inputs = {name: value.bfloat16() if value.is_floating_point() else value for name, value in inputs.items()}
    found = calibrate(model, [inputs], gains=False, **SETTINGS)
    found = dataclasses.replace(found, gains={"image": torch.full((3, 2), 0.003)})
    output = lime_xai.steer(model, inputs, Constant(found), max_new_tokens=1, return_dict_in_generate=True)
    plain = model.generate(**inputs, max_new_tokens=1, return_dict_in_generate=True)
    values = [o.past_key_values.layers[0].values for o in (output.generation, plain)]
    assert not torch.equal(*values)


def test_resuming_with_other_settings_is_refused(llava, prompts, tmp_path):
    path = tmp_path / "calibration.safetensors"
    calibrate(llava[0], prompts[:1], path=path, gains=False, **SETTINGS)
    for other in ({"gains": True}, {"gains": False, "max_new_tokens": 2}):
        with pytest.raises(ValueError, match=r"holds a calibration with .*settings"):
            calibrate(llava[0], prompts, path=path, **SETTINGS | other)


def test_bad_files_and_settings(llava, prompts, measured, tmp_path):
    with pytest.raises(FileNotFoundError, match="no calibration at"):
        Calibration.load(tmp_path / "none")
    save_file({"baseline": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="is not a calibration of lime_xai"):
        Calibration.load(tmp_path / "other")
    with pytest.raises(ValueError, match="no prompts to calibrate on"):
        calibrate(llava[0], [], **SETTINGS)
    with pytest.raises(ValueError, match="Unknown relevance"):
        calibrate(llava[0], prompts, relevance="all", **SETTINGS)
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        calibrate(llava[0], prompts, max_new_tokens=0, progress=False)
    with pytest.raises(ValueError, match="Gains on values are averaged"):
        calibrate(llava[0], prompts, edit=Edit.paper(), **SETTINGS)
    with pytest.raises(ValueError, match="positions='perceptual'"):
        calibrate(llava[0], prompts, edit=Edit(positions="all"), **SETTINGS)
    bare = dataclasses.replace(measured, gains={})
    with pytest.raises(ValueError, match="has no gains"):
        Constant(bare)
    with pytest.raises(ValueError, match="cannot be merged"):
        measured.merged(bare)
    with pytest.raises(ValueError, match="relevance 'direct', the policy of 'full'"):
        Reweight(1.0, measured, relevance="full")
    elsewhere = dataclasses.replace(measured, gains={"audio": measured.gains["image"]})
    with pytest.raises(ValueError, match="the prompt holds 'image'"):
        lime_xai.steer(llava[0], prompts[0], Constant(elsewhere), max_new_tokens=1)


def test_settings_that_came_later_do_not_part_old_files_from_new_ones():
    from lime_xai.generation.calibrate import _described

    assert not {"plateau", "kl_budget"} & _described(Edit()).keys()
    assert _described(Edit(plateau=0.1))["plateau"] == 0.1


# Counting prompts, and files that calibrate reads and writes ---------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "llava_next", "qwen2_audio"])
def test_prompts_are_counted_by_rows_and_not_by_patches(family, tmp_path, monkeypatch):
    model, joined, singles = batch(family, 3)
    path = tmp_path / "calibration"
    shown = []
    monkeypatch.setattr(
        "lime_xai.generation.calibrate.Progress.add_task", lambda self, text, total: shown.append(total) or 0
    )
    monkeypatch.setattr("lime_xai.generation.calibrate.Progress.advance", lambda self, task: shown.append("one"))
    kwargs = {"gains": False, "max_new_tokens": 2, "path": path}
    assert calibrate(model, singles[:2], **kwargs).prompts == 2
    assert shown == [2, "one", "one"]
    resumed = calibrate(model, singles, **kwargs)
    assert resumed.prompts == 3
    together = calibrate(model, [joined], gains=False, max_new_tokens=2)
    assert together.prompts == 3
    assert together.steps == resumed.steps
    torch.testing.assert_close(together.mean_contribution, resumed.mean_contribution, rtol=1e-4, atol=1e-5)


def test_a_file_that_ends_inside_a_batch_is_not_counted_twice(tmp_path):
    model, joined, singles = batch("llava", 3)
    path = tmp_path / "calibration"
    calibrate(model, singles[:2], path=path, gains=False, **SETTINGS)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"holds 2 prompts, which end inside a batch of those given \(0 to 3\)"):
        calibrate(model, [joined], path=path, gains=False, **SETTINGS)
    assert path.read_bytes() == content


def test_a_damaged_file_is_refused_before_any_compute(llava, prompts, measured, tmp_path):
    model, path = llava[0], tmp_path / "calibration"
    ran = []
    handle = model.get_decoder().register_forward_pre_hook(lambda module, args: ran.append(1))
    try:
        for content in (b"", b"hello", measured.save(path).path.read_bytes()[:-8]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="calibration is no safetensors file, or it is damaged"):
                calibrate(model, prompts, path=path, **SETTINGS)
            assert path.read_bytes() == content
        dataclasses.replace(measured, mean_contribution=torch.zeros(5)).save(path)
        with pytest.raises(ValueError, match=r"has 5 logits, the model 128 and 3 layers"):
            calibrate(model, prompts, path=path, **SETTINGS)
    finally:
        handle.remove()
    assert ran == []


def test_calibrations_of_another_size_are_refused_before_any_compute(llava, prompts, measured):
    short = dataclasses.replace(measured, mean_contribution=torch.zeros(3))
    with pytest.raises(ValueError, match=r"has 3 logits, the model 128 and 3 layers; calibrate this model"):
        lime_xai.steer(llava[0], prompts[0], Reweight(1.0, short), max_new_tokens=1)
    shallow = dataclasses.replace(measured, gains={"image": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"gains of \{2\} layers"):
        lime_xai.steer(llava[0], prompts[0], Constant(shallow), max_new_tokens=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_calibrations_that_are_not_finite_are_refused(measured, value):
    with pytest.raises(ValueError, match="mean_contribution holds NaN or infinity"):
        dataclasses.replace(measured, mean_contribution=torch.full((128,), value))
    with pytest.raises(ValueError, match=r"gains\['image'\] holds NaN or infinity"):
        dataclasses.replace(measured, gains={"image": torch.full((3, 2), value)})
    for name, wrong in (("weights", 3), ("relevance", "all"), ("prompts", -1), ("steps", 1.5), ("gains", [1])):
        with pytest.raises((TypeError, ValueError), match=name):
            dataclasses.replace(measured, **{name: wrong})


def test_calibrations_of_other_sizes_are_not_merged():
    one = Calibration("0" * 64, "direct", 1, 3, torch.zeros(4), {"image": torch.zeros(2, 2)})
    for other, message in (
        (dataclasses.replace(one, mean_contribution=torch.zeros(5)), r"mean_contribution of shapes \(4,\) and \(5,\)"),
        (dataclasses.replace(one, gains={"image": torch.zeros(1, 2)}), r"gains.image of shapes \(2, 2\) and \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            one.merged(other)
    with pytest.raises(TypeError, match="expected a Calibration"):
        one.merged(None)


def test_calibrations_over_no_step_merge_to_zero():
    empty = Calibration("0" * 64, "direct", 0, 0, torch.zeros(4))
    assert torch.equal(empty.merged(empty).mean_contribution, torch.zeros(4))
