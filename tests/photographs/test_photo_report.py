"""The tables of the page of photographs, from reports made for the test."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SPLITS = ("random", "popular", "adversarial", "dialogue")
KEYS = (
    *("chair_i", "f1", "recall", "no_repeat.chair_i", "no_repeat.f1", "no_repeat.recall", "detailed.absent"),
    *("grounding.name", "grounding.yes", "relevance.share", "open.count.accuracy"),
    *(f"splits.{split}.{key}" for split in SPLITS for key in ("auc", "accuracy", "false_yes")),
)
TITLES = ("low grounding", "low probability", "high entropy", "low perceptual share", "a late place")
"""Of the numbers that tell invented objects, in the report of the pictograms."""


@pytest.fixture
def report(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("photograph_report")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(module, "PROTOCOL", tmp_path / "protocol.json")
    frozen = {"seed": 0, "image_cooccurrence": 0.0, "size": "147m", "role": "confirmation", "sha256": "w0"}
    write(tmp_path, "protocol.json", {"seeds": {}, "models": {"seed0": frozen}})
    return module


def row(shift, plain=False):
    """A policy whose values are all ``shift``."""
    split = {"accuracy": shift, "auc": shift, "false_yes": shift}
    return {
        "chair_i": shift, "f1": shift, "repetitive": 0.25,
        "image_share": shift, "cost": 2.0, "grounding": {"name": shift, "yes": shift},
        "detailed": {"absent": shift}, "relevance": {"share": shift}, "open": {"count": {"accuracy": shift}},
        "no_repeat": {"chair_i": shift, "f1": shift, "finished": 1.0, "outside": 0.5},
        "splits": dict.fromkeys(SPLITS, split),
        "intervals": {key: [shift - 0.01, shift + 0.01] for key in KEYS},
        "differences": {} if plain else {key: [shift, shift - 0.02, shift + 0.02] for key in KEYS},
    }  # fmt: skip


def write(folder, name, data):
    (folder / name).write_text(json.dumps(data))


def accepted(weights, seed=21000, **values):
    """The entry of a model in the report of acceptance, with values by measure."""
    limits = {"criterion": "at least 0.75", "low": 0.7, "high": 0.9, "verdict": "pass"}
    rows = [{"measure": measure, "value": value, **limits} for measure, value in values.items()]
    return {"weights": weights, "seed": seed, "rows": rows}


def marked(*marks):
    return "\n".join(f"<!-- {mark}-table -->\nold {mark}\n<!-- /{mark}-table -->" for mark in marks)


def test_tables_replace_what_is_between_their_marks(report, tmp_path, capsys):
    write(
        tmp_path,
        "photographs_policies_seed0.json",
        {"weights": "w0", "scenes": 9, "policies": {"vanilla": row(0.3, True), "edit": row(0.1)}},
    )
    write(tmp_path, "world_bundled.json", {"scenes": 300, "policies": {"vanilla": row(0.4, True)}})
    summary = {"inventions by the picture": [0.5, 0.4, 0.6]}
    counts = {"inventions by the picture": [9, 4]}
    write(tmp_path, "photographs_errors_seed0.json", {"model": "w0", "summary": summary, "counts": counts})
    write(tmp_path, "photographs_errors_seed1.json", {"model": "w1", "summary": summary})
    long = {"weights": "w0", "scenes": 2, "policies": {"vanilla": row(0.3, True), "paper": row(0.2)}}
    long["policies"]["silent"] = {**row(0.4), "detailed": {"absent": None}}
    write(tmp_path, "photographs_sequence_seed0.json", long)
    write(tmp_path, "photographs_cache_seed0.json", {**long, "scenes": 12})
    marks = marked("captions", "reliance", "rankings", "answers", "sequence", "cache", "beside", "errors", "attention")
    report.PAGE.write_text(f"before\n{marks}\nafter\n")
    report.main()
    page = report.PAGE.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    moved = "0.100 [0.080, 0.120]"
    changes = " | ".join([moved] * 3)
    assert f"| `edit` | 0.100 / 0.100 | {changes} | 0.25 | 0.10 | {moved} |" in page
    assert f"| `edit` | 0.100 / 0.100 | {changes} | 0.50 |" in page
    assert "| `vanilla` | 0.300 / 0.300 |  |  |  | 0.25 | 0.30 |  |" in page
    assert "| `vanilla` | 0.300 / 0.300 |  |  |  | 0.50 |" in page
    assert f"| `edit` | 0.10 | {moved} | 0.10 | {moved} | 0.100 | {moved} | 0.100 | 2.0 |" in page
    assert f"| `edit` | {' | '.join([f'0.100, {moved}'] * 4)} |" in page
    assert f"| `edit` | {' | '.join([f'0.100, {moved}'] * 6)} |" in page
    assert "seed0, 2 scenes." in page
    assert f"| `paper` | {' | '.join(['0.200, 0.200'] * 8)} | 0.200 | 2.0 |" in page
    assert f"| `silent` | {' | '.join(['0.400, 0.400'] * 6)} | - | 0.400, 0.400 | 0.400 | 2.0 |" in page
    assert "seed0, 12 scenes." in page
    assert f"| `paper` | {' | '.join(['0.200, 0.200 [0.180, 0.220]'] * 8)} | 0.200 | 2.0 |" in page
    assert "| `edit` | pictograms, 300 scenes | not measured |" in page
    assert "|  | photographs, seed0, 9 scenes | 0.100 [0.080, 0.120] |" in page
    assert "|  | seed0 | seed1 |" in page
    assert "| inventions by the picture | 0.500 (9) | 0.500 [0.400, 0.600] |" in page
    assert "old attention" in page
    assert "old captions" not in page
    assert "attention: no report" in capsys.readouterr().out


def test_a_page_without_the_marks_is_refused(report, tmp_path):
    write(
        tmp_path,
        "photographs_attention_seed0.json",
        {"model": "w0", "summary": {"attention on the picture": [0.1, 0, 0.2]}},
    )
    report.PAGE.write_text("no marks\n")
    with pytest.raises(ValueError, match="has no <!-- attention-table -->"):
        report.main()
    assert report.PAGE.read_text() == "no marks\n"


def test_every_model_has_a_column_of_acceptance(report, tmp_path):
    write(tmp_path, "photographs_acceptance.json", {"seed0": accepted("w0", F1=0.8), "seed1": accepted("w1", F1=0.75)})
    report.PAGE.write_text(marked("acceptance"))
    report.main()
    assert "| F1 | at least 0.75 | 0.800 [0.700, 0.900] pass | 0.750 [0.700, 0.900] pass |" in report.PAGE.read_text()


def test_the_page_has_a_place_for_every_table(report):
    page = (BENCHMARKS.parent / "docs" / "explanation" / "photographs.md").read_text()
    for mark in report.tables():
        assert page.count(f"<!-- {mark}-table -->") == page.count(f"<!-- /{mark}-table -->") == 1


def test_each_model_has_its_table_of_detection(report, tmp_path):
    names = ("grounding", "probability", "entropy", "share", "order")
    later = [(0, True, 1.0, 1), (1, True, 3.0, 1), (0, False, 2.0, 1), (1, False, 9.0, 0)]
    mentions = [
        {"scene": scene, "word": "dog", "invented": invented, "order": order}
        | dict.fromkeys(("grounding", "probability", "share"), value)
        | {"entropy": -value}
        for scene, invented, value, order in later
    ]
    found = {
        "about": {"model": "w0", "mentions": 4, "scenes": 5, "invented": 2},
        "mentions": mentions,
        "medians": {name: {"seen": 1.0, "invented": 0.5} for name in names},
    }
    for name in ("seed0", "seed1"):
        write(tmp_path, f"photographs_detection_{name}.json", found)
    areas = {title: {"value": 0.8, "low": 0.7, "high": 0.9} for title in TITLES}
    write(tmp_path, "grounding.json", {"auroc": areas})
    report.PAGE.write_text(marked("detection"))
    report.main()
    page = report.PAGE.read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| low grounding")]
    assert len(rows) == 2
    for cells in rows:  # of four pairs three are in order; of the two at one place, one
        assert cells[1].startswith("0.750 [")
        assert cells[2].startswith("0.500 [")
        assert cells[3] == "0.000 [0.000, 0.000]"
        assert cells[4:] == ["0.800 [0.700, 0.900]", "1.00", "0.50 |"]
    (late,) = {line for line in page.splitlines() if line.startswith("| a late place")}
    assert late.split(" | ")[1].startswith("0.750 [")
    assert late.split(" | ")[2].startswith("0.500 [")
    assert "seed1: 4 named objects in 5 captions, 2 invented." in page


def test_measures_are_matched_by_name_and_not_by_place(report, tmp_path):
    both = {"seed0": accepted("w0", recall=0.1, F1=0.2), "seed1": accepted("w1", F1=0.3)}
    write(tmp_path, "photographs_acceptance.json", both)
    report.PAGE.write_text(marked("acceptance"))
    report.main()
    page = report.PAGE.read_text()
    assert "| recall | at least 0.75 | 0.100 [0.700, 0.900] pass | not measured |" in page
    assert "| F1 | at least 0.75 | 0.200 [0.700, 0.900] pass | 0.300 [0.700, 0.900] pass |" in page


SUMMARY = {"summary": {"attention on the picture": [0.1, 0.0, 0.2]}}


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("photographs_acceptance.json", {"seed0": accepted("old", F1=0.8)}),
        ("photographs_policies_seed0.json", {"weights": "old", "model": "seed0"}),
        *((f"photographs_{kind}_seed0.json", {"weights": "old", "model": "seed0"}) for kind in ("fresh", "cache")),
        ("photographs_sequence_seed0.json", {"weights": "old", "model": "seed0"}),
        ("photographs_errors_seed0.json", {"model": "old"}),
        ("photographs_detection_seed0.json", {"about": {"model": "old", "world": "photographs"}}),
        ("photographs_attention_seed0.json", {"model": "old"}),
        ("photographs_compare_seed0.json", {"header": {"weights": "old"}}),
        ("photographs_errors_seed7.json", {"model": "old"}),
    ],
)
def test_reports_of_other_weights_are_refused(report, tmp_path, file, stale):
    write(tmp_path, "photographs_attention_seed0.json", {"model": "w0", **SUMMARY})
    write(tmp_path, "photographs_policies_seed7.json", {"weights": "w7"})
    write(tmp_path, file, stale)
    report.PAGE.write_text(marked("attention"))
    with pytest.raises(ValueError, match=f"{file}: measured with other weights"):
        report.main()
    assert report.PAGE.read_text() == marked("attention")


@pytest.mark.parametrize(("key", "other"), [("seed", 8), ("scenes", 30), ("difficulty", "hard")])
def test_columns_of_one_table_are_of_the_same_scenes(report, tmp_path, key, other):
    about = {"seed": 7, "scenes": 60, "difficulty": "moderate", **SUMMARY}
    write(tmp_path, "photographs_attention_seed0.json", {"model": "w0", **about})
    write(tmp_path, "photographs_attention_seed1.json", {"model": "w1", **about, key: other})
    report.PAGE.write_text(marked("attention"))
    with pytest.raises(ValueError, match=f"{key} is .*measure all models on the same scenes"):
        report.main()


def test_a_comparison_has_its_values_and_its_paired_changes(report, tmp_path):
    found = json.loads((BENCHMARKS / "results" / "photographs_compare_seed0.json").read_text())
    found["header"]["weights"] = "w0"
    write(tmp_path, "photographs_compare_seed0.json", found)
    report.PAGE.write_text(marked("compare"))
    report.main()
    first, second = report.PAGE.read_text().split("The change against `attnlrp`, paired.")
    assert f"seed0, {len(found['examples'])} questions." in first
    assert "| pointing ↑ | mass ↑ | rank ↑ | perceptual_share | residual |" in first
    assert "| pointing ↑ | mass ↑ | rank ↑ |\n" in second
    assert "| `attnlrp` |" in first
    assert "`attnlrp`" not in second
    values = [row["values"] for one in found["examples"] for row in one["rows"]]
    change = sum(row["saliency"]["mass"] - row["attnlrp"]["mass"] for row in values) / len(values)
    (line,) = (line for line in second.splitlines() if line.startswith("| `saliency`"))
    assert line.split(" | ")[6].startswith(f"{change:.3f} [")
