"""The file of answers: resumed after any cut, refused for other settings, damage and a second process."""

import errno
import json
import os
import subprocess
import sys

import pytest

from lime_xai.evaluation.benchmarks import answers as module
from lime_xai.evaluation.benchmarks.answers import (
    FORMAT,
    Answer,
    answer_file,
    changes,
    check_resumable,
    read_answers,
)
from lime_xai.storage.store import DamagedFileError

IDENTITY = {"benchmark": "toy", "files": {"questions": "ab"}, "seed": 0}
POLICIES = {"vanilla": [], "edit": [{"policy": "Edit", "steps": 1}]}
SETTING = {"model": "m", "device": "cpu", "versions": {"torch": "1"}, "date": "today"}
ANSWERS = [
    Answer(f"{item}", policy, f"text {item}\nß 😀  ", 3 + item, item % 2 == 0, 0.5, ("cd",))
    for item in range(3)
    for policy in POLICIES
]


def write(path, answers=ANSWERS, identity=IDENTITY, policies=POLICIES, setting=SETTING):
    with answer_file(path, identity, policies, setting) as file:
        for answer in answers:
            if (answer.id, answer.policy) not in file.kept.answers:
                file.add(answer)
    return path


def test_what_is_written_is_read(tmp_path):
    kept = read_answers(write(tmp_path / "a.jsonl"))
    assert list(kept.answers.values()) == ANSWERS
    assert kept.header == {"format": FORMAT, **IDENTITY}
    assert kept.runs == [{"policies": POLICIES, **SETTING}]
    assert kept.policies == POLICIES
    assert not kept.torn
    assert {name: list(found) for name, found in kept.by_policy().items()} == {key: ["0", "1", "2"] for key in POLICIES}


def test_a_file_that_is_cut_at_any_byte_goes_on_to_the_same_file(tmp_path):
    whole = write(tmp_path / "whole.jsonl").read_bytes()
    begun = len(b"".join(whole.splitlines(keepends=True)[:2]))  # header and run are written whole, by renaming
    path = tmp_path / "a.jsonl"
    last = len(whole) - len(b"".join(whole.splitlines(keepends=True)[-2:]))
    for size in (begun, *range(last, len(whole), 5), len(whole) - 1):
        path.write_bytes(whole[:size])
        assert read_answers(path).torn == (whole[size - 1 : size] != b"\n")
        write(path)
        assert path.read_bytes() == whole, size


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (2, "{", "line 3: no JSON"),
        (2, "[1]", "line 3: found list"),
        (1, '{"run": 1}', "line 2: run is"),
        (3, '{"id": "0", "policy": "vanilla"}', "line 4: there is no 'text'"),
        (3, json.dumps({**vars(ANSWERS[0]), "tokens": "3"}), "line 4: tokens is"),
        (4, json.dumps({**vars(ANSWERS[0]), "media": []}), "line 5: the answer of 'vanilla' to '0' was there before"),
        (4, json.dumps({**vars(ANSWERS[0]), "policy": "other"}), "line 5: no line before it describes"),
        (7, "{", "line 8: no JSON"),  # the last line, which has its line feed: no kill writes that
    ],
)
def test_another_broken_line_is_named_and_nothing_is_changed(tmp_path, line, text, says):
    path = write(tmp_path / "a.jsonl")
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    for call in (read_answers, write):
        with pytest.raises(DamagedFileError, match=says):
            call(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "notes without an end", "notes\n", '{"id": 1}\n', '{"format": "other"}\n{'])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match="file of answers"):
        write(path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("identity", "policies", "says"),
    [
        ({**IDENTITY, "seed": 1}, POLICIES, "'seed': 0.*'seed': 1"),
        ({**IDENTITY, "style": "long"}, POLICIES, "'style': None"),
        (IDENTITY, {"edit": [{"policy": "Edit", "steps": 2}]}, "'steps': 1.*'steps': 2"),
    ],
)
def test_other_answers_never_enter_a_file(tmp_path, identity, policies, says):
    path = write(tmp_path / "a.jsonl")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=says):
        check_resumable(path, identity, policies)
    with pytest.raises(ValueError, match=says):
        write(path, identity=identity, policies=policies)
    assert path.read_bytes() == before


def test_a_further_policy_and_another_device_are_noted(tmp_path):
    path = write(tmp_path / "a.jsonl")
    write(path, setting={**SETTING, "date": "tomorrow"})
    assert len(read_answers(path).runs) == 1
    more = {**POLICIES, "contrast": [{"policy": "Contrast"}]}
    write(path, [Answer("0", "contrast", "", 1, True, 0.1)], policies=more, setting={**SETTING, "device": "cuda"})
    kept = read_answers(path)
    assert kept.runs[1] == {"policies": {"contrast": [{"policy": "Contrast"}]}, **SETTING, "device": "cuda"}
    assert kept.policies == more
    assert changes(kept.runs) == {"device": ["cpu", "cuda"]}
    assert len(kept.answers) == len(ANSWERS) + 1


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    path = tmp_path / "a.jsonl"
    script = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, f"{path}.lock"], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match="written by another process"):
        write(path)
    other.kill()
    other.wait()
    other.stdout.close()
    assert len(read_answers(write(path)).answers) == len(ANSWERS)


def test_two_runs_in_one_process_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    with answer_file(path, IDENTITY, POLICIES, SETTING), pytest.raises(ValueError, match="another process"):
        write(path)


@pytest.mark.parametrize("taken", [0, 10])
def test_a_full_disk_leaves_the_answers_before(tmp_path, monkeypatch, taken):
    path = tmp_path / "a.jsonl"
    genuine, room = os.write, [2000]

    def full(descriptor, data):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= len(data)
        if room[0] < 0:
            return genuine(descriptor, data[:taken]) if taken else full(descriptor, data)
        return genuine(descriptor, data)

    many = [Answer(str(item), "vanilla", "word " * 20, 20, True, 0.1) for item in range(40)]
    monkeypatch.setattr(module.os, "write", full)
    with pytest.raises(OSError, match=r"No space left on device: \d+ answers are kept.*a\.jsonl"):
        write(path, many)
    kept = read_answers(path)
    assert 1 <= len(kept.answers) < 40
    assert not kept.torn
    monkeypatch.undo()
    assert list(read_answers(write(path, many)).answers.values()) == many


def test_an_answer_is_on_the_disk_before_the_next(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module.os, "fsync", lambda descriptor: calls.append(descriptor))
    write(tmp_path / "a.jsonl")
    assert len(calls) == len(ANSWERS)


def test_places_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        check_resumable(tmp_path / "no" / "a.jsonl", IDENTITY)
    with pytest.raises(ValueError, match="is a folder"):
        check_resumable(tmp_path, IDENTITY)
    with pytest.raises(ValueError, match="no regular file"):
        check_resumable("/dev/null", IDENTITY)
