"""The command that takes all steps from nothing to a model."""

import json
from argparse import ArgumentParser
from pathlib import Path

import pytest

from benchmarks.photographs import assemble, whole


def options(folder, *argv):
    parser = ArgumentParser()
    parser.add_argument("--folder", type=Path, default=folder)
    whole.add_arguments(parser)
    return parser.parse_args(argv)


@pytest.fixture
def taken(monkeypatch):
    """The steps in their order, with the arguments that each was given."""
    found = []
    for name, module in whole.STEPS:
        monkeypatch.setattr(module, "run", lambda arguments, name=name: found.append((name, arguments)))

    def make(arguments):
        found.append(("assemble", arguments))
        return "made"

    monkeypatch.setattr(assemble, "make", make)
    return found


@pytest.fixture
def frozen(monkeypatch, tmp_path):
    """A protocol that holds a model of training seed 3."""
    one = {"seed": 3, "image_cooccurrence": 0.0, "size": "147m", "role": "confirmation", "sha256": "kept"}
    protocol = tmp_path / "protocol.json"
    protocol.write_text(json.dumps({"seeds": {}, "models": {"third": one}}))
    monkeypatch.setattr(assemble, "PROTOCOL", protocol)


def test_every_step_is_taken_with_what_the_one_before_made(taken, tmp_path):
    whole.run(options(tmp_path, "--seed", "3", "--threads", "1"))
    assert [name for name, _ in taken] == ["parts", "features", "train", "assemble"]
    given = dict(taken)
    assert {arguments.folder for arguments in given.values()} == {tmp_path}
    assert given["features"].threads == given["train"].threads == 1
    assert given["train"].seed == 3
    assert Path(given["assemble"].weights) == given["train"].out / "weights.safetensors"
    assert given["assemble"].out == tmp_path / "models" / "trained3"


def test_a_model_that_is_there_is_found_before_any_step(taken, tmp_path):
    made = tmp_path / "models" / "trained0"
    made.mkdir(parents=True)
    (made / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"models/trained0 is there already.*trained0 too to train"):
        whole.run(options(tmp_path))
    assert taken == []


@pytest.mark.parametrize(
    ("digest", "seed", "said"),
    [
        ("kept", 3, "These are the weights of third, bit by bit."),
        ("other", 3, "third in this repository has other weights: kept."),
        ("kept", 4, "This repository holds no weights of seed 4."),
    ],
)
def test_the_weights_are_compared_with_those_of_the_same_seed(frozen, digest, seed, said):
    assert whole.compared(digest, seed).startswith(said)


def test_the_comparison_is_printed(taken, frozen, tmp_path, capsys):
    whole.run(options(tmp_path, "--seed", "3"))
    assert "third in this repository has other weights" in capsys.readouterr().out
