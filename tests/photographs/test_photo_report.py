"""The tables of the page of photographs, from reports made for the test."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEYS = (
    "no_repeat.chair_i",
    "no_repeat.f1",
    *(f"splits.{split}.auc" for split in ("random", "popular", "adversarial", "dialogue")),
)


@pytest.fixture
def report(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("photograph_report")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    return module


def row(shift, plain=False):
    """A policy whose values are all ``shift``."""
    split = {"accuracy": shift, "auc": shift}
    return {
        "chair_i": shift, "f1": shift, "image_share": shift, "cost": 2.0, "grounding": {"name": shift},
        "no_repeat": {"chair_i": shift, "f1": shift, "finished": 1.0},
        "splits": dict.fromkeys(("random", "popular", "adversarial", "dialogue"), split),
        "intervals": {key: [shift - 0.01, shift + 0.01] for key in KEYS},
        "differences": {} if plain else {key: [shift, shift - 0.02, shift + 0.02] for key in KEYS},
    }  # fmt: skip


def write(folder, name, data):
    (folder / name).write_text(json.dumps(data))


def marked(*marks):
    return "\n".join(f"<!-- {mark}-table -->\nold {mark}\n<!-- /{mark}-table -->" for mark in marks)


def test_tables_replace_what_is_between_their_marks(report, tmp_path, capsys):
    write(
        tmp_path,
        "photographs_policies_seed0.json",
        {"scenes": 9, "policies": {"vanilla": row(0.3, True), "edit": row(0.1)}},
    )
    write(tmp_path, "world_bundled.json", {"policies": {"vanilla": row(0.4, True)}})
    summary = {"inventions by the picture": [0.5, 0.4, 0.6]}
    write(tmp_path, "photographs_errors_seed0.json", {"summary": summary})
    write(tmp_path, "photographs_errors_seed1.json", {"summary": summary})
    report.PAGE.write_text(f"before\n{marked('captions', 'answers', 'beside', 'errors', 'attention')}\nafter\n")
    report.main()
    page = report.PAGE.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| `edit` | 0.100 / 0.100 | 0.100 [0.090, 0.110] | 0.100 | 0.100 [0.080, 0.120] | 1.00 |" in page
    assert "| `edit` | pictograms | not measured |" in page
    assert "|  | photographs, seed0 | 0.100 [0.080, 0.120] |" in page
    assert "|  | seed0 | seed1 |" in page
    assert "| inventions by the picture | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] |" in page
    assert "old attention" in page
    assert "old captions" not in page
    assert "attention: no report" in capsys.readouterr().out


def test_a_page_without_the_marks_is_refused(report, tmp_path):
    write(tmp_path, "photographs_attention_seed0.json", {"summary": {"attention on the picture": [0.1, 0.0, 0.2]}})
    report.PAGE.write_text("no marks\n")
    with pytest.raises(ValueError, match="has no <!-- attention-table -->"):
        report.main()
    assert report.PAGE.read_text() == "no marks\n"


def test_every_model_has_a_column_of_acceptance(report, tmp_path):
    def accepted(value):
        return {
            "rows": [
                {
                    "measure": "F1",
                    "criterion": "at least 0.75",
                    "value": value,
                    "low": 0.7,
                    "high": 0.9,
                    "verdict": "pass",
                }
            ]
        }

    write(tmp_path, "photographs_acceptance.json", {"seed0": accepted(0.8), "seed1": accepted(0.75)})
    report.PAGE.write_text(marked("acceptance"))
    report.main()
    assert "| F1 | at least 0.75 | 0.800 [0.700, 0.900] pass | 0.750 [0.700, 0.900] pass |" in report.PAGE.read_text()


def test_the_page_has_a_place_for_every_table(report):
    page = (BENCHMARKS.parent / "docs" / "explanation" / "photographs.md").read_text()
    for mark in report.tables():
        assert page.count(f"<!-- {mark}-table -->") == page.count(f"<!-- /{mark}-table -->") == 1


def test_each_model_has_its_table_of_detection(report, tmp_path):
    area = {"value": 0.7, "low": 0.6, "high": 0.8}
    names = ("grounding", "probability", "entropy", "share", "order")
    titles = ("low grounding", "low probability", "high entropy", "low perceptual share", "a late place")
    found = {
        "about": {"mentions": 20, "scenes": 5, "invented": 4},
        "auroc": dict.fromkeys(titles, area),
        "medians": {name: {"seen": 1.0, "invented": 0.5} for name in names},
    }
    for name in ("seed0", "seed1"):
        write(tmp_path, f"photographs_detection_{name}.json", found)
    report.PAGE.write_text(marked("detection"))
    report.main()
    page = report.PAGE.read_text()
    assert page.count("| low grounding | 0.700 [0.600, 0.800] | 1.00 | 0.50 |") == 2
    assert "seed1: 20 named objects in 5 captions, 4 invented." in page
