"""Calibrating a model on a world's tuning scenes."""

import copy

import torch

from lime_xai.evaluation.policies import calibrations


def test_prompts_of_a_calibration_are_where_the_model_is(each_world, each_untrained, monkeypatch, tmp_path):
    model, processor = each_untrained
    seen = []

    def taken(model, prompts, **settings):
        seen.extend(prompts)
        return settings["path"]

    monkeypatch.setattr(calibrations, "SCENES", 1)
    monkeypatch.setattr(calibrations, "calibrate", taken)
    moved = copy.deepcopy(model).to("meta")
    path = tmp_path / "gains.safetensors"
    assert calibrations.world_calibration(each_world, moved, processor, path) == path
    tensors = [value for inputs in seen for value in inputs.values() if isinstance(value, torch.Tensor)]
    assert tensors
    assert {tensor.device.type for tensor in tensors} == {"meta"}
