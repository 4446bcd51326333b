"""The two commands of the scene world."""

import sys

import pytest

from lime_xai.worlds.scene import check, network, training


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_check_prints_the_table_and_fails_for_an_untrained_model(untrained, tmp_path, monkeypatch, capsys, form):
    model, processor = untrained
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check", str(tmp_path), "--scenes", "8", "--seed", "3", *form])
    with pytest.raises(SystemExit) as exit_status:
        check.main()
    assert exit_status.value.code == 1
    printed = capsys.readouterr().out
    assert "random accuracy" in printed
    assert "MISS" in printed


def test_training_command_passes_its_options_and_prints_the_hash(monkeypatch, tmp_path, capsys):
    model = network.build_model(0)
    seen = {}

    def train(folder, *, seed, threads, report):
        seen.update(folder=folder, seed=seed, threads=threads)
        report("vision", 1, 2, {"objects right": float("nan")})
        report("vision", 2, 2, {"objects right": 0.5})
        return model

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(sys, "argv", ["training", "--out", str(tmp_path), "--seed", "4", "--threads", "1"])
    training.main()
    assert seen == {"folder": tmp_path, "seed": 4, "threads": 1}
    printed = capsys.readouterr().out
    assert network.weights_hash(model) in printed.replace("\n", "")
    assert "vision 2/2  objects right 0.500" in printed
