"""The training command of the scene world."""

import sys

from benchmarks.scene_world import network, training
from benchmarks.scene_world.plan import Plan
from lime_xai.storage.weights import weights_hash


def test_training_command_passes_its_options_and_prints_the_hash(monkeypatch, tmp_path, capsys):
    model = network.build_model(0)
    seen = {}

    def train(folder, *, seed, threads, plan, report):
        seen.update(folder=folder, seed=seed, threads=threads, plan=plan)
        report("vision", 1, 2, {"objects right": float("nan")})
        report("vision", 2, 2, {"objects right": 0.5})
        return model

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(
        sys, "argv", ["training", "--out", str(tmp_path), "--seed", "4", "--size", "5m", "--image-cooccurrence", ".25"]
    )
    training.main()
    assert seen == {"folder": tmp_path, "seed": 4, "threads": 1, "plan": Plan(size="5m", image_cooccurrence=0.25)}
    printed = capsys.readouterr().out
    assert weights_hash(model) in printed.replace("\n", "")
    assert "vision 2/2  objects right 0.500" in printed
