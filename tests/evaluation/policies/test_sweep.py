"""The sweep of figure 5: what is varied, what it resumes from, and what it draws."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import sweep
from benchmarks.sweep_figure import METRICS, points
from lime_xai import Edit, steering
from lime_xai.worlds import scene


@pytest.fixture
def small(monkeypatch, untrained_folder, short_captions, tmp_path):
    """Run the command on three scenes of an untrained model, one step per edit; returns the path of its report."""
    policy_of = sweep.policy_of
    monkeypatch.setattr(sweep, "RATES", (0.01, 0.03))
    monkeypatch.setattr(sweep, "policy_of", lambda *varied: replace(policy_of(*varied), steps=1))
    out = tmp_path / "sweep.json"
    settings = ["--scenes", "3", "--tuning-scenes", "2", "--model", str(untrained_folder), "--out", str(out)]

    def run(*arguments):
        sweep.main([*settings, *arguments])
        return json.loads(out.read_text())

    return run


def test_only_what_is_named_differs_from_the_papers_edit():
    for edited in sweep.EDITED:
        found = sweep.policy_of(edited, 3.0, 0.02, "cache")
        paper = Edit.paper("cache", 0.02)
        assert (found.edit, found.objective.kl_weight, found.learning_rate) == (edited, 3.0, 0.02)
        assert (found.objective.form, found.objective.target, found.steps, found.deltas, found.positions) == (
            *(paper.objective.form, paper.objective.target, paper.steps, paper.deltas, paper.positions),
        )
    assert sweep.policy_of("both", sweep.PAPER_LAMBDA, 3e-4, "sequence") == Edit.paper()


def test_seeds_of_tuning_are_not_those_that_are_reported(capsys):
    for option, seed in (("--seed", "900"), ("--tuning-seed", "5")):
        with pytest.raises(SystemExit):
            sweep.main([option, seed])
        assert "invalid choice" in capsys.readouterr().err


def test_an_interrupted_sweep_goes_on_and_is_drawn(small, monkeypatch, tmp_path):
    calls = []
    measured = sweep.measured

    def interrupted(model, processor, evaluation, policy):
        calls.append(policy)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(model, processor, evaluation, policy)

    monkeypatch.setattr(sweep, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small("--lambdas", "0.5")
    held = json.loads((tmp_path / "sweep.json").read_text())
    assert [len(held["tuning"][edited]) for edited in sweep.EDITED] == [2, 2, 2]
    assert list(held["rows"]) == ["plain", "keys, 0.5"]
    monkeypatch.setattr(sweep, "f1_of", lambda *_: pytest.fail("a learning rate was tried again"))
    found = small("--lambdas", "0.5")
    assert found["rows"]["keys, 0.5"] == held["rows"]["keys, 0.5"]
    assert [(p.edit, p.objective.kl_weight) for p in calls[-2:]] == [("values", 0.5), ("both", 0.5)]
    best = {edited: float(max(tried, key=tried.get)) for edited, tried in found["tuning"].items()}
    assert {p.edit: p.learning_rate for p in calls[-2:]} == {name: best[name] for name in ("values", "both")}
    count = len(calls)
    small("--lambdas", "0.5")
    assert len(calls) == count  # complete: drawn only
    with pytest.raises(ValueError, match="seed"):
        small("--lambdas", "0.5", "--seed", "6001")
    for ending in ("pdf", "png", "md"):
        assert (tmp_path / f"sweep.{ending}").stat().st_size > 0
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert len(rows) == len(METRICS) * (1 + len(sweep.EDITED))
    for row in rows:
        name = "plain" if row["edited"] == "nothing" else f"{row['edited']}, {float(row['lambda']):g}"
        assert float(row["value"]) == found["rows"][name]["values"][row["metric"]][0]


def test_a_row_is_what_the_world_measures(untrained, short_captions):
    evaluation = scene.evaluation_set(5, scenes=3)
    policy = sweep.policy_of("keys", 0.1, 0.03, "cache")
    found = sweep.measured(*untrained, evaluation, policy)
    with steering(untrained[0], policy):
        captions = scene.generate_captions(*untrained, evaluation, no_repeat=True)
        questions = evaluation.split(sweep.SPLIT)
        margins = scene.question_margins(*untrained, evaluation, questions)
    metrics = scene.caption_metrics(captions, evaluation.scenes, scene.LANGUAGE)
    assert found["f1"][0] == metrics.f1
    assert found["chair_i"][0] == metrics.chair_i
    assert found["auc"][0] == scene.closed_metrics(margins, [q.label for q in questions]).auc
    row = sweep.row_of(found, found, policy, 1.0)
    assert row["differences"]["f1"] == [0, 0, 0]
    assert np.allclose(row["values"]["f1"][0], metrics.f1, rtol=1e-5)


def test_points_are_in_the_order_of_lambda():
    report = {"rows": {"plain": {}, "keys, 10": {"a": 1}, "both, 0.1": {}, "keys, 0": {"a": 0}}}
    assert list(points(report)["keys"]) == [0.0, 10.0]
    assert points(report)["values"] == {}
