"""A name or a file becomes a folder that transformers loads; here with a tiny model in place of the parts."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from benchmarks.photographs import assemble
from benchmarks.photographs.__main__ import main
from benchmarks.photographs.adapters import Adapters, write
from benchmarks.photographs.model import tiny
from benchmarks.photographs.packages import OF_MODEL
from lime_xai.storage.weights import weights_hash


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A folder of trained weights, of which one is ``first``, and the hash of the model that they make."""
    folder = tmp_path / "held"
    folder.mkdir()
    model, _ = tiny(3)
    adapters = Adapters(model, 2, 1)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.fill_(0.125)
        for parameter in model.model.multi_modal_projector.parameters():
            parameter.copy_(parameter.half())  # the file holds float16
    write(folder / "first.safetensors", model, adapters, {"seed": 3})
    adapters.merge()
    monkeypatch.setattr(assemble, "TRAINED", folder)
    monkeypatch.setattr(assemble, "build", lambda parts, seed: tiny(3))
    return folder, weights_hash(model)


@pytest.fixture
def fetched(monkeypatch):
    """What was asked for to be downloaded."""
    seen = []
    monkeypatch.setattr(assemble, "fetch", lambda folder, console, wanted: seen.append((folder, wanted)))
    return seen


def test_a_name_becomes_a_folder_of_that_name(held, fetched, tmp_path, capsys):
    assert main(["assemble", "first", "--folder", str(tmp_path)]) == 0
    assert fetched == [(tmp_path, OF_MODEL)]
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "models" / "first")
    assert weights_hash(loaded) == held[1]
    said = capsys.readouterr().out
    for words in (held[1], " MB, ", " s in all", f"lime-xai steer {tmp_path / 'models' / 'first'} --image photo.jpg"):
        assert words in said


def test_the_folder_is_complete_when_it_appears_and_the_weights_are_read_once(held, fetched, tmp_path, monkeypatch):
    seen, plain = [], assemble.read
    monkeypatch.setattr(assemble, "read", lambda path: seen.append(path) or plain(path))
    whole, moved = Path.replace, []

    def replace(self, target):
        if self.is_dir():
            moved.append(sorted(path.name for path in self.iterdir()))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert main(["assemble", "first", "--folder", str(tmp_path)]) == 0
    out = tmp_path / "models" / "first"
    assert moved == [sorted(path.name for path in out.iterdir())]
    assert json.loads((out / "recipe.json").read_text()) == {"seed": 3}
    assert seen == [held[0] / "first.safetensors"]


def test_a_file_and_a_folder_can_be_given(held, fetched, tmp_path):
    weights, out = held[0] / "first.safetensors", tmp_path / "out"
    assert main(["assemble", str(weights), "--out", str(out), "--folder", str(tmp_path), "--dtype", "float16"]) == 0
    assert AutoModelForImageTextToText.from_pretrained(out).dtype == torch.float16


def test_another_hash_than_the_accepted_one_is_said(held, fetched, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(assemble, "PROTOCOL", tmp_path / "protocol.json")
    for accepted, code in ((held[1], 0), ("0" * 64, 1)):
        entry = {"seed": 3, "image_cooccurrence": 0.0, "size": "tiny", "role": "confirmation", "sha256": accepted}
        (tmp_path / "protocol.json").write_text(json.dumps({"seeds": {}, "models": {"first": entry}}))
        assert main(["assemble", "first", "--folder", str(tmp_path), "--out", str(tmp_path / accepted)]) == code
    assert f"accepted with SHA-256 {'0' * 64}, and this machine made {held[1]}" in capsys.readouterr().err


def test_damaged_weights_are_found_before_a_download(held, fetched, tmp_path, capsys):
    path = held[0] / "first.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["assemble", "first", "--folder", str(tmp_path)]) == 1
    assert fetched == []
    assert "first.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("taken", [False, True])
def test_nothing_is_downloaded_for_what_cannot_be_assembled(held, fetched, tmp_path, capsys, taken):
    name = "first" if taken else "second"
    if taken:
        (tmp_path / "models" / "first").mkdir(parents=True)
        (tmp_path / "models" / "first" / "file").touch()
    assert main(["assemble", name, "--folder", str(tmp_path)]) == 1
    assert fetched == []
    assert ("models/first" if taken else "which has first;") in capsys.readouterr().err.replace("\n", "")
