"""What a report keeps of a policy: resumed and counted again without asking the model again."""

import json
import math

import numpy as np
import pytest

from lime_xai import LogitShift
from lime_xai.evaluation.policies.outcome import Outcome
from lime_xai.evaluation.policies.rows import report_type
from lime_xai.evaluation.policies.world import measure_policies
from lime_xai.values.checking import checked
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


def test_the_plain_model_is_measured_again_where_it_says_something_else(
    report, each_world, each_untrained, policies, monkeypatch
):
    done = through_json(report)
    done["vanilla"]["said"]["captions"][0] += " and more"
    made = calls(each_untrained[0], monkeypatch)
    again = measure_policies(each_world, *each_untrained, policies, seed=3, scenes=SCENES, done=done)
    assert len(made) > math.ceil(SCENES / each_world.caption_rows)
    assert again.policies["vanilla"]["said"] == report.policies["vanilla"]["said"]


def test_a_report_is_of_the_type_that_is_read(report, each_world):
    checked("it", json.loads(report.to_json()), report_type(each_world))


def test_outcomes_go_through_json_with_what_json_lacks():
    responses = Responses(
        ["a dog"], [""], ["a cat ."], {"random": [0.1, math.inf]}, {"count": ["two"]}, {"yes": [-1.5]}
    )
    outcome = Outcome(responses, {"share": Rows(np.array([0, 2]), np.array([0.25, 1 / 3]))})
    found = Outcome.from_dict(json.loads(json.dumps(outcome.to_dict(), allow_nan=False)))
    assert found.responses.margins["random"][0] == 0.1
    assert math.isnan(found.responses.margins["random"][1])
    assert found.responses.grounding == responses.grounding
    assert found.responses.captions == responses.captions
    assert found.relevance["share"].scenes.tolist() == [0, 2]
    assert found.relevance["share"].values.tolist() == [0.25, 1 / 3]
