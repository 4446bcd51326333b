"""A folder of custom generation, run by transformers' own ``generate`` from a local path."""

from dataclasses import dataclass

import pytest
import torch
from support.families import batch

import lime_xai
from lime_xai import LogitShift, Policy
from lime_xai.generation.exported import export_custom_generate

SETTINGS = {"max_new_tokens": 4, "do_sample": False}


@pytest.fixture
def llava():
    model, _, (inputs,) = batch("llava", 1)
    model.generation_config.eos_token_id = None
    return model, inputs


@pytest.fixture(autouse=True)
def modules_apart(monkeypatch, tmp_path):
    """transformers copies the file into a cache of modules; not that of the user."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.mark.parametrize("policy", [None, "contrast", [LogitShift({17: 500.0}), "plausible"]])
def test_generate_runs_the_folder_as_steer_does(policy, llava, tmp_path):
    model, inputs = llava
    export_custom_generate(tmp_path / "steered", policy)
    found = model.generate(**inputs, **SETTINGS, custom_generate=str(tmp_path / "steered"), trust_remote_code=True)
    assert torch.equal(found, lime_xai.steer(model, inputs, policy, **SETTINGS).sequences)


def test_another_policy_and_beams_and_a_streamer(llava, tmp_path):
    model, inputs = llava
    export_custom_generate(tmp_path / "steered", "contrast")
    folder = {"custom_generate": str(tmp_path / "steered"), "trust_remote_code": True}
    shift = LogitShift({17: 500.0})
    found = model.generate(**inputs, **SETTINGS, **folder, policy=shift, num_beams=2)
    assert torch.equal(found, lime_xai.steer(model, inputs, shift, **SETTINGS, num_beams=2).sequences)

    class Kept:
        def __init__(self):
            self.tokens = []

        def put(self, value):
            self.tokens += value.flatten().tolist()

        def end(self):
            pass

    kept = Kept()
    found = model.generate(**inputs, **SETTINGS, **folder, streamer=kept)
    assert kept.tokens == found[0].tolist()


def test_a_folder_is_not_written_over(tmp_path):
    files = export_custom_generate(tmp_path, "contrast")
    before = {path: path.read_text() for path in files}
    files[0].unlink()
    with pytest.raises(FileExistsError, match=r"generate\.py is there already"):
        export_custom_generate(tmp_path, "edit")
    assert {path: path.read_text() for path in files[1:]} == dict(list(before.items())[1:])
    assert not files[0].exists()


def test_a_policy_of_ones_own_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Own(Policy):
        def step(self, step):
            return step.logits

    with pytest.raises(ValueError, match="Own is defined in"):
        export_custom_generate(tmp_path, Own())
    assert not list(tmp_path.iterdir())
