"""Measuring policies on a world, with an untrained model."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from lime_xai import Contrast, Edit, LogitShift, Observe, Plausible, UniformGain, policy_from_dict, policy_to_dict
from lime_xai.command import run_world as command
from lime_xai.evaluation.policies.registry import select_policies, shipped_tuning, world_policies
from lime_xai.evaluation.policies.tuning import tune_policies
from lime_xai.evaluation.policies.world import WorldReport, measure_one, measure_policies
from lime_xai.worlds import WORLDS, load_world
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet
from lime_xai.worlds.shared.measuring import measure
from lime_xai.worlds.shared.metrics import CaptionMetrics

CAPTIONS = {"chair_i", "chair_s", "recall", "f1", "repeated", "finished"}
CLOSED = {"accuracy", "auc", "false_yes", "f1_yes", "f1_no"}
TUNED = {"paper": 0.02, "paper_cache": 0.03, "uniform_gain": 0.7, "yes_shift": -1.5}

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def world():
    return load_world("scene")


@pytest.fixture(scope="module")
def report(each_world, each_untrained):
    seen = []
    policies = {"uniform_gain": UniformGain(), "edit": Edit(steps=1)}
    found = measure_policies(
        each_world, *each_untrained, policies, seed=3, scenes=4, model_name="tiny", progress=seen.append
    )
    return found, seen


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def share(world):
    return f"{world.modality}_share"


def command_line(folder, names, **kwargs):
    console = Console(file=io.StringIO(), width=100)
    settings = {"name": "scene", "seed": 3, "scenes": 2, "model_name": str(folder)} | kwargs
    command.run_world(console, names=names, **settings)
    return console.file.getvalue()


def test_the_report_has_the_promised_keys(report, each_world):
    data = strict_json(report[0].to_json())
    assert data.keys() == {"world", "model", "weights", "seed", "scenes", "noise", "policies"}
    assert len(data["weights"]) == 64
    assert [data[key] for key in ("world", "model", "seed", "scenes")] == [each_world.name, "tiny", 3, 4]
    assert data["noise"] == each_world.default_noise
    assert list(data["policies"]) == ["vanilla", "uniform_gain", "edit"]
    for row in data["policies"].values():
        assert row.keys() >= CAPTIONS | {"no_repeat", "splits", share(each_world), "cost", "settings"}
        assert row.keys() >= {"detailed", "open", "grounding", "intervals", "differences"}
        assert row["no_repeat"].keys() >= CAPTIONS
        assert tuple(row["open"]) == each_world.open_kinds
        assert tuple(row["grounding"]) == each_world.probe_kinds
        assert list(row["splits"]) == ["random", "popular", "adversarial", "dialogue"]
        for split in row["splits"].values():
            assert split.keys() >= CLOSED
        assert row["no_repeat"]["repeated"] == 0


def test_values_lie_beside_their_intervals_and_differences(report):
    rows = report[0].policies
    assert rows["vanilla"]["differences"] == {}
    for name, (low, high) in rows["edit"]["intervals"].items():
        if low is not None:
            assert low <= high
        if name == "splits.random.auc":
            assert low <= rows["edit"]["splits"]["random"]["auc"] <= high
    for name, key in (("recall", "recall"), ("f1", "f1")):
        value, low, high = rows["edit"]["differences"][name]
        assert value == pytest.approx(rows["edit"][key] - rows["vanilla"][key], abs=1e-5)
        assert low <= value <= high


def test_a_policy_that_changes_nothing_differs_by_nothing(each_world, each_untrained):
    found = measure_policies(each_world, *each_untrained, {"still": LogitShift({3: 0.0})}, seed=3, scenes=3)
    differences = found.policies["still"]["differences"]
    assert len(differences) > 50
    known = [value for found in differences.values() for value in found if value is not None]
    assert known == pytest.approx([0.0] * len(known), abs=1e-6)  # the same logits by another kernel round otherwise
    assert all(found == [None] * 3 or None not in found for found in map(list, differences.values()))


def test_shares_lie_between_zero_and_one_where_relevance_was_taken(report, each_world):
    rows = report[0].policies
    assert 0 < rows["vanilla"][share(each_world)] < 1
    assert 0 < rows["edit"][share(each_world)] < 1


def test_settings_name_what_was_measured(report):
    rows = strict_json(report[0].to_json())["policies"]
    assert rows["vanilla"]["settings"] is None
    assert policy_from_dict(rows["edit"]["settings"]) == Edit(steps=1)
    assert policy_from_dict(rows["uniform_gain"]["settings"]) == UniformGain()


def test_the_plain_row_is_the_worlds_own_measurement(report, each_world, each_untrained):
    wanted = measure(*each_untrained, each_world.evaluation_set(3, scenes=4))
    row = report[0].policies["vanilla"]
    for name in CAPTIONS:
        assert row[name] == pytest.approx(getattr(wanted.captions, name), abs=1e-5)
        assert row["no_repeat"][name] == pytest.approx(getattr(wanted.no_repeat, name), abs=1e-5)
    for name, split in row["splits"].items():
        for key in CLOSED:
            assert split[key] == pytest.approx(getattr(wanted.splits[name], key), abs=1e-5)


def test_cost_is_a_ratio_to_the_plain_model(report):
    rows = report[0].policies
    assert rows["vanilla"]["cost"] == 1.0
    assert rows["edit"]["cost"] > 1.0


def test_progress_grows_by_one_policy_at_a_time(report):
    assert [list(step.policies) for step in report[1]] == [
        ["vanilla"],
        ["vanilla", "uniform_gain"],
        ["vanilla", "uniform_gain", "edit"],
    ]
    assert report[1][-1].to_json() == report[0].to_json()


def test_tables_show_every_policy(report, each_world):
    console = Console(file=io.StringIO(), width=100)
    console.print(report[0].tables())
    text = console.file.getvalue()
    for name, row in report[0].policies.items():
        (first, *_) = [line for line in text.splitlines() if line.strip().startswith(name)]
        assert f"{row['chair_i']:.3f}" in first
        assert f"{row['f1']:.3f}" in first
        assert text.count(f"\n {name}") == (8 if row["differences"] else 7)
    assert "seed 3, 4 scenes" in text
    assert max(map(len, text.splitlines())) <= 80
    for heading in (*each_world.open_kinds, *each_world.probe_kinds, each_world.modality, each_world.matter):
        assert heading in text


def test_a_shift_of_yes_moves_answers_and_not_their_ranking(each_untrained, each_world):
    model, processor = each_untrained
    evaluation = each_world.evaluation_set(3, scenes=4)
    yes = processor.tokenizer.convert_tokens_to_ids("yes")
    plain, _ = measure_one(model, processor, evaluation, None, None)
    moved, _ = measure_one(model, processor, evaluation, LogitShift({yes: 50.0}), None)
    for name in SPLITS:
        assert moved["splits"][name]["auc"] == pytest.approx(plain["splits"][name]["auc"])
        assert moved["splits"][name]["false_yes"] == 1.0


@pytest.mark.parametrize(
    "policy", [Plausible(0.9), Contrast(plausibility=0.9), Edit(steps=1, plausibility=0.9)], ids=repr
)
def test_a_plausibility_mask_does_not_reach_closed_questions(policy, untrained, world):
    evaluation = world.evaluation_set(3, scenes=2)
    masked, _ = measure_one(*untrained, evaluation, policy, None)
    free, _ = measure_one(*untrained, evaluation, replace(policy, plausibility=0.0), None)
    assert masked["splits"] == free["splits"]
    assert masked["grounding"] == free["grounding"]
    assert all(math.isfinite(split["accuracy"]) for split in masked["splits"].values())


def test_rows_that_are_done_are_kept(world, untrained):
    kept = {"settings": policy_to_dict(Observe()), "mark": "kept"}
    found = measure_policies(
        world, *untrained, {"observe": Observe(), "contrast": Contrast()}, seed=3, scenes=2, done={"observe": kept}
    )
    assert found.policies["observe"] == kept
    assert found.policies["contrast"]["cost"] > 0
    assert list(found.policies) == ["vanilla", "observe", "contrast"]


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


def test_a_row_made_with_other_settings_is_measured_again(untrained_folder, tmp_path):
    out, tuned = tmp_path / "report.json", tmp_path / "tuned.json"
    for gain in (0.5, 2.0):
        tuned.write_text(json.dumps(TUNED | {"uniform_gain": gain}))
        command_line(untrained_folder, ["uniform_gain"], out=out, tuned=tuned)
        assert strict_json(out.read_text())["policies"]["uniform_gain"]["settings"]["gain"] == gain


def test_rows_of_other_policies_in_the_file_are_not_lost(untrained_folder, tmp_path):
    out = tmp_path / "report.json"
    command_line(untrained_folder, ["uniform_gain"], out=out)
    command_line(untrained_folder, ["plausible"], out=out)
    assert {"vanilla", "uniform_gain", "plausible"} <= set(strict_json(out.read_text())["policies"])


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


def test_worlds_are_listed_under_their_names():
    assert all(world.name == name and world.description for name, world in WORLDS.items())
    assert all(isinstance(world.evaluation_set(1, scenes=1), EvaluationSet) for world in WORLDS.values())


def test_reports_go_through_json():
    report = WorldReport("scene", "m", "0f", 1, 2, 0.5, {"vanilla": {"chair_i": 0.5}})
    assert WorldReport(**strict_json(report.to_json())) == report


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
    with pytest.raises(ValueError, match=r"The policy 'yes_shift' has no usual settings.*--tuned FILE"):
        command_line(each_folder, ["yes_shift"], name=each_world.name)


def test_prompts_for_a_calibration_are_a_caption_and_all_questions_of_each_scene(each_world, each_untrained):
    from lime_xai.evaluation.policies.calibrations import unlabelled_prompts

    processor = each_untrained[1]
    evaluation = each_world.evaluation_set(900, scenes=2)
    asked = [processor.batch_decode(inputs["input_ids"]) for inputs in unlabelled_prompts(processor, evaluation)]
    assert [len(texts) for texts in asked[::2]] == [1, 1]
    for index, (caption, questions) in enumerate(zip(asked[::2], asked[1::2], strict=True)):
        assert each_world.language.caption_request in caption[0]
        wanted = [q.prompt.rpartition("user: ")[2].split() for q in evaluation.questions if q.scene == index]
        said = [text.rpartition("user:")[2].replace("<image>", "").replace("<audio>", "").split() for text in questions]
        marks = {"<audio_begin>", "<audio_end>"}
        assert [[word for word in words if word not in marks] for words in said] == [
            [word for word in words if not word.startswith("<")] for words in wanted
        ]


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
    file.write_text(json.dumps({"seed": 3, "scenes": 2, "paper": 0.5, "uniform_gain": 9.0}))
    monkeypatch.setattr(tuning, "timed_captions", lambda model, processor, evaluation, policy, ban: ([], 0.0, None))
    monkeypatch.setattr(tuning, "caption_metrics", lambda captions, scenes, language: CaptionMetrics(*[0.5] * 11))
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
        def convert_tokens_to_ids(word):
            return 3
