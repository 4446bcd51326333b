"""``lime-xai score --model``: words of finished answers, written line by line."""

import json

import pytest

from lime_xai.evaluation.benchmarks.protocols.world import write_world
from lime_xai.report import scored
from lime_xai.worlds import load_world


@pytest.fixture
def answers(tmp_path):
    """Write captions of three scenes as another system would; returns the options of the command."""
    _, captions = write_world(load_world("scene"), tmp_path / "w", 900, 3)
    records = [json.loads(line) for line in captions.read_text().splitlines()]
    texts = ["there is a cup .", "there is a knight , a sun .", "there is a queen ."]
    lines = [json.dumps({"id": one["id"], "text": text}) for one, text in zip(records, texts, strict=True)]
    (tmp_path / "vllm.jsonl").write_text("\n".join(lines))
    return ["score", "vllm.jsonl", "--benchmark", "world-captions", "--file", str(captions)]


def test_every_word_is_written_and_the_worst_are_shown(lime, answers, tmp_path):
    found = lime(*answers, "--model", "scene", "--words", "words.jsonl")
    assert found.exit_code == 0, found.output
    header, *rows = map(json.loads, (tmp_path / "words.jsonl").read_text().splitlines())
    assert header["benchmark"] == "world-captions"
    assert [row["system"] for row in rows] == ["vllm"] * 3
    assert [word["text"] for word in rows[1]["words"]] == ["there", "is", "a", "knight", ",", "a", "sun", "."]
    assert "lowest grounding" in found.stdout
    numbers = [word["grounding"] for row in rows for word in row["words"] if not word["special"]]
    assert f"vllm: {sum(value < 0.5 for value in numbers)} of {len(numbers)} words" in " ".join(found.stdout.split())
    assert f"{min(numbers):+.2f}" in found.stdout


def test_a_run_that_was_cut_off_goes_on(lime, answers, tmp_path, monkeypatch):
    run = (*answers, "--model", "scene", "--words", "words.jsonl")
    lime(*run)
    path = tmp_path / "words.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    asked, plain = [], scored._logits
    monkeypatch.setattr(scored, "_logits", lambda *given: asked.append(1) or plain(*given))
    assert lime(*run).exit_code == 0
    assert path.read_bytes() == whole
    assert asked == [1]


def test_another_file_or_prompt_is_refused(lime, refused, answers, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"format": "another"}\n')
    assert "is no file of scored words" in refused(*answers, "--model", "scene", "--words", "other.jsonl")
    assert "belong together" in refused(*answers, "--model", "scene")
