"""The training command of the scene world."""

import sys

import pytest

from benchmarks.worlds import training
from benchmarks.worlds.scene import SUBJECT, ScenePlan
from lime_xai.storage.weights import weights_hash


def test_training_command_passes_its_options_and_prints_the_hash(monkeypatch, tmp_path, capsys):
    model = SUBJECT.build_model(0)
    seen = {}

    def train(folder, *, world, seed, threads, plan, report):
        seen.update(folder=folder, world=world, seed=seed, threads=threads, plan=plan)
        report("vision", 1, 2, {"objects right": float("nan")})
        report("vision", 2, 2, {"objects right": 0.5})
        return model

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(
        sys, "argv", ["training", "--out", str(tmp_path), "--seed", "4", "--size", "5m", "--image-cooccurrence", ".25"]
    )
    training.main()
    plan = ScenePlan(size="5m", image_cooccurrence=0.25)
    assert seen == {"folder": tmp_path, "world": "scene", "seed": 4, "threads": 1, "plan": plan}
    printed = capsys.readouterr().out
    assert weights_hash(model) in printed.replace("\n", "")
    assert "vision 2/2  objects right 0.500" in printed


def test_training_refuses_settings_of_another_world(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        sys, "argv", ["training", "--world", "sound", "--out", str(tmp_path), "--image-cooccurrence", ".25"]
    )
    with pytest.raises(SystemExit):
        training.main()
    assert "setting of the scene world" in capsys.readouterr().err
