"""The command that takes all steps from nothing to a model."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from benchmarks.photographs import whole


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
    return found


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
    with pytest.raises(FileExistsError, match="trained0"):
        whole.run(options(tmp_path))
    assert taken == []
