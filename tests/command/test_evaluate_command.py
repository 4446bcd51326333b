"""``lime-xai evaluate``, ``score`` and ``world export``."""

import json

import pytest

from lime_xai.command import loading
from lime_xai.command.progress import Lines, duration
from lime_xai.evaluation.benchmarks.answers import read_answers
from lime_xai.evaluation.benchmarks.protocols.world import write_world
from lime_xai.evaluation.policies.registry import ITEM_MEDIA, OTHER_MEDIA
from lime_xai.worlds import load_world, sound

ASK = ("--model", "scene", "--benchmark", "world-questions")


@pytest.fixture
def world(tmp_path):
    write_world(load_world("scene"), tmp_path / "w", 900, 2)
    return "w/questions.jsonl"


@pytest.fixture
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(loading, "bundled_model", lambda *args: pytest.fail("a model was loaded"))


def test_a_benchmark_is_asked_and_goes_on(lime, world, tmp_path):
    run = ("evaluate", *ASK, "--file", world, "--limit", 1, "--out", "a.jsonl", "--json", "r.json")
    first = lime(*run, "--plot", "p.png")
    assert first.exit_code == 0, first.output
    assert "answers: 0 of 6" in first.stderr
    assert "answers: 6 of 6" in first.stderr
    assert "parser first-word" in " ".join(first.stdout.split())
    assert "change against vanilla" in first.stdout
    assert (tmp_path / "p.png").stat().st_size > 1000
    kept, report = (tmp_path / "a.jsonl").read_bytes(), json.loads((tmp_path / "r.json").read_text())
    (found,) = report["results"]
    assert (found["items"], found["of"], found["conditions"]["decoding"]) == (3, 24, "greedy, 4 tokens at most")
    again = lime(*run)
    assert "answers: 6 of 6" in again.stderr
    assert (tmp_path / "a.jsonl").read_bytes() == kept
    assert json.loads((tmp_path / "r.json").read_text()) == report
    scored = lime(
        "score", "a.jsonl", "--benchmark", "world-questions", "--file", world, "--partial", "--json", "s.json"
    )
    assert scored.exit_code == 0, scored.output
    assert json.loads((tmp_path / "s.json").read_text()) == report
    assert "vanilla has not answered 21 of 24 items" in scored.stderr


def test_settings_reach_the_model(lime, world, tmp_path):
    run = ("evaluate", *ASK, "--file", f"questions={world}", "--limit", 1, "--out", "a.jsonl", "--sample", "--seed", 7)
    result = lime(*run, "--max-new-tokens", 2, "--policies", "vanilla", "--parser", "first-word", "--style", "plain")
    assert result.exit_code == 0, result.output
    header = read_answers(tmp_path / "a.jsonl").header
    assert (header["do_sample"], header["seed"], header["max_new_tokens"]) == (True, 7, 2)
    assert "sampling with seed 7, 2 tokens at most" in " ".join(result.stdout.split())


def test_answers_of_another_system_are_measured_without_a_model(lime, world, tmp_path, nothing_loaded):
    rows = [json.loads(line) for line in (tmp_path / world).read_text().splitlines()]
    (tmp_path / "good.jsonl").write_text("\n".join(json.dumps({"id": r["id"], "answer": r["answer"]}) for r in rows))
    (tmp_path / "yes.jsonl").write_text("\n".join(json.dumps({"id": r["id"], "text": "yes"}) for r in rows))
    run = ("score", "good.jsonl", "yes.jsonl", "--benchmark", "world-questions", "--file", world)
    result = lime(*run, "--against", "yes", "--json", "r.json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert found["against"] == "yes"
    assert found["systems"]["good"]["measures"]["all groups"]["accuracy"] == [1.0, 1.0, 1.0]
    assert found["systems"]["good"]["mcnemar"]["gained"] == 12
    assert found["systems"]["yes"]["texts"]["tokens"] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--benchmark": "world-question"}, ["Unknown benchmark 'world-question'", "'world-questions'"]),
        ({"--file": "no.jsonl"}, ["--file questions: there is no file no.jsonl"]),
        ({"--file": "question=w/questions.jsonl"}, ["was given question", "expected questions"]),
        ({"--file": None}, ["was given no files"]),
        ({"--file": "w/captions.jsonl"}, ["captions.jsonl, line 1", "no 'answer'"]),
        ({"--media": "w/.."}, ["line 1: there is no file", "give the folder"]),
        ({"--policies": "vanilla,edti"}, ["Unknown policy 'edti'"]),
        ({"--policies": "edit,vanilla,edit"}, ["The policy edit is named twice"]),
        ({"--style": "long"}, ["Unknown prompt of world-questions 'long'"]),
        ({"--parser": "official"}, ["Unknown parser of world-questions 'official'"]),
        ({"--device": "meta"}, ["--device meta"]),
        ({"--seed": -1}, ["seed is -1"]),
        ({"--out": "a.json"}, ["--out a.json ends in '.json'", ".jsonl"]),
        ({"--out": "no/a.jsonl"}, ["there is no folder no"]),
        ({"--out": "w/questions.jsonl"}, ["no file of answers"]),
        ({"--json": "a.txt"}, ["--json a.txt"]),
        ({"--plot": "a.txt"}, ["--plot a.txt"]),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(refused, nothing_loaded, world, change, says):
    options = {**dict(zip(ASK[::2], ASK[1::2], strict=True)), "--file": world, "--out": "a.jsonl", **change}
    refused("evaluate", *(part for pair in options.items() if pair[1] is not None for part in pair), says=says)


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("", (), ["a.jsonl has no records"]),
        ('{"id": "1"}', (), ["line 1: there is no 'text'"]),
        ('{"id": "1", "text": "yes"}', (), ["Of 24 items, a lacks 23", "--partial"]),
        ('{"id": "x", "text": "yes"}', (), ["answers 1 items that the benchmark does not have", "'x'"]),
        ('{"id": "1", "text": "yes"}', ("--against", "b", "--partial"), ["Unknown system 'b'"]),
        ('{"id": "1", "text": "yes"}', ("--json", "a.jsonl"), ["--json a.jsonl"]),
    ],
)
def test_answers_that_cannot_be_measured_are_refused(refused, world, tmp_path, text, options, says):
    (tmp_path / "a.jsonl").write_text(text)
    refused("score", "a.jsonl", "--benchmark", "world-questions", "--file", world, *options, says=says)


def test_a_folder_that_holds_something_is_not_written(refused, lime, tmp_path):
    result = lime("world", "export", "new", "--scenes", 1)
    assert result.exit_code == 0, result.output
    assert "new/questions.jsonl" in result.stdout
    refused("world", "export", "new", says=["new is not empty"])
    refused("world", "export", "no/new", says=["no folder no"])
    refused("world", "export", "other", "--world", "sceen", says=["Unknown world"])


def test_lines_tell_the_remaining_time(monkeypatch, capsys):
    from lime_xai.command import progress

    now, printed = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.notices, "print", lambda text, **_: printed.append(text))
    tell = Lines("answers", period=60)
    for done in range(4, 11):  # four were there before
        tell(done, 10)
        now[0] += 50
    assert printed == [
        "answers: 4 of 10",
        "answers: 6 of 10, about 3 min left",
        "answers: 8 of 10, about 100 s left",
        "answers: 10 of 10",
    ]
    assert [duration(value) for value in (5, 119, 120, 7300)] == ["5 s", "119 s", "2 min", "2 h"]


def test_the_names_work_in_evaluate_alone(lime, refused, tmp_path):
    write_world(sound.WORLD, tmp_path / "w", 900, 1)
    ask = ("--model", "sound", "--benchmark", "world-captions", "--file", "w/captions.jsonl", "--max-new-tokens", 4)
    run = ("evaluate", *ask, "--out", "a.jsonl", "--policies", "vanilla,contrast_nothing")
    result = lime(*run)
    assert result.exit_code == 0, result.output
    before = (tmp_path / "a.jsonl").read_bytes()
    settings = read_answers(tmp_path / "a.jsonl").policies
    assert settings["contrast_nothing"][0]["against"] == "nothing"
    assert lime(*run).exit_code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == before
    refused(
        *("evaluate", *ask, "--out", "b.jsonl", "--policies", "contrast_noisy_pixels"),
        says=["has sounds; noise on pixels is for items with pictures alone"],
    )
    for name in {**OTHER_MEDIA, **ITEM_MEDIA}:
        makers = [command for command, known in (("world", OTHER_MEDIA), ("evaluate", ITEM_MEDIA)) if name in known]
        where = " and ".join(f"`lime-xai {command}`" for command in makers)
        refused("steer", "scene", "--prompt", "describe .", "--policy", name, says=[f"made by {where} alone"])
