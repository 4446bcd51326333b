"""``lime-xai ground``: tables, a file that resumes, and what is refused before a model is loaded."""

import json

import pytest

from lime_xai.command import loading
from lime_xai.evaluation.benchmarks.protocols.world import write_world
from lime_xai.worlds import load_world


@pytest.fixture
def places(tmp_path):
    """Write questions about a box of two pictures; returns the options of the command."""
    write_world(load_world("scene"), tmp_path / "w", 900, 2)
    rows = [
        {
            "image": f"scene-900-{index}.png",
            "question": "is there a cup in the image ?",
            "answer": "no",
            "box": [0, 0, 36, 36],
        }
        for index in range(2)
    ]
    (tmp_path / "w" / "places.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["ground", "--model", "scene", "--file", "w/places.jsonl"]


def test_methods_are_measured_and_kept(lime, places, tmp_path):
    run = (*places, "--methods", "attnlrp,gradient_input", "--json", "g.json")
    first = lime(*run)
    assert first.exit_code == 0, first.output
    assert "attnlrp" in first.stdout
    assert "even relevance" in first.stdout
    kept = json.loads((tmp_path / "g.json").read_text())
    again = lime(*run)
    assert again.stdout == first.stdout
    assert json.loads((tmp_path / "g.json").read_text()) == kept
    assert "examples: 2 of 2" in again.stderr


def test_bad_input_is_refused_before_a_model_is_loaded(refused, places, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "bundled_model", lambda *args: pytest.fail("a model was loaded"))
    refused(*places, "--methods", "atnlrp", says=("attnlrp",))
    refused(*places, "--limit", "0")
    (tmp_path / "w" / "wrong.jsonl").write_text('{"image": "scene-900-0.png", "question": "what ?"}\n')
    refused(*places[:-1], "w/wrong.jsonl", says=("line 1",))
