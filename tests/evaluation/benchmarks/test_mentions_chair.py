"""CHAIR: files of COCO's form, numbers against plain loops, and errors that name file and line."""

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from lime_xai.evaluation.benchmarks import protocols
from lime_xai.evaluation.benchmarks.protocol import Item, check_media, protocol_of
from lime_xai.evaluation.benchmarks.protocols.coco import draw_ids
from lime_xai.evaluation.benchmarks.protocols.coco_words import mentions
from lime_xai.evaluation.benchmarks.scoring import differences, score
from lime_xai.evaluation.benchmarks.words import finished, text_parser
from lime_xai.storage.store import DamagedFileError

assert protocols
CHAIR = protocol_of("chair")
SYNONYMS = "person, man, woman, people\ndog, puppy\ncat, kitten\nchair, seat\ntoilet\nhot dog\nbear\nteddy bear\n"
CLASSES = ["person", "dog", "cat", "chair", "toilet", "hot dog", "bear", "teddy bear"]


def write(
    folder: Path, shown: dict[int, list[str]], captions: dict[int, list[str]], split: str = "val"
) -> dict[str, Path]:
    """Write files of COCO's form; return them by name."""
    number = {name: 10 * place + 1 for place, name in enumerate(CLASSES)}
    files = {
        "ids": folder / "ids.txt",
        "synonyms": folder / "synonyms.txt",
        f"instances_{split}": folder / f"instances_{split}2014.json",
        f"captions_{split}": folder / f"captions_{split}2014.json",
    }
    files["ids"].write_text("# a list\n" + "".join(f"{image}\n" for image in shown))
    files["synonyms"].write_text(SYNONYMS)
    instances = {
        "info": {"year": 2014, "none": None},
        "images": [
            {"license": 1, "file_name": f"COCO_{split}2014_{image:012d}.jpg", "id": image} for image in (*shown, 999)
        ],
        "licenses": [],
        "annotations": [
            {"segmentation": [[1.5, 2.25]], "image_id": image, "category_id": number[name], "id": 7}
            for image, names in {**shown, 999: ["cat"]}.items()
            for name in names
        ],
        "categories": [{"supercategory": "x", "id": place, "name": name} for name, place in number.items()],
    }
    files[f"instances_{split}"].write_text(json.dumps(instances))
    written = [{"image_id": image, "id": 1, "caption": text} for image, texts in captions.items() for text in texts]
    files[f"captions_{split}"].write_text(json.dumps({"info": {}, "annotations": written}))
    return files


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    shown = {42: ["dog", "dog", "chair"], 7: [], 9: ["toilet"]}
    return write(tmp_path, shown, {42: ["A puppy.", "People sit."], 7: ["A kitten in a box."], 9: ["Nothing."]})


def test_truth_is_instances_and_what_people_wrote(files: dict[str, Path]) -> None:
    items = CHAIR.read(files)
    assert [item.id for item in items] == ["42", "7", "9"]
    assert items[0].images[0].name == "COCO_val2014_000000000042.jpg"
    assert items[1].place.endswith("ids.txt, line 3")
    assert CHAIR.prompt(items[0]) == "Please describe this image in detail."
    answer = "A man with a dog, a dog and a cat on a seat."
    assert CHAIR.count(items[0], answer, "rules") == {
        "mentions": 5, "hallucinated": 1, "hallucinating": 1.0, "there": 3, "named": 4, "found": 3, "tokens": 15,
    }  # fmt: skip
    assert CHAIR.count(items[1], answer, "rules")["hallucinated"] == 4  # only the caption's kitten is there
    assert CHAIR.count(items[2], "The seat of the toilet.", "rules")["hallucinated"] == 0


def test_values_by_hand(files: dict[str, Path]) -> None:
    answers = {"42": "A man with a dog, a dog and a cat on a seat.", "7": "A kitten.", "9": "An empty room."}
    found = {name: value[0] for name, value in score(CHAIR, CHAIR.read(files), answers, "rules")["all"].items()}
    recall, precision = 4 / 5, 4 / 5
    expected = {
        "chair_s": 1 / 3,
        "chair_i": 1 / 6,
        "recall": recall,
        "precision": precision,
        "f1": 0.8,
        "length": 22 / 3,
    }
    assert found == pytest.approx(expected)


def test_nothing_named_is_no_number(files: dict[str, Path]) -> None:
    found = score(CHAIR, CHAIR.read(files), dict.fromkeys(("42", "7", "9"), "Sky."), "rules")["all"]
    assert np.isnan(found["chair_i"][0])
    assert found["chair_s"][0] == found["recall"][0] == 0


def test_unfinished_sentence_by_the_name_of_the_parser(files: dict[str, Path]) -> None:
    item = CHAIR.read(files)[0]
    assert CHAIR.count(item, "A dog. A cat", "rules")["hallucinated"] == 1
    assert CHAIR.count(item, "A dog. A cat", "rules+finished") == CHAIR.count(item, "A dog.", "rules")
    assert {"rules+finished", "nltk+finished", "rules", "nltk"} <= set(CHAIR.parsers)
    with pytest.raises(ValueError, match="Unknown parser of chair 'rules\\+finish'"):
        CHAIR.check_parser("rules+finish")


def naive(items: list[Item], answers: dict[str, str], parser: str) -> dict[str, float]:
    """CHAIR as its paper says it, sets and loops only."""
    said = wrong = captions = bad = there_sum = found = named = 0
    for item in items:
        there = set(item.truth["objects"])
        for caption in item.truth["captions"]:
            for node in mentions(caption, item.truth["synonyms"], text_parser("rules")).nodes:
                there.add(node)
        text = finished(answers[item.id]) if parser.endswith("+finished") else answers[item.id]
        hallucinated = False
        nodes = mentions(text, item.truth["synonyms"], text_parser("rules")).nodes
        for node in nodes:
            said += 1
            if node not in there:
                wrong += 1
                hallucinated = True
        captions += 1
        bad += hallucinated
        there_sum += len(there)
        found += sum(node in nodes for node in there)
        named += len(set(nodes))
    recall, precision = found / there_sum, found / named
    f1 = 2 * recall * precision / (recall + precision)
    return {"chair_s": bad / captions, "chair_i": wrong / said, "recall": recall, "precision": precision, "f1": f1}


@pytest.mark.parametrize("parser", ["rules", "rules+finished"])
def test_generated_captions_against_loops(tmp_path: Path, parser: str) -> None:
    draw = random.Random(3)
    pool = [
        "dogs",
        "kitten",
        "a",
        "hot",
        "dog",
        ".",
        ",",
        "seat",
        "toilet",
        "teddy",
        "bear",
        "baby",
        "people",
        "sky",
        ".",
    ]

    def caption() -> str:
        return " ".join(draw.choices(pool, k=draw.randint(0, 14)))

    images = draw.sample(range(1, 10**6), 1000)
    shown = {image: draw.choices(CLASSES, k=draw.randint(0, 4)) for image in images}
    items = CHAIR.read(write(tmp_path, shown, {image: [caption(), "A dog."] for image in images}))
    one, two = ({item.id: caption() for item in items} for _ in range(2))
    expected = naive(items, one, parser)
    found = score(CHAIR, items, one, parser, resamples=20)["all"]
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)
    assert all(low <= value <= high for value, low, high in found.values())
    change = differences(CHAIR, items, one, two, parser, resamples=20)["all"]
    other = naive(items, two, parser)
    assert {name: change[name][0] for name in expected} == pytest.approx({k: other[k] - expected[k] for k in expected})


def test_items_of_two_synonyms_files_at_once_and_pickled(files: dict[str, Path], tmp_path: Path) -> None:
    items = CHAIR.read(files)
    files["synonyms"].write_text(SYNONYMS.replace("cat, kitten", "cat").replace("dog, puppy", "dog, puppy, kitten"))
    others = pickle.loads(pickle.dumps(CHAIR.read(files)))
    assert CHAIR.count(items[1], "A kitten. A cat.", "rules")["hallucinated"] == 0
    assert CHAIR.count(others[1], "A kitten. A cat.", "rules")["hallucinated"] == 1
    assert json.loads(json.dumps(items[0].truth)) == items[0].truth
    assert items[0].truth["synonyms"] is items[1].truth["synonyms"]


def test_train_and_val_together(tmp_path: Path) -> None:
    one = write(tmp_path, {42: ["dog"]}, {42: ["A dog."]})
    two = write(tmp_path, {43: ["cat"]}, {43: ["A cat."]}, "train")
    (tmp_path / "ids.txt").write_text('{"image_id": 43, "caption": "x"}\n{"image_id": 42}\n')
    items = CHAIR.read({**one, **two})
    assert [(item.id, item.truth["objects"]) for item in items] == [("43", ["cat"]), ("42", ["dog"])]


def test_pictures_lie_in_one_folder_or_in_those_of_coco(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ids\.txt, line 2: .*COCO_val2014_000000000042\.jpg"):
        check_media(CHAIR.read(files))
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "COCO_val2014_000000000042.jpg").touch()
    (tmp_path / "COCO_val2014_000000000007.jpg").touch()
    (tmp_path / "COCO_val2014_000000000009.jpg").touch()
    check_media(CHAIR.read(files, tmp_path))


BROKEN = [
    ("ids", "42\nforty\n", r"ids\.txt, line 2: found 'forty'"),
    ("ids", "42\n7\n42\n", r"ids\.txt, line 3: image '42' was there before \(.*line 1\)"),
    ("ids", "# none\n", "has no image ids"),
    ("ids", '{"image_id": 42}\n{"id": 7}\n', r"line 2: there is no 'image_id'"),
    ("ids", "42\n31\n", r"ids\.txt, line 2: image 31 is in none of the instances files"),
    ("synonyms", "person\n", r"synonyms\.txt: no synonyms of 'chair'"),
    ("captions_val", '{"annotations": []}', r"ids\.txt, line 2: image 42 has no caption"),
    ("captions_val", '{"annotations": [{"image_id": 42,\n"caption": }]}', r"captions_val2014\.json, line \d: no JSON"),
    ("captions_val", '{"annotations": [{"image_id": 42}]}', r"line 1, annotations\[0\]: there is no 'caption'"),
    ("captions_val", '{"annotations":\n[{"caption": "x"}]}', r"line 2, annotations\[0\]: there is no 'image_id'"),
    ("captions_val", '{"annotations": [{"image_id": "42"}]}', r"annotations\[0\]: .*image_id"),
    ("captions_val", '{"annotations": [7]}', r"annotations\[0\]: found int; expected a JSON object"),
    ("captions_val", '{"images": []}', r"there is no array 'annotations'"),
    ("captions_val", "[]", r"line 1: no JSON object of arrays \(found '\['"),
    ("captions_val", '{"annotations": [], }', "comma before the end"),
    ("captions_val", '{"annotations": []} x', "after the end"),
    ("captions_val", '{"annotations": []', "found 'the end'"),
    ("captions_val", "", "found 'the end'"),
]


@pytest.mark.parametrize(("name", "text", "error"), BROKEN, ids=[f"{name}-{text[:24]!r}" for name, text, _ in BROKEN])
def test_errors_name_file_and_line(files: dict[str, Path], name: str, text: str, error: str) -> None:
    files[name].write_text(text)
    with pytest.raises(DamagedFileError, match=error):
        CHAIR.read(files)


@pytest.mark.parametrize("name", ["ids", "synonyms", "instances_val", "captions_val"])
def test_missing_and_cut_files(files: dict[str, Path], name: str) -> None:
    whole = files[name].read_text()
    if name.endswith("_val"):
        for cut in range(1, len(whole), 7):
            files[name].write_text(whole[:cut])
            with pytest.raises(DamagedFileError, match=f"{files[name].name}, line 1"):
                CHAIR.read(files)
    files[name].unlink()
    with pytest.raises(FileNotFoundError, match=files[name].name):
        CHAIR.read(files)
    with pytest.raises(ValueError, match="was given"):
        CHAIR.read({key: path for key, path in files.items() if key != name})


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_records_across_the_windows_of_a_stream(
    files: dict[str, Path], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CHAIR.read(files)
    monkeypatch.setattr("lime_xai.evaluation.benchmarks.streaming._CHUNK", size)
    assert CHAIR.read(files) == whole
    spread = json.dumps(json.loads(files["instances_val"].read_text()), indent=1)
    files["instances_val"].write_text(spread)
    assert CHAIR.read(files) == whole
    files["instances_val"].write_text(spread.replace('"category_id": 11', '"category_id": 12', 1))
    line = spread[: spread.index("{", spread.index('"annotations"'))].count("\n") + 1
    with pytest.raises(DamagedFileError, match=rf"line {line}, annotations\[0\]: category 12 "):
        CHAIR.read(files)


def test_a_drawn_list_says_how_it_was_drawn(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "drawn.txt"
    drawn = draw_ids(files["instances_val"], output, number=2, seed=5)
    assert output.read_text().startswith("# 2 of the 4 images of instances_val2014.json, drawn with seed 5\n")
    assert [int(line) for line in output.read_text().split("\n")[1:-1]] == drawn == sorted(set(drawn))
    with pytest.raises(FileExistsError, match="already"):
        draw_ids(files["instances_val"], output, number=2, seed=6)
    with pytest.raises(ValueError, match="has 4"):
        draw_ids(files["instances_val"], tmp_path / "more.txt", number=5)
