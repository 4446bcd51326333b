"""Reports of worlds on pages: rows on fewer scenes stay apart, and none replaces another without a word."""

import json

import pytest

from benchmarks import world_report
from benchmarks.pages import RESULTS
from benchmarks.world_report import titled, update_page
from lime_xai.evaluation.policies.rows import read_rows


@pytest.fixture(scope="module")
def whole():
    return json.loads((RESULTS / "world_sound_bundled.json").read_text(encoding="utf-8"))


def _few(report, scenes, policy):
    rows = {name: report["policies"][name] for name in ("vanilla", policy)}
    return {**report, "scenes": scenes, "policies": rows}


def test_a_report_on_fewer_scenes_has_a_title_of_its_own(whole):
    other = {**whole, "model": "seed1", "scenes": 8}
    few = _few(whole, 30, "constant")
    assert titled([whole, few, other]) == {"bundled": whole, "bundled, 30 scenes": few, "seed1": other}
    with pytest.raises(ValueError, match="on 30 scenes of the model bundled, one was expected"):
        titled([whole, few, _few(whole, 30, "contrast")])


def test_rows_on_fewer_scenes_have_a_table_of_their_own_on_the_page(whole, tmp_path):
    page = tmp_path / "page.md"
    marks = "<!-- world-table -->\nold\n<!-- /world-table -->\n"
    page.write_text(marks)
    update_page(page, titled([whole]))
    text = page.read_text()
    assert "old" not in text
    assert sum(line.startswith("| `") for line in text.splitlines()) == len(whole["policies"])

    measured = titled([whole, _few(whole, 30, "constant")])
    with pytest.raises(ValueError, match="has no <!-- few-table -->"):
        update_page(page, measured)
    page.write_text(marks + "<!-- few-table -->\n<!-- /few-table -->\n")
    update_page(page, measured)
    few = page.read_text().partition("<!-- few-table -->")[2]
    assert "seed 5, 30 scenes, noise 0.03:" in few
    assert [line.split("`")[1] for line in few.splitlines() if line.startswith("| `")] == ["vanilla", "constant"]


def test_the_models_of_a_world_stand_beside_each_other(whole, tmp_path):
    seed1 = json.loads((RESULTS / "world_sound_seed1.json").read_text(encoding="utf-8"))
    measured = titled([whole, _few(whole, 30, "constant"), seed1])
    page = tmp_path / "page.md"
    page.write_text("<!-- models-table -->\n<!-- /models-table -->\n<!-- few-table -->\n<!-- /few-table -->\n")
    update_page(page, measured)
    lines = page.read_text().partition("<!-- few-table -->")[0].splitlines()
    assert lines.count("|  | bundled | seed1 |") == 3  # the report on 30 scenes is no column
    for title, key in world_report.COMPARED:
        rows = lines[lines.index(f"Change of the {title}:") :]
        row = next(line for line in rows if line.startswith("| `contrast` "))
        cells = [cell.strip() for cell in row.strip("|").split("|")[1:]]
        for cell, report in zip(cells, (whole, seed1), strict=True):
            value, low, high = report["policies"]["contrast"]["differences"][key]
            assert cell == f"{value:.3f} [{low:.3f}, {high:.3f}]"


def test_the_page_in_the_repository_is_what_its_reports_give(tmp_path):
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("world_sound_*.json"))]
    source = world_report.PAGES["sound"].read_text(encoding="utf-8")
    page = tmp_path / "sound-world.md"
    page.write_text(source, encoding="utf-8")
    update_page(page, titled(reports))
    assert page.read_text(encoding="utf-8") == source


REPORTS = [
    path for path in sorted(RESULTS.glob("world_*.json")) if "policies" in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_report_in_the_repository_can_be_gone_on_with(path, monkeypatch):
    monkeypatch.chdir(RESULTS.parents[1])  # paths of calibrations are relative to it
    report = json.loads(path.read_text(encoding="utf-8"))
    identity = {key: report[key] for key in ("world", "model", "weights", "seed", "scenes", "noise")}
    assert read_rows(path, identity, list(report["policies"])).keys() == report["policies"].keys()
