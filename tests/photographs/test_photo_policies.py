"""Options of the command that measures policies reach what measures them."""

import inspect
from pathlib import Path

import pytest

from benchmarks.photographs import accept, policies
from benchmarks.photographs.__main__ import build_parser, main
from lime_xai.command.run_world import run_world
from lime_xai.evaluation.policies.registry import select_policies, world_policies


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


@pytest.mark.parametrize(("met", "status"), [(True, 0), (False, 1)])
def test_a_missed_criterion_is_a_failure_of_the_command(monkeypatch, met, status):
    monkeypatch.setattr(accept, "open_world", lambda folder, difficulty: type("Opened", (), {"name": difficulty}))
    monkeypatch.setattr(accept, "run_accept", lambda *given: met)
    assert main(["accept", "seed0", "seed1"]) == status


def test_a_command_that_says_nothing_of_its_status_has_succeeded(monkeypatch):
    monkeypatch.setattr(policies, "run", lambda arguments: None)
    assert main(["policies", "seed0"]) == 0


def test_a_policy_without_settings_is_told_of_those_of_the_pictograms(world, model_and_processor):
    assert "tuned_scene.json" in world.tuning_advice
    assert "lime-xai world" not in world.tuning_advice
    with pytest.raises(ValueError, match=r"'yes_shift'.*tuned_scene\.json, which `lime-xai world --tuned` takes"):
        select_policies(["yes_shift"], world_policies(world, model_and_processor[1]))
