"""Files that a command writes are checked before any model is loaded."""

import pytest
from rich.console import Console

from lime_xai.command import run_compare, run_world
from lime_xai.worlds.scene import evaluation_set

QUIET = Console(quiet=True)
RUNS = {
    "world --json": lambda path: run_world.run_world(QUIET, "scene", 5, 2, out=path),
    "world --tune": lambda path: run_world.run_world(QUIET, "scene", 5, 2, tune=path),
    "world --calibration": lambda path: run_world.run_world(QUIET, "scene", 5, 2, calibration=path),
    "world accept --json": lambda path: run_world.run_accept(QUIET, "scene", ["bundled"], out=path),
    **{
        f"compare --{kind}": lambda path, kind=kind: run_compare.run_compare(
            QUIET,
            "bundled",
            ["attnlrp"],
            None,
            ["mean"],
            1,
            5,
            {"json": None, "csv": None, "latex": None} | {kind: path},
        )
        for kind in ("json", "csv", "latex", "plot")
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_file_that_cannot_be_written_is_refused_before_a_model_is_loaded(name, tmp_path, monkeypatch):
    for module in (run_world, run_compare):
        monkeypatch.setattr(module, "load_frozen", lambda *names: pytest.fail("a model was loaded"))
    with pytest.raises(ValueError, match=r"no is no folder, and file cannot be written there"):
        RUNS[name](tmp_path / "no" / "file")
    with pytest.raises(ValueError, match="is a folder; give the name of a file"):
        RUNS[name](tmp_path)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"scenes": 0}, "scenes"),
        ({"scenes": True}, "scenes"),
        ({"noise": float("nan")}, "noise"),
        ({"noise": float("inf")}, "noise"),
        ({"noise": "0.5"}, "noise"),
        ({"noise": 5.0}, "noise"),
    ],
)
def test_bad_settings_of_an_evaluation_set(wrong, name):
    with pytest.raises((TypeError, ValueError), match=f"{name} is"):
        evaluation_set(**{"seed": 1, "scenes": 1} | wrong)
