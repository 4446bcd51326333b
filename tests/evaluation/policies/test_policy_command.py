"""`lime-xai world`: reports that go on, settings of policies, tuning and calibrations, with an untrained model."""

import json

import pytest
from support.world_runs import TUNED, command_line, strict_json

from lime_xai import Edit, LogitShift, UniformGain
from lime_xai.command import run_world as command
from lime_xai.evaluation.policies.registry import select_policies, shipped_tuning, world_policies
from lime_xai.evaluation.policies.tuning import tune_policies
from lime_xai.evaluation.policies.world import WorldReport
from lime_xai.worlds import load_world
from lime_xai.worlds.shared.metrics import CaptionMetrics

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def world():
    return load_world("scene")


def test_the_command_writes_resumes_and_refuses_other_sets(each_world, each_folder, tmp_path):
    out, of = tmp_path / "report.json", {"name": each_world.name}
    text = command_line(each_folder, ["vanilla", "uniform_gain"], out=out, **of)
    assert "uniform_gain" in text
    first = strict_json(out.read_text())
    assert first["model"] == each_folder.name
    first["policies"]["uniform_gain"]["mark"] = "kept"
    out.write_text(json.dumps(first))
    command_line(each_folder, ["vanilla", "uniform_gain", "plausible"], out=out, **of)
    second = strict_json(out.read_text())
    assert second["policies"]["uniform_gain"] == first["policies"]["uniform_gain"]
    assert list(second["policies"]) == ["vanilla", "uniform_gain", "plausible"]
    before = out.read_text()
    for other in ({"seed": 4}, {"scenes": 3}, {"noise": 0.1}):
        with pytest.raises(ValueError, match=r"report\.json holds a report with .* give another file name") as error:
            command_line(each_folder, ["vanilla"], out=out, **of, **other)
        (key,) = other
        assert f"'{key}'" in str(error.value)
    assert out.read_text() == before
    out.write_text(json.dumps(second | {"weights": "0f"}))
    with pytest.raises(ValueError, match="'weights': '0f'"):
        command_line(each_folder, ["vanilla"], out=out, **of)


def test_other_settings_are_measured_again_and_other_policies_are_not_lost(untrained_folder, tmp_path):
    out, tuned = tmp_path / "report.json", tmp_path / "tuned.json"
    for name, gain in (("uniform_gain", 0.5), ("plausible", 0.5), ("uniform_gain", 2.0)):
        tuned.write_text(json.dumps(TUNED | {"uniform_gain": gain}))
        command_line(untrained_folder, [name], out=out, tuned=tuned)
        found = strict_json(out.read_text())["policies"]
        assert found["uniform_gain"]["settings"]["gain"] == gain
    assert {"vanilla", "uniform_gain", "plausible"} <= set(found)


def test_unknown_names_are_refused_before_anything_is_measured(untrained_folder, monkeypatch, untrained):
    monkeypatch.setattr(command, "measure_policies", lambda *args, **kwargs: pytest.fail("measured"))
    with pytest.raises(ValueError, match=r"Unknown policy 'unifrom_gain'. Did you mean 'uniform_gain'"):
        command_line(untrained_folder, ["vanilla", "unifrom_gain"])
    with pytest.raises(ValueError, match=r"(?i)unknown world 'scenes'.*did you mean 'scene'"):
        command_line(untrained_folder, ["vanilla"], name="scenes")
    with pytest.raises(ValueError, match=r"Unknown policy 'plausibel'. Did you mean 'plausible'"):
        select_policies(["plausibel"], world_policies(load_world("scene"), untrained[1], TUNED))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(OSError, match=r"holds no model\.safetensors"):
        command_line(tmp_path, ["vanilla"])


def test_settings_of_rivals_come_from_the_tuning(untrained, world):
    _, processor = untrained
    found = world_policies(world, processor, TUNED)
    assert found["vanilla"] is None
    assert found["paper"] == Edit.paper(learning_rate=0.02)
    assert found["paper_cache"] == Edit.paper("cache", 0.03)
    assert found["uniform_gain"] == UniformGain(0.7)
    assert found["yes_shift"] == LogitShift({processor.tokenizer.convert_tokens_to_ids("yes"): -1.5})
    shipped = shipped_tuning(world)
    assert shipped.keys() >= TUNED.keys() | {"seed"}
    assert world_policies(world, processor)["uniform_gain"] == UniformGain(shipped["uniform_gain"])
    assert list(select_policies(["contrast", "vanilla"], found)) == ["contrast", "vanilla"]


def test_tuning_chooses_the_best_of_its_trials(each_world, each_untrained, monkeypatch):
    from lime_xai.evaluation.policies import tuning

    scores = {0.001: 0.1, 0.003: 0.4, 0.01: 0.3, 0.03: 0.2}

    def captions(model, processor, evaluation, policy, ban):
        assert ban
        score = scores[policy.learning_rate] if isinstance(policy, Edit) else policy.gain
        return score, 0.0, None

    class Metrics:
        chair_i = 0.0

        def __init__(self, f1):
            self.f1 = f1

    monkeypatch.setattr(tuning, "timed_captions", captions)
    monkeypatch.setattr(tuning, "caption_metrics", lambda score, scenes, language: Metrics(score))
    said = []
    found = tune_policies(each_world, *each_untrained, seed=9, scenes=2, say=said.append)
    assert (found["paper"], found["paper_cache"], found["uniform_gain"]) == (0.003, 0.003, 1.6)
    assert (found["seed"], found["scenes"]) == (9, 2)
    assert -6 <= found["yes_shift"] <= 6
    assert len(said) == 4 + 4 + 3
    json.dumps(found)


def test_a_world_without_tuned_settings_says_so(untrained, each_folder, each_world, monkeypatch, capsys):
    from lime_xai.evaluation.policies import registry

    monkeypatch.setattr(registry, "__file__", "nowhere/registry.py")
    assert shipped_tuning(each_world) == {}
    seen = {}

    def measured(world, model, processor, policies, **settings):
        seen.update(policies)
        return WorldReport(world.name, "m", "0f", 1, 2, 0.5, {})

    monkeypatch.setattr(command, "measure_policies", measured)
    command_line(each_folder, ["vanilla", "paper_cache", "edit", "uniform_gain"], name=each_world.name)
    assert seen == {"vanilla": None, "paper_cache": Edit.paper("cache"), "edit": Edit(), "uniform_gain": UniformGain()}
    said = " ".join(capsys.readouterr().err.split())
    assert f"no settings of paper_cache, uniform_gain have been chosen on the {each_world.name} world" in said
    assert each_world.tuning_advice in said
    assert f"--world {each_world.name} --tune FILE" in each_world.tuning_advice
    with pytest.raises(ValueError, match=r"The policy 'yes_shift' has no usual settings.*--tuned FILE"):
        command_line(each_folder, ["yes_shift"], name=each_world.name)


def test_policies_that_need_a_calibration_measure_it_once(untrained_folder, tmp_path, monkeypatch):
    from lime_xai import Calibration
    from lime_xai.evaluation.policies import calibrations

    monkeypatch.setattr(calibrations, "SCENES", 1)
    monkeypatch.setattr(calibrations, "CAPTION_TOKENS", 2)
    with pytest.raises(ValueError, match="'reweight' needs a calibration of the model; pass --calibration FILE"):
        command_line(untrained_folder, ["reweight"])
    out, file, tuned = tmp_path / "report.json", tmp_path / "c.safetensors", tmp_path / "tuned.json"
    tuned.write_text(json.dumps(TUNED | {"reweight": 1.5, "constant": 0.5}))
    settings = {"out": out, "tuned": tuned, "calibration": file}
    command_line(untrained_folder, ["reweight", "constant"], **settings)
    rows = strict_json(out.read_text())["policies"]
    assert rows["reweight"]["settings"]["strength"] == 1.5
    assert rows["constant"]["settings"]["scale"] == 0.5
    calibration = Calibration.load(file)
    questions = [q for q in load_world("scene").evaluation_set(900, scenes=1).questions if q.scene == 0]
    assert calibration.prompts == 1 + len(questions)
    written = file.stat().st_mtime_ns
    monkeypatch.setattr(
        command, "measure_policies", lambda *args, **kwargs: WorldReport(**strict_json(out.read_text()))
    )
    command_line(untrained_folder, ["reweight"], **settings)
    assert file.stat().st_mtime_ns == written


def test_tuning_by_name_keeps_what_the_file_holds(untrained_folder, tmp_path, monkeypatch):
    from lime_xai.evaluation.policies import tuning

    file = tmp_path / "tuned.json"
    file.write_text(json.dumps({"seed": 3, "scenes": 1, "paper": 0.5, "uniform_gain": 9.0}))
    monkeypatch.setattr(tuning, "timed_captions", lambda model, processor, evaluation, policy, ban: ([], 0.0, None))
    monkeypatch.setattr(tuning, "caption_metrics", lambda captions, scenes, language: CaptionMetrics(*[0.5] * 12))
    command_line(untrained_folder, ["uniform_gain"], tune=file)
    found = json.loads(file.read_text())
    assert (found["paper"], found["uniform_gain"]) == (0.5, 0.4)
    with pytest.raises(ValueError, match="needs a calibration; pass --calibration FILE"):
        command_line(untrained_folder, ["reweight"], tune=file)
    with pytest.raises(ValueError, match=r"holds settings with {'seed': 3}, asked for was {'seed': 4}"):
        command_line(untrained_folder, ["uniform_gain"], tune=file, seed=4)
    with pytest.raises(ValueError, match="None of vanilla, edit has settings to choose"):
        command_line(untrained_folder, ["vanilla", "edit"], tune=file)
    assert world_policies(load_world("scene"), None_processor(), {"uniform_gain": 0.25})["uniform_gain"] == UniformGain(
        0.25
    )


class None_processor:  # noqa: N801 - a stand-in
    class tokenizer:  # noqa: N801
        @staticmethod
        def convert_tokens_to_ids(words):
            return [3] * len(words)
