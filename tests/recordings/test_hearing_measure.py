"""Policies are measured in blocks; a report resumes, and its summary is that of all clips."""

import json

import numpy as np
import pytest
from support.heard import said, tiny_ears

from benchmarks import recording_report
from benchmarks.recordings import measure
from benchmarks.recordings.__main__ import main
from benchmarks.recordings.measure import BLOCK, measure_block, one_of_each, summary
from benchmarks.recordings.world import RecordingWorld
from lime_xai.evaluation.against import Against
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.controls import UniformGain
from lime_xai.policies.registry import policy_to_dict
from lime_xai.worlds.shared.closed import closed_metrics
from lime_xai.worlds.shared.metrics import caption_metrics


@pytest.fixture(scope="module")
def evaluated(heard_world):
    return heard_world.evaluation_set(3, BLOCK)


def test_each_clip_is_asked_about_something_present_and_something_absent(evaluated):
    for split in ("random", "dialogue"):
        asked = one_of_each(evaluated.split(split))
        assert {(one.scene, one.label) for one in asked} == {(one.scene, one.label) for one in evaluated.split(split)}
        assert len(asked) == len({(one.scene, one.label) for one in asked})


def test_the_summary_is_that_of_all_clips(evaluated, heard_world):
    model, processor = tiny_ears()
    rows = {"vanilla": measure_block(model, processor, evaluated, None, ["random"])}
    rows["uniform_gain"] = measure_block(model, processor, evaluated, UniformGain(0.4), ["random"])
    found = summary([rows])
    margins, labels = np.array([(one[1], one[2]) for one in rows["vanilla"]["closed"]["random"]]).T
    expected = closed_metrics(margins, labels > 0)
    assert found["vanilla"]["random auc"][0] == pytest.approx(expected.auc)
    captions = caption_metrics(rows["vanilla"]["captions"], evaluated.scenes, heard_world.language)
    assert found["vanilla"]["f1"][0] == pytest.approx(captions.f1)
    twice = summary([rows, rows])
    assert twice["vanilla"]["random auc"][0] == pytest.approx(expected.auc)
    assert found["uniform_gain"]["change of f1"][0] == pytest.approx(
        found["uniform_gain"]["f1"][0] - found["vanilla"]["f1"][0]
    )


def test_a_contrast_with_silence_is_another_answer(evaluated):
    model, processor = tiny_ears()
    plain = measure_block(model, processor, evaluated, None, ["random"])
    silent = measure_block(model, processor, evaluated, Against(Contrast("counterfactual"), "nothing"), ["random"])
    both = [np.array([one[1] for one in rows["closed"]["random"]]) for rows in (plain, silent)]
    assert not np.allclose(*both)


def test_a_report_resumes(monkeypatch, tmp_path, recorded, capsys):
    model, processor = tiny_ears()
    world = RecordingWorld(recorded, said())
    monkeypatch.setattr(measure, "open_world", lambda folder: world)
    monkeypatch.setattr(RecordingWorld, "load_model", lambda self, folder: (model, processor))
    path = tmp_path / "report.json"

    def run(clips):
        options = ["--policies", "uniform_gain", "--splits", "random", "--json", str(path), "--clips", str(clips)]
        return main(["measure", "tiny", *options])

    assert run(BLOCK) == 0
    first = json.loads(path.read_text())["blocks"]
    assert run(2 * BLOCK) == 0
    both = json.loads(path.read_text())["blocks"]
    assert both[0] == first[0]
    assert len(both) == 2
    assert both[0] != both[1]
    for clips in (5, 4 * 1000 + 4):
        assert run(clips) == 1
        assert "expected a multiple" in capsys.readouterr().err
    plain = measure.world_policies

    def other(*given):
        return {**plain(*given), "uniform_gain": UniformGain(0.9)}

    monkeypatch.setattr(measure, "world_policies", other)
    assert run(3 * BLOCK) == 1
    assert "settings" in capsys.readouterr().err
    assert json.loads(path.read_text())["blocks"] == both


def test_a_table_of_other_weights_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(recording_report, "RESULTS", tmp_path)
    (tmp_path / "recordings_seed0.json").write_text(json.dumps({"about": {"weights": "other"}}))
    with pytest.raises(ValueError, match=r"recordings_seed0\.json was measured with weights of SHA-256 other"):
        recording_report.main()


def test_settings_say_what_a_contrast_is_against():
    found = measure.settings_of(Against(Contrast("counterfactual"), "nothing"))
    assert found == {**policy_to_dict(Contrast("counterfactual")), "against": "nothing"}
    assert measure.settings_of(UniformGain(0.4)) == policy_to_dict(UniformGain(0.4))
    assert measure.settings_of(None) is None
