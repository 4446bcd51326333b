"""Targets of the scene world's models, and the command that measures them."""

import io
import json
import math

import pytest
from rich.console import Console

from lime_xai.evaluation import command
from lime_xai.evaluation.acceptance import acceptance, acceptance_table, as_json
from lime_xai.worlds import scene
from lime_xai.worlds.scene.network import weights_hash
from lime_xai.worlds.scene.targets import IMAGE, MIXED, TARGETS, TEXT, Target, kind_of

RESAMPLES = 40

pytestmark = pytest.mark.usefixtures("short_captions")


@pytest.fixture(scope="module", params=[TEXT, IMAGE, MIXED])
def measured(request, untrained):
    evaluation = scene.evaluation_set(seed=3, scenes=6)
    return request.param, acceptance(*untrained, evaluation, request.param, RESAMPLES)


def test_every_target_is_measured_in_its_order(measured):
    _, rows = measured
    assert [row.measure for row in rows] == [target.measure for target in TARGETS]
    assert sum(math.isfinite(row.value) for row in rows) > len(rows) / 2


def test_verdicts_are_given_where_a_target_binds(measured):
    kind, rows = measured
    for target, row in zip(TARGETS, rows, strict=True):
        wanted = ("pass" if target.holds(row.value) else "miss") if target.binds(kind) else ""
        assert (row.verdict, row.target) == (wanted, target.text if target.binds(kind) else "")
    assert "miss" in {row.verdict for row in rows}


def test_rows_are_json_and_fit_a_terminal(measured):
    _, rows = measured
    text = json.dumps(as_json(rows), allow_nan=False)
    assert len(json.loads(text)) == len(TARGETS)
    console = Console(file=io.StringIO(), width=140)
    console.print(acceptance_table("a model", rows))
    printed = console.file.getvalue()
    assert all(row.measure in printed and row.measured in printed for row in rows)


def test_targets_bind_by_kind():
    assert len({target.measure for target in TARGETS}) == len(TARGETS)
    assert all(any(t.binds(kind) for t in TARGETS) for kind in (TEXT, IMAGE, MIXED))
    assert [kind_of(share) for share in (0.0, 0.25, 1.0)] == [TEXT, MIXED, IMAGE]
    assert not any(t.binds(kind) for t in TARGETS if "contrast" in t.measure for kind in (TEXT, IMAGE, MIXED))


@pytest.mark.parametrize(
    ("target", "text", "inside", "outside"),
    [
        (Target("a", 0.1, 0.4), "0.1 to 0.4", 0.4, 0.5),
        (Target("a", low=0.1), "at least 0.1", 9.0, 0.0),
        (Target("a", high=1e6), "at most 1,000,000", -5.0, 2e6),
    ],
)
def test_targets_are_closed_intervals(target, text, inside, outside):
    assert target.text == text
    assert target.holds(inside)
    assert not target.holds(outside)
    assert not target.holds(math.nan)
    assert Target("a").text == ""
    assert not Target("a").binds(TEXT)


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
    assert (found["kind"], found["seed"], found["scenes"]) == (TEXT, 3, 4)
    assert found["weights"] == weights_hash(untrained[0])
    assert found["weights"] in console.file.getvalue()


def test_all_models_are_found_before_any_is_measured(untrained_folder, monkeypatch):
    monkeypatch.setattr(command, "acceptance", lambda *args: pytest.fail("measured"))
    with pytest.raises(ValueError, match="Unknown model 'nowhere'"):
        command.run_accept(Console(file=io.StringIO()), [str(untrained_folder), "nowhere"], seed=3, scenes=4)
