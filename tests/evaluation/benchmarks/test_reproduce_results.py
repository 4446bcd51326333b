"""Our numbers beside the paper's cells."""

import io
import json

import pytest
from rich.console import Console
from support.benchmark_files import COCO, write_lines

from lime_xai.evaluation.benchmarks.answers import Answer, KeptAnswers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding, limited
from lime_xai.evaluation.benchmarks.paper import MODELS
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.reproduction import SUBJECTS, reproduction, rows_of
from lime_xai.evaluation.benchmarks.two_classes import SPLITS

MODEL = MODELS["LLaVA-1.5-7B"]
HEADER = {
    "prompt": {"style": "none", "text": "{question}"},
    "max_new_tokens": 10,
    "dtype": "float32",
    "seed": 3,
}


def asked(folder, splits=SPLITS, limit=None):
    """Four questions of each split, about two pictures."""
    records = [
        {"question_id": n + 1, "image": COCO.format(n // 2), "text": f"Is there {n}?", "label": ["yes", "no"][n % 2]}
        for n in range(4)
    ]
    files = {split: write_lines(folder / f"{split}.json", records) for split in splits}
    protocol = protocol_of("pope-coco")
    items = protocol.read(files, partial=True)
    return Asking(protocol, limited(items, limit), files, Decoding(10)), len(items)


def answers(asking, wrong):
    """A file of answers for each decoding, right but for the first ``wrong[row]`` items of each split."""
    kept = {}
    for row in rows_of(SUBJECTS["pope"], MODEL):
        one = kept.setdefault(row.decoding, KeptAnswers(HEADER, [], {}, 0, False))
        for item in asking.items:
            right = int(item.id.rpartition("-")[2]) > wrong.get(row.name, 0)
            text = item.truth["label"] if right else {"yes": "no", "no": "yes"}[item.truth["label"]]
            one.answers[item.id, row.key] = Answer(item.id, row.key, text, 2, True, 0.5)
    return kept


def values(report, name):
    row = next(one for one in report["rows"] if one["name"] == name)
    return {(one["group"], one["measure"]): one for one in row["values"]}


def test_values_stand_beside_the_cell_of_their_row(tmp_path):
    asking, of = asked(tmp_path)
    kept = answers(asking, {"vanilla, sampling": 1, "paper's setting": 2})
    found = reproduction(SUBJECTS["pope"], asking, kept, "me/llava", MODEL, "vcd", of=of, notes=["a note"])
    report = json.loads(json.dumps(found.to_dict()))
    sampled, paper = values(report, "vanilla, sampling"), values(report, "paper's setting")
    assert sampled["random", "accuracy"]["ours"][0] == 75
    assert sampled["random", "accuracy"]["paper"] == {"value": 83.49, "table": "T1", "row": "regular", "remark": ""}
    assert paper["all groups", "accuracy"]["ours"][0] == 50
    assert paper["all groups", "f1"]["paper"]["value"] == 87.37
    assert values(report, "vanilla, greedy")["random", "accuracy"]["ours"] == [100, 100, 100]
    assert all(one["paper"] is None for one in values(report, "vanilla, greedy").values())
    assert all(one["paper"] is None for one in values(report, "our default").values())
    noise = values(report, "VCD, no gradients")
    assert noise["random", "accuracy"]["paper"] is None  # the note has the mean only
    assert noise["all groups", "accuracy"]["paper"]["value"] == 82.27
    assert {cell["row"] for cell in report["not_run"]} == {"OPERA", "ICD", "MemVR", "V-ITI"}
    assert report["notes"][0] == "a note"
    assert "sampling with seed 3" in " ".join(report["notes"])
    assert report["title"] == "pope-coco, me/llava, 12 items, parser vcd"


def test_the_table_names_the_table_of_every_cell(tmp_path):
    asking, of = asked(tmp_path)
    found = reproduction(SUBJECTS["pope"], asking, answers(asking, {}), "me/llava", MODEL, of=of)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(found.tables())
    text = console.export_text()
    assert "87.89 (LIME, T1)" in text
    assert "86.93 (T1)" in text
    for value in {f"{cell.value:.2f}" for cell in found.cells()}:
        assert any(f"{value} (" in line for line in text.splitlines()), value
    assert "VCD: contrast with noise" in text


def test_a_mean_over_some_splits_has_no_cell(tmp_path):
    asking, of = asked(tmp_path, ("random", "popular"), limit=2)
    found = reproduction(SUBJECTS["pope"], asking, answers(asking, {}), "me/llava", MODEL, of=of)
    assert {cell.group for cell in found.cells()} == {"random", "popular"}
    assert found.title.startswith("pope-coco, me/llava, 4 of 8 items")
    assert "4 of 8 items: the paper's cells are of whole benchmarks" in found.notes


def test_another_model_has_no_cells(tmp_path):
    asking, of = asked(tmp_path)
    found = reproduction(SUBJECTS["pope"], asking, answers(asking, {}), "scene", None, of=of)
    assert found.cells() == []
    assert found.to_dict()["paper_model"] is None


def test_an_item_without_an_answer_is_named(tmp_path):
    asking, of = asked(tmp_path)
    kept = answers(asking, {})
    del kept["sampling"].answers["random-1", "vanilla"]
    with pytest.raises(ValueError, match=r"1 of 12 items have no answer; the first is \['random-1'\]"):
        reproduction(SUBJECTS["pope"], asking, kept, "me/llava", MODEL, of=of)
