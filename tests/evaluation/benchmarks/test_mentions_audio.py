"""Captions of sounds: five prompts a sound, and means that take silence for -1."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from lime_xai.evaluation.benchmarks import protocols
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.scoring import ALL, score
from lime_xai.storage.store import DamagedFileError

assert protocols
AUDIO = protocol_of("audio-captions")
LABELS = {"a1": ["dog", "sewing machine"], "b2": ["machine", "speech"], "c3": ["bird", "TV"]}


def write(path: Path, labels: dict[str, list[str]]) -> dict[str, Path]:
    """Write the rows of the data set as JSON lines."""
    rows = [{"youtube_id": clip, "audio": f"{clip}.wav", "label": there} for clip, there in labels.items()]
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"labels": path}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write(tmp_path / "labels.jsonl", LABELS)


def test_five_prompts_a_sound(files) -> None:
    items = AUDIO.read(files, partial=True)
    assert [item.id for item in items[:6]] == ["a1/1", "a1/2", "a1/3", "a1/4", "a1/5", "b2/1"]
    assert len({item.question for item in items}) == len({item.group for item in items}) == 5
    assert {item.unit for item in items} == set(LABELS)
    assert items[5].sounds[0].name == "b2.wav"
    assert items[5].place.endswith("line 2")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("A dog barks.", {"dog"}),
        ("Dogs, dogs.", {"dog"}),
        ("A sewing machine runs.", {"sewing machine"}),
        ("A machine, sewing.", {"machine"}),
        ("A sewing machine and machines.", {"sewing machine", "machine"}),
        ("Birds on tv.", {"bird", "TV"}),
        ("A cat.", set()),
        ("", set()),
    ],
)
def test_labels_in_a_caption(files, answer: str, said: set[str]) -> None:
    for item in AUDIO.read(files, partial=True):
        there = set(item.truth["objects"])
        absent = len(said - there) / len(said) if said else -1
        found = AUDIO.count(item, answer, "rules")
        assert found["chair"] == pytest.approx(absent)
        assert found["hal"] == (-1 if not said else float(absent > 0))
        assert found["cover"] == len(said & there) / len(there)


def test_labels_that_differ_in_case_are_one_object(tmp_path: Path) -> None:
    items = AUDIO.read(write(tmp_path / "labels.jsonl", {"a1": ["Dog"], "b2": ["dog", "DOG", "bird"]}), partial=True)
    assert AUDIO.count(items[0], "Dogs.", "rules")["cover"] == 1
    assert AUDIO.count(items[5], "Dogs.", "rules")["cover"] == 0.5


def test_lists_of_objects_against_loops(tmp_path: Path) -> None:
    draw = random.Random(5)
    pool = [f"sound {number}" for number in range(9)]
    labels = {f"clip{number}": draw.sample(pool, draw.randint(1, 4)) for number in range(957)}
    items = AUDIO.read(write(tmp_path / "labels.jsonl", labels))  # of the official length
    answers = {item.id: json.dumps(draw.choices(pool, k=draw.randint(0, 4))) for item in items}
    chair, cover, hal = [], [], []
    for item in items:  # the official script: a list of scores for each measure
        said, there = set(json.loads(answers[item.id])), set(item.truth["objects"])
        one = 1 - len(said & there) / len(said) if said else -1
        chair.append(one)
        cover.append(len(said & there) / len(there))
        hal.append(-1 if one == -1 else 1 if one != 0 else 0)
    found = score(AUDIO, items, answers, "objects", resamples=5)[ALL]
    assert found["chair"][0] == pytest.approx(np.mean(chair))
    assert found["cover"][0] == pytest.approx(np.mean(cover))
    assert found["hal"][0] == pytest.approx(np.mean(hal))
    assert found["chair_named"][0] == pytest.approx(np.mean([one for one in chair if one >= 0]))
    assert found["named"][0] == pytest.approx(np.mean([one >= 0 for one in chair]))


def test_silence_is_minus_one_and_shown(files) -> None:
    items = AUDIO.read(files, partial=True)
    found = score(AUDIO, items, {item.id: "" for item in items}, resamples=5)[ALL]
    assert (found["chair"][0], found["hal"][0], found["named"][0]) == (-1, -1, 0)
    assert np.isnan(found["chair_named"][0])


def test_a_caption_is_no_list(files) -> None:
    item = AUDIO.read(files, partial=True)[0]
    for answer in ("A dog.", '{"dog": 1}', "[1]"):
        with pytest.raises(ValueError, match=r"line 1: the answer to 'a1/1' is .*JSON array"):
            AUDIO.count(item, answer, "objects")
    AUDIO.check_parser("objects")
    assert AUDIO.parsers[0] == "rules"


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ('{"youtube_id": "x", "audio": "x.wav", "label": []}', r"line 2: found the label \[\]"),
        ('{"youtube_id": "x", "audio": "x.wav", "label": "dog"}', r"line 2: .*label"),
        ('{"youtube_id": "x", "label": ["dog"]}', r"line 2: there is no 'audio'"),
        ('{"youtube_id": "x", "audio": {"bytes": null}, "label": ["dog"]}', r"line 2, audio: there is no 'path'"),
        ('{"youtube_id": "a", "audio": "a.wav", "label": ["dog"]}', r"line 2: sound 'a' was there before"),
        ('{"youtube_id": "x",', r"line 2: no JSON"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, row: str, error: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"youtube_id": "a", "audio": {"path": "a.wav"}, "label": ["dog"]}\n' + row)
    with pytest.raises(DamagedFileError, match=error):
        AUDIO.read({"labels": path}, partial=True)


def test_a_part_must_be_meant(files) -> None:
    with pytest.raises(DamagedFileError, match="has 3 records; the official file has 957"):
        AUDIO.read(files)
