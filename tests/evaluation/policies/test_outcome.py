"""What a report keeps of a policy: resumed and counted again without asking the model again."""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lime_xai import LogitShift
from lime_xai.evaluation.policies.outcome import Outcome, numbers
from lime_xai.evaluation.policies.rows import report_type
from lime_xai.evaluation.policies.world import _clock, measure_policies
from lime_xai.values.checking import checked
from lime_xai.worlds.shared.evaluation import SPLITS
from lime_xai.worlds.shared.records import Rows
from lime_xai.worlds.shared.responses import Responses

SCENES = 3

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def policies(each_untrained):
    yes = each_untrained[1].tokenizer.convert_tokens_to_ids("yes")
    return {"yes": LogitShift({yes: 0.5})}


@pytest.fixture(scope="module")
def report(each_world, each_untrained, policies):
    return measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES)


def through_json(report):
    return json.loads(report.to_json())["policies"]


def calls(model, monkeypatch):
    """Return a list that grows by one with every call of ``generate``."""
    made, generate = [], model.generate
    monkeypatch.setattr(model, "generate", lambda *args, **kwargs: made.append(1) or generate(*args, **kwargs))
    return made


def test_a_resumed_report_asks_for_plain_captions_only(report, each_world, each_untrained, policies, monkeypatch):
    made = calls(each_untrained[0], monkeypatch)
    again = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=through_json(report))
    assert len(made) == math.ceil(SCENES / each_world.caption_rows)
    assert again.to_dict() == report.to_dict()


def test_a_policy_that_is_added_is_compared_with_the_plain_model_of_the_report(
    report, each_world, each_untrained, policies
):
    alone = {"vanilla": through_json(report)["vanilla"]}
    added = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=alone)
    for name in ("differences", "intervals", "splits", "said"):
        assert added.policies["yes"][name] == report.policies["yes"][name]


def test_metrics_are_counted_again_from_what_was_said(report, each_world, each_untrained, policies):
    done = through_json(report)
    for row in done.values():
        row["f1"], row["no_repeat"], row["intervals"] = -1.0, {}, {}
    again = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=done)
    assert again.to_dict() == report.to_dict()


def test_all_named_policies_are_measured_again_where_the_plain_model_says_something_else(
    report, each_world, each_untrained, policies
):
    done = through_json(report)
    done["vanilla"]["said"]["captions"][0] += " and more"
    done["yes"]["said"]["margins"]["random"] = [9.0] * len(done["yes"]["said"]["margins"]["random"])
    done["unnamed"] = {**done["yes"], "cost": 700.0}
    again = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=done)
    for name in ("vanilla", "yes"):
        assert again.policies[name]["said"] == report.policies[name]["said"]
        assert again.policies[name]["differences"] == report.policies[name]["differences"]
    assert again.policies["unnamed"] == done["unnamed"]


def test_what_was_said_of_another_set_is_not_counted(report, each_world, each_untrained, policies):
    done = through_json(report)
    for row in done.values():
        row["said"] |= {"of": "another", "grounding": {}}
    again = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=done)
    assert {name: row["said"] for name, row in again.policies.items()} == {
        name: row["said"] for name, row in report.policies.items()
    }


def test_a_set_has_the_fingerprint_of_what_is_shown_and_asked(each_world):
    one = each_world.evaluation_set(3, scenes=SCENES)
    assert one.fingerprint == each_world.evaluation_set(3, scenes=SCENES).fingerprint
    assert one.fingerprint != each_world.evaluation_set(4, scenes=SCENES).fingerprint
    for changed in (
        replace(one, erased=one.media),
        replace(one, questions=one.questions[::-1]),
        replace(one, probes=(replace(one.probes[0], word="other"), *one.probes[1:])),
    ):
        assert changed.fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda said: said["captions"].pop(), "found 2 captions, expected 3"),
        (lambda said: said["margins"].pop("random"), "found 0 margins of random"),
        (lambda said: said["answers"].pop("count"), "found 0 answers about count, expected 3"),
        (lambda said: said["grounding"]["yes"].append(1.0), "found 4 grounding of yes, expected 3"),
        (lambda said: said["relevance"].pop("share"), "the relevance lacks share"),
        (lambda said: said["relevance"].update(share={"scenes": [-1], "values": [0.5]}), "no scene for each value"),
        (lambda said: said["relevance"].update(inside={"scenes": [0], "values": []}), "no scene for each value"),
    ],
)
def test_damaged_rows_are_refused_before_anything_is_generated(
    damage, message, report, each_world, each_untrained, policies, monkeypatch
):
    made, done = calls(each_untrained[0], monkeypatch), through_json(report)
    damage(done["yes"]["said"])
    with pytest.raises(ValueError, match=rf"row of 'yes' is damaged: .*{message}.*Take the row away"):
        measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=done)
    assert made == []


def test_vanilla_is_no_name_of_a_policy(each_world, each_untrained, policies):
    with pytest.raises(ValueError, match="vanilla is the plain model"):
        measure_policies(each_world, *each_untrained, {"vanilla": policies["yes"]}, seed=3, scenes=SCENES)


def test_seconds_of_one_thread_do_not_grow_while_it_waits(each_untrained, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    start = _clock(each_untrained[0])
    time.sleep(0.3)
    assert _clock(each_untrained[0]) - start < 0.1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    start = _clock(each_untrained[0])
    time.sleep(0.3)
    assert _clock(each_untrained[0]) - start >= 0.3


def test_a_report_is_of_the_type_that_is_read(report, each_world):
    checked("it", json.loads(report.to_json()), report_type(each_world))


def test_outcomes_go_through_json_with_what_json_lacks(each_world):
    evaluation = each_world.evaluation_set(3, scenes=SCENES)
    asked = {split: [0.1] * len(evaluation.split(split)) for split in SPLITS}
    asked["random"][1] = math.inf
    answers = {kind: ["two"] * len(evaluation.asked(kind)) for kind in each_world.open_kinds}
    grounding = {kind: [-1.5] * len(evaluation.probed(kind)) for kind in each_world.probe_kinds}
    responses = Responses(["a dog"] * 3, [""] * 3, ["a cat ."] * 3, asked, answers, grounding)
    rows = Rows(np.array([0, 2, 2]), np.array([0.25, 1 / 3, math.nan]))
    outcome = Outcome(responses, {"share": rows, "inside": rows})
    found = Outcome.from_dict(json.loads(json.dumps(outcome.to_dict(evaluation), allow_nan=False)), evaluation)
    assert found.responses.margins["random"][0] == 0.1
    assert math.isnan(found.responses.margins["random"][1])
    assert found.responses.grounding == responses.grounding
    assert found.responses.captions == responses.captions
    assert found.relevance["share"].scenes.tolist() == [0, 2, 2]
    np.testing.assert_allclose(found.relevance["share"].values, rows.values, rtol=1e-8)


def test_numbers_that_json_lacks_are_none():
    assert numbers([1 / 3, math.nan, math.inf]) == [0.333333, None, None]
