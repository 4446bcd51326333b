"""Targets of the models of a world, and the command that measures them."""

import io
import json
import math

import pytest
from rich.console import Console

from lime_xai.command import run_world as command
from lime_xai.evaluation.policies.acceptance import acceptance, acceptance_table, as_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.scene.criteria import CRITERIA
from lime_xai.worlds.shared.criteria import IMAGE_COOCCURRENCE, LANGUAGE_PRIOR, MIXED, Criterion, kind_of

RESAMPLES = 40
KINDS = (LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED)

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module")
def measured(each_world, each_untrained):
    evaluation = each_world.evaluation_set(seed=3, scenes=6)
    return {kind: acceptance(*each_untrained, evaluation, kind, RESAMPLES) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_is_measured_in_its_order(each_world, measured, kind):
    rows = measured[kind]
    assert [row.measure for row in rows] == [criterion.measure for criterion in each_world.criteria]
    assert sum(math.isfinite(row.value) for row in rows) > len(rows) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_given_where_a_target_binds(each_world, measured, kind):
    rows = measured[kind]
    bound = 0
    for criterion, row in zip(each_world.criteria, rows, strict=True):
        wanted = ("pass" if criterion.holds(row.value) else "miss") if criterion.binds(kind) else ""
        assert (row.verdict, row.criterion) == (wanted, criterion.text if criterion.binds(kind) else "")
        bound += criterion.binds(kind)
    assert ("miss" in {row.verdict for row in rows}) is (bound > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_json_and_fit_a_terminal(measured, kind):
    rows = measured[kind]
    text = json.dumps(as_json(rows), allow_nan=False)
    assert len(json.loads(text)) == len(rows)
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
    each_world, each_folder, each_untrained, tmp_path, monkeypatch
):
    out = tmp_path / "report.json"
    out.write_text(json.dumps({"other": {"rows": []}}))
    monkeypatch.setattr(command, "acceptance", lambda *args: acceptance(*args, RESAMPLES))
    console = Console(file=io.StringIO(), width=120)
    bound = any(criterion.binds(LANGUAGE_PRIOR) for criterion in each_world.criteria)
    passed = command.run_accept(console, each_world.name, [str(each_folder)], seed=3, scenes=4, out=out)
    assert passed is not bound
    assert ("are only reported" in console.file.getvalue()) is not bound
    report = json.loads(out.read_text())
    assert list(report) == ["other", each_folder.name]
    found = report[each_folder.name]
    assert (found["kind"], found["seed"], found["scenes"]) == (LANGUAGE_PRIOR, 3, 4)
    assert found["weights"] == weights_hash(each_untrained[0])
    assert found["weights"] in console.file.getvalue()


def test_all_models_are_found_before_any_is_measured(untrained_folder, monkeypatch):
    monkeypatch.setattr(command, "acceptance", lambda *args: pytest.fail("measured"))
    with pytest.raises(ValueError, match="Unknown model 'nowhere'"):
        command.run_accept(Console(file=io.StringIO()), "scene", [str(untrained_folder), "nowhere"], seed=3, scenes=4)
