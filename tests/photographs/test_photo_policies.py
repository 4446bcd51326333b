"""Options of the command that measures policies reach what measures them."""

import inspect
from pathlib import Path

from benchmarks.photographs import policies
from benchmarks.photographs.__main__ import build_parser
from lime_xai.command.run_world import run_world


def test_every_option_arrives_under_its_name(monkeypatch):
    called = {}

    def taken(*given):
        called.update(inspect.signature(run_world).bind(*given).arguments)

    monkeypatch.setattr(policies, "open_world", lambda folder, difficulty: type("Opened", (), {"name": difficulty}))
    monkeypatch.setattr(policies, "run_world", taken)
    options = {"seed": 5, "scenes": 7, "json": Path("report.json"), "tuned": Path("tuned.json")}
    options |= {"calibration": Path("gains.safetensors"), "device": "meta", "difficulty": "medium"}
    words = ["policies", "seed0", "--policies", "edit"]
    words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    policies.run(build_parser("policies").parse_args(words))
    assert called.pop("console") is not None
    assert called == {
        "name": "medium",
        "seed": 5,
        "scenes": 7,
        "names": ["edit"],
        "noise": None,
        "model_name": "seed0",
        "out": options["json"],
        "tune": None,
        "tuned": options["tuned"],
        "calibration": options["calibration"],
        "device": "meta",
    }
