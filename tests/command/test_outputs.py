"""Files that a command writes: checked before it computes, written whole, never in place of an input."""

import os
import resource
import signal
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from rich.text import Text

from lime_xai.command import loading, run_demo, run_world
from lime_xai.command.files import Output, check_outputs, numbered
from lime_xai.storage.store import write_json

ASK = ("--prompt", "describe this picture")
OUTPUTS = [
    (("demo",), "--out", ".png"),
    (("attribute", "scene", *ASK), "--out", ".png"),
    (("attribute", "scene", *ASK), "--save", ".safetensors"),
    (("attribute", "scene", *ASK), "--json", ".json"),
    (("explain", "scene", *ASK), "--html", ".html"),
    (("explain", "scene", *ASK), "--out", ".png"),
    (("explain", "scene", *ASK), "--save", ".safetensors"),
    (("explain", "scene", *ASK), "--csv", ".csv"),
    (("explain", "scene", *ASK), "--json", ".json"),
    (("steer", "scene", *ASK), "--json", ".json"),
    (("compare", "--methods", "attnlrp"), "--json", ".json"),
    (("compare", "--methods", "attnlrp"), "--csv", ".csv"),
    (("compare", "--methods", "attnlrp"), "--latex", ".tex"),
    (("compare", "--methods", "attnlrp"), "--plot", ".png"),
    (("world",), "--json", ".json"),
    (("world",), "--tune", ".json"),
    (("world",), "--calibration", ".safetensors"),
    (("world", "accept", "bundled"), "--json", ".json"),
]


@pytest.fixture
def nothing_loaded(monkeypatch):
    """Fail if a model is loaded."""
    from lime_xai.worlds.shared import world as worlds

    for module, name in (
        (loading, "bundled_model"),
        (run_demo, "bundled_model"),
        (run_world, "load_frozen"),
        (worlds, "load_model"),
    ):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: pytest.fail("a model was loaded"))


@pytest.mark.parametrize(("command", "option", "ending"), OUTPUTS, ids=lambda value: str(value))
def test_files_are_refused_before_a_model_is_loaded(refused, nothing_loaded, tmp_path, command, option, ending):
    refused(*command, option, ".", says=[option, "is a folder"])
    (tmp_path / f"folder{ending}").mkdir()
    refused(*command, option, f"folder{ending}", says=[option, "is a folder"])
    refused(*command, option, f"no/where/a{ending}", says=["there is no folder no/where"])
    refused(*command, option, "a.unknown", says=["ends in '.unknown'", ending])
    refused(*command, option, "a", says=["has no ending", ending])


@pytest.mark.parametrize("what", ["folder", "file"])
def test_places_that_may_not_be_written_are_refused(monkeypatch, refused, nothing_loaded, tmp_path, what):
    from lime_xai.command import files

    (tmp_path / "a.png").write_text("")
    place = tmp_path if what == "folder" else tmp_path / "a.png"
    monkeypatch.setattr(files.os, "access", lambda path, mode: mode == os.R_OK or Path(path).absolute() != place)
    refused("demo", "--out", "a.png", says=["may not be written"])


def test_one_file_is_written_by_one_option_and_no_input_is_replaced(refused, nothing_loaded, picture):
    prompt = ("attribute", "scene", *ASK, "--image", picture)
    refused(*prompt, "--out", picture, says=["a file that is read too"])
    refused("compare", "--methods", "attnlrp", "--json", "a.json", "--csv", "./a.json", says=["ends in '.json'"])
    refused("world", "--json", "a.json", "--tune", "./a.json", says=["the file of --json too"])


def test_a_device_is_written_to(tmp_path):
    check_outputs([Output("--json", Path("/dev/null"), (".json",)), Output("--csv", Path("/dev/null"), (".csv",))])


def test_files_of_several_targets_are_numbered(tmp_path):
    names = [path.name for path in numbered(tmp_path / "why.png", 3)]
    assert names == ["why-1.png", "why-2.png", "why-3.png"]
    assert numbered(tmp_path / "why.png", 1) == [tmp_path / "why.png"]


@pytest.mark.parametrize("name", ["a.png", "a.pdf", "a.svg", "a.jpg", "a.jpeg"])
def test_every_known_ending_of_a_picture_is_written(lime, picture, tmp_path, name):
    result = lime("attribute", "scene", *ASK, "--image", picture, "--out", name)
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).stat().st_size > 1000
    if name.endswith(("g", "jpeg")) and not name.endswith("svg"):
        assert Image.open(tmp_path / name).size[0] > 500


class Large:
    """A report that does not fit on the disk."""

    policies: ClassVar = {"plausible": {}}

    def to_dict(self):
        return {"policies": {str(index): "row" * 99 for index in range(999)}}


@pytest.fixture
def full_disk():
    """A limit on the size of files, 8 KiB, stands for the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("command", [("world", "--policies", "plausible"), ("world", "accept", "bundled")])
def test_a_full_disk_loses_no_rows(monkeypatch, request, lime, tmp_path, command):
    path = tmp_path / "full.json"
    write_json(path, {"policies": {f"earlier {index}": {"chair_i": 0.5} for index in range(150)}})
    kept = path.read_bytes()
    assert len(kept) < 8192
    monkeypatch.setattr(run_world, "read_rows", lambda *args: {})
    monkeypatch.setattr(run_world, "measure_policies", lambda *args, progress, **kwargs: progress(Large()))
    monkeypatch.setattr(run_world, "acceptance", lambda *args: [])
    monkeypatch.setattr(run_world, "acceptance_table", lambda *args: Text(""))
    monkeypatch.setattr(run_world, "as_json", lambda rows: "row" * 9999)
    request.getfixturevalue("full_disk")
    result = lime(*command, "--scenes", 2, "--json", path)
    assert result.exit_code == 2
    assert f"{path}" in result.stderr
    assert "File too large" in result.stderr
    assert path.read_bytes() == kept
    assert [item.name for item in tmp_path.iterdir()] == ["full.json"]
