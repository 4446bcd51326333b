"""Measuring policies on a world, with an untrained model."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console
from support.world_runs import strict_json

from lime_xai import Contrast, Edit, LogitShift, Observe, Plausible, UniformGain, policy_from_dict, policy_to_dict
from lime_xai.evaluation.policies.world import WorldReport, measure_one, measure_policies
from lime_xai.worlds import WORLDS, load_world
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet
from lime_xai.worlds.shared.measuring import measure

CAPTIONS = {"chair_i", "chair_s", "recall", "f1", "repeated", "finished"}
CLOSED = {"accuracy", "auc", "false_yes", "f1_yes", "f1_no"}
SCENES = 3

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def world():
    return load_world("scene")


@pytest.fixture(scope="module")
def report(each_world, each_untrained):
    seen = []
    policies = {"uniform_gain": UniformGain(), "edit": Edit(steps=1)}
    found = measure_policies(
        each_world, *each_untrained, policies, seed=3, scenes=SCENES, model_name="tiny", progress=seen.append
    )
    return found, seen


def share(world):
    return f"{world.modality}_share"


def test_the_report_has_the_promised_keys(report, each_world):
    data = strict_json(report[0].to_json())
    assert data.keys() == {"world", "model", "weights", "seed", "scenes", "noise", "policies"}
    assert len(data["weights"]) == 64
    assert [data[key] for key in ("world", "model", "seed", "scenes")] == [each_world.name, "tiny", 3, SCENES]
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
    found = measure_policies(each_world, *each_untrained, {"still": LogitShift({3: 0.0})}, seed=3, scenes=2)
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
    wanted = measure(*each_untrained, each_world.evaluation_set(3, scenes=SCENES))
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
    assert f"seed 3, {SCENES} scenes" in text
    assert max(map(len, text.splitlines())) <= 80
    for heading in (*each_world.open_kinds, *each_world.probe_kinds, each_world.modality, each_world.matter):
        assert heading in text


def test_a_shift_of_yes_moves_answers_and_not_their_ranking(report, each_untrained, each_world):
    model, processor = each_untrained
    yes = processor.tokenizer.convert_tokens_to_ids("yes")
    moved, _ = measure_one(model, processor, each_world.evaluation_set(3, scenes=SCENES), LogitShift({yes: 50.0}), None)
    plain = report[0].policies["vanilla"]
    for name in SPLITS:
        assert moved["splits"][name]["auc"] == pytest.approx(plain["splits"][name]["auc"], abs=1e-5)
        assert moved["splits"][name]["false_yes"] == 1.0


@pytest.mark.parametrize(
    "policy", [Plausible(0.9), Contrast(plausibility=0.9), Edit(steps=1, plausibility=0.9)], ids=repr
)
def test_a_plausibility_mask_does_not_reach_closed_questions(policy, untrained, world):
    evaluation = world.evaluation_set(3, scenes=1)
    masked, _ = measure_one(*untrained, evaluation, policy, None)
    free, _ = measure_one(*untrained, evaluation, replace(policy, plausibility=0.0), None)
    assert masked["splits"] == free["splits"]
    assert masked["grounding"] == free["grounding"]
    assert all(math.isfinite(split["accuracy"]) for split in masked["splits"].values())


def test_rows_that_are_done_are_kept(world, untrained):
    kept = {"settings": policy_to_dict(Observe()), "mark": "kept"}
    found = measure_policies(
        world, *untrained, {"observe": Observe(), "contrast": Contrast()}, seed=3, scenes=1, done={"observe": kept}
    )
    assert found.policies["observe"] == kept
    assert found.policies["contrast"]["cost"] > 0
    assert list(found.policies) == ["vanilla", "observe", "contrast"]


def test_worlds_are_listed_under_their_names():
    assert all(world.name == name and world.description for name, world in WORLDS.items())
    assert all(isinstance(world.evaluation_set(1, scenes=1), EvaluationSet) for world in WORLDS.values())


def test_reports_go_through_json():
    report = WorldReport("scene", "m", "0f", 1, 2, 0.5, {"vanilla": {"chair_i": 0.5}})
    assert WorldReport(**strict_json(report.to_json())) == report


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
