"""Targets of the scene world's models, and the command that measures them."""

import io
import json
import math

import pytest
from rich.console import Console

from lime_xai.command import run_world as command
from lime_xai.evaluation.policies.acceptance import acceptance, acceptance_table, as_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import scene
from lime_xai.worlds.scene.criteria import CRITERIA, IMAGE_COOCCURRENCE, LANGUAGE_PRIOR, MIXED, Criterion, kind_of

RESAMPLES = 40

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module", params=[LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED])
def measured(request, untrained):
    evaluation = scene.evaluation_set(seed=3, scenes=6)
    return request.param, acceptance(*untrained, evaluation, request.param, RESAMPLES)


def test_every_target_is_measured_in_its_order(measured):
    _, rows = measured
    assert [row.measure for row in rows] == [criterion.measure for criterion in CRITERIA]
    assert sum(math.isfinite(row.value) for row in rows) > len(rows) / 2


def test_verdicts_are_given_where_a_target_binds(measured):
    kind, rows = measured
    for criterion, row in zip(CRITERIA, rows, strict=True):
        wanted = ("pass" if criterion.holds(row.value) else "miss") if criterion.binds(kind) else ""
        assert (row.verdict, row.criterion) == (wanted, criterion.text if criterion.binds(kind) else "")
    assert "miss" in {row.verdict for row in rows}


def test_rows_are_json_and_fit_a_terminal(measured):
    _, rows = measured
    text = json.dumps(as_json(rows), allow_nan=False)
    assert len(json.loads(text)) == len(CRITERIA)
    console = Console(file=io.StringIO(), width=140)
    console.print(acceptance_table("a model", rows))
    printed = console.file.getvalue()
    assert all(row.measure in printed and row.measured in printed for row in rows)


def test_targets_bind_by_kind():
    assert len({criterion.measure for criterion in CRITERIA}) == len(CRITERIA)
    assert all(any(t.binds(kind) for t in CRITERIA) for kind in (LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED))
    assert [kind_of(share) for share in (0.0, 0.25, 1.0)] == [LANGUAGE_PRIOR, MIXED, IMAGE_COOCCURRENCE]
    assert not any(
        t.binds(kind)
        for t in CRITERIA
        if "contrast" in t.measure
        for kind in (LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED)
    )


@pytest.mark.parametrize(
    ("criterion", "text", "inside", "outside"),
    [
        (Criterion("a", 0.1, 0.4), "0.1 to 0.4", 0.4, 0.5),
        (Criterion("a", low=0.1), "at least 0.1", 9.0, 0.0),
        (Criterion("a", high=1e6), "at most 1,000,000", -5.0, 2e6),
    ],
)
def test_targets_are_closed_intervals(criterion, text, inside, outside):
    assert criterion.text == text
    assert criterion.holds(inside)
    assert not criterion.holds(outside)
    assert not criterion.holds(math.nan)
    assert Criterion("a").text == ""
    assert not Criterion("a").binds(LANGUAGE_PRIOR)


def test_the_command_fails_for_an_untrained_model_and_keeps_other_rows(
    untrained_folder, untrained, tmp_path, monkeypatch
):
    out = tmp_path / "report.json"
    out.write_text(json.dumps({"other": {"rows": []}}))
    monkeypatch.setattr(command, "acceptance", lambda *args: acceptance(*args, RESAMPLES))
    console = Console(file=io.StringIO(), width=120)
    assert command.run_accept(console, [str(untrained_folder)], seed=3, scenes=4, out=out) is False
    report = json.loads(out.read_text())
    assert list(report) == ["other", "untrained"]
    found = report["untrained"]
    assert (found["kind"], found["seed"], found["scenes"]) == (LANGUAGE_PRIOR, 3, 4)
    assert found["weights"] == weights_hash(untrained[0])
    assert found["weights"] in console.file.getvalue()


def test_all_models_are_found_before_any_is_measured(untrained_folder, monkeypatch):
    monkeypatch.setattr(command, "acceptance", lambda *args: pytest.fail("measured"))
    with pytest.raises(ValueError, match="Unknown model 'nowhere'"):
        command.run_accept(Console(file=io.StringIO()), [str(untrained_folder), "nowhere"], seed=3, scenes=4)
