"""POPE and RePOPE: parsers against hand-made cases and naive scripts, and what their files must hold."""

import math
from dataclasses import replace

import pytest
from support.benchmark_files import COCO, generated_answers, pope_files, pope_records, write_array, write_lines

from lime_xai.evaluation.benchmarks import protocol_of, score
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.storage.store import DamagedFileError

POPE = protocol_of("pope-coco")
REPOPE = protocol_of("repope")


def question(label):
    return Item(id="1", question="Is there a dog in the image?", truth={"label": label})


def said(protocol, parser, answer, label):
    """What a parser reads: "yes", "no", or None where it reads neither."""
    found = protocol.count(question(label), answer, parser)
    if found["unparsed"]:
        assert not found["right"]
        assert not found["yes"]
        return None
    assert found["right"] == ((found["yes"] == 1) == (label == "yes"))
    return "yes" if found["yes"] else "no"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", "yes"),
        ("No", "no"),
        ("no", "no"),
        ("NO", "yes"),
        ("No.", "no"),
        ("No, there is none", "no"),
        ("No!", "yes"),
        ("No\nThere is none", "yes"),
        ("Yes. No dog", "yes"),
        (". No", "yes"),
        ("1. No", "yes"),
        ("The image does not show one", "no"),
        ("Not at all", "yes"),
        ("There are none, nothing", "yes"),
        ("Yes, no doubt", "no"),
        (",no", "no"),
        ("I don't know", "yes"),
        ("no,body", "yes"),
    ],
)
@pytest.mark.parametrize("label", ["yes", "no"])
def test_official_looks_for_three_words_before_the_first_full_stop(answer, label, expected):
    assert said(POPE, "official", answer, label) == expected


@pytest.mark.parametrize(
    ("answer", "label", "expected"),
    [
        ("Yes", "yes", "yes"),
        ("YES", "yes", "yes"),
        ("eyes", "yes", "yes"),
        ("Maybe", "yes", "no"),
        ("No, yes", "yes", "yes"),
        ("No, yes", "no", "no"),
        ("I don't know", "no", "no"),
        ("cannot", "no", "no"),
        ("Maybe", "no", "yes"),
        ("", "no", "yes"),
        ("", "yes", "no"),
        ("Yes", "no", "yes"),
    ],
)
def test_vcd_looks_for_the_label_in_the_answer(answer, label, expected):
    assert said(POPE, "vcd", answer, label) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Yes", "yes"), (" no\n", "no"), ("NO", "no"), ("Yes.", None), ("No, it is not", None), ("", None), ("y", None)],
)
@pytest.mark.parametrize("label", ["yes", "no"])
def test_lmms_eval_takes_the_two_words_only(answer, label, expected):
    assert said(POPE, "lmms-eval", answer, label) == expected


def test_lmms_eval_leaves_what_is_neither_out_of_recall_but_not_of_accuracy():
    found = POPE.count(question("yes"), "Yes.", "lmms-eval")
    assert (found["counted"], found["asked"], found["claimed"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("eyes", "yes"), ("No... yes", "yes"), ("I know", "no"), ("cannot", "no"), ("Maybe", None), ("", None)],
)
@pytest.mark.parametrize("label", ["yes", "no"])
def test_repope_looks_for_yes_then_for_no(answer, label, expected):
    assert said(REPOPE, "repope", answer, label) == expected


def test_repope_leaves_what_is_neither_out_of_all_measures():
    found = REPOPE.count(question("yes"), "Maybe", "repope")
    assert (found["counted"], found["asked"], found["claimed"], found["unparsed"]) == (0, 0, 0, 1)


def naive_cell(parser, answer, label):
    """Return the cell of the confusion matrix that the published script of this name counts, None for none."""
    if parser == "official":
        sentence = ""
        for character in answer:
            if character == ".":
                break
            if character != ",":
                sentence += character
        no = False
        for word in sentence.split(" "):
            if word == "No" or word == "not" or word == "no":
                no = True
        return {("yes", True): "FN", ("yes", False): "TP", ("no", True): "TN", ("no", False): "FP"}[label, no]
    text = answer.strip().lower()
    if parser == "vcd":
        if label == "yes":
            return "TP" if text.find("yes") >= 0 else "FN"
        return "TN" if text.find("no") >= 0 else "FP"
    if parser == "lmms-eval":
        if text not in ("yes", "no"):
            return None
    elif text.find("yes") >= 0:
        text = "yes"
    elif text.find("no") >= 0:
        text = "no"
    else:
        return None
    return {("yes", "yes"): "TP", ("no", "yes"): "FP", ("no", "no"): "TN", ("yes", "no"): "FN"}[label, text]


def naive_measures(parser, pairs):
    cells = {"TP": 0, "FP": 0, "TN": 0, "FN": 0, None: 0}
    for answer, label in pairs:
        cells[naive_cell(parser, answer, label)] += 1
    counted = len(pairs) - (cells[None] if parser == "repope" else 0)
    precision = cells["TP"] / (cells["TP"] + cells["FP"])
    recall = cells["TP"] / (cells["TP"] + cells["FN"])
    return {
        "accuracy": (cells["TP"] + cells["TN"]) / counted,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes": (cells["TP"] + cells["FP"]) / counted,
        "unparsed": cells[None] / len(pairs),
    }


@pytest.mark.parametrize(
    ("name", "parser"),
    [("pope-coco", parser) for parser in POPE.parsers] + [("repope", parser) for parser in REPOPE.parsers],
)
def test_measures_are_those_of_the_scripts(name, parser, tmp_path):
    protocol = protocol_of(name)
    items = protocol.read(pope_files(tmp_path, 334), partial=True)
    answers = generated_answers(items, seed=len(parser))
    found = score(protocol, items, answers, parser, resamples=1)
    means = dict.fromkeys(protocol.measures, 0.0)
    for split in ("random", "popular", "adversarial"):
        pairs = [(answers[item.id], item.truth["label"]) for item in items if item.group == split]
        naive = naive_measures(parser, pairs)
        assert len(pairs) == 334
        for measure, value in naive.items():
            assert found[split][measure][0] == pytest.approx(value, abs=1e-12)
            means[measure] += value / 3
    assert {measure: value[0] for measure, value in found["all groups"].items()} == pytest.approx(means, abs=1e-12)


def test_measures_without_a_denominator_are_not_numbers(tmp_path):
    items = POPE.read(pope_files(tmp_path), partial=True)
    found = score(POPE, items, {item.id: "no" for item in items}, resamples=5)["random"]
    assert math.isnan(found["precision"][0])
    assert math.isnan(found["f1"][0])
    assert found["recall"][0] == 0
    assert found["accuracy"][0] == 0.5


def test_whole_files_are_read(tmp_path):
    files = pope_files(tmp_path / "questions", 3000)
    items = POPE.read(files, tmp_path / "images")
    assert len({item.id for item in items}) == len(items) == 9000
    assert len({item.unit for item in items}) == 500
    first = items[0]
    assert (first.id, first.group, first.truth) == ("random-1", "random", {"label": "yes"})
    assert first.images == (tmp_path / "images" / COCO.format(0),)
    assert first.place == f"{files['random']}, line 1"
    assert items[-1].id == "adversarial-3000"


def test_lines_and_an_array_give_the_same_questions(tmp_path):
    lines, array = (POPE.read(pope_files(tmp_path, write=write), partial=True) for write in (write_lines, write_array))
    assert [replace(item, place="") for item in lines] == [replace(item, place="") for item in array]
    assert array[2].place == f"{tmp_path / 'random.json'}, record 3"


def test_images_lie_beside_the_questions_unless_a_folder_is_given(tmp_path):
    items = POPE.read(pope_files(tmp_path), partial=True)
    assert {path.parent for item in items for path in item.images} == {tmp_path}


def test_prompts_are_those_in_use():
    item = question("yes")
    assert POPE.prompt(item) == item.question
    assert POPE.prompt(item, "vcd") == f"{item.question} Please answer this question with one word."
    assert POPE.prompt(item, "llava") == f"{item.question}\nAnswer the question using a single word or phrase."
    with pytest.raises(ValueError, match="prompt of pope-coco"):
        POPE.prompt(item, "lava")


@pytest.mark.parametrize("partial", [False, True])
def test_the_old_random_file_is_refused_by_name(partial, tmp_path):
    files = pope_files(tmp_path)
    write_lines(files["random"], pope_records(2910))
    with pytest.raises(DamagedFileError, match=r"random\.json has 2910 records: it is the earlier release"):
        POPE.read(files, partial=partial)


@pytest.mark.parametrize(
    ("name", "count", "official"),
    [("pope-coco", 2999, 3000), ("pope-gqa", 3001, 3000), ("repope", 3000, 2774)],
)
def test_a_file_of_another_length_is_refused(name, count, official, tmp_path):
    files = pope_files(tmp_path)
    write_lines(files["random"], pope_records(count))
    with pytest.raises(DamagedFileError, match=f"has {count} records; the official file has {official}"):
        protocol_of(name).read(files)


def test_repope_has_gaps_in_its_numbers_and_pope_has_none(tmp_path):
    records = pope_records(3000)
    files = {split: write_lines(tmp_path / split, records[3000 - count :]) for split, count in REPOPE.lengths.items()}
    assert REPOPE.read(files)[0].id == "random-227"
    swapped = [*records[:5], records[6], records[5], *records[7:]]
    with pytest.raises(DamagedFileError, match=r"random, line 6: question_id is 7; expected 6"):
        POPE.read(dict.fromkeys(REPOPE.lengths, write_lines(tmp_path / "random", swapped)))


def test_a_part_may_be_one_split_and_the_whole_may_not(tmp_path):
    files = pope_files(tmp_path)
    only = {"popular": files["popular"]}
    items = POPE.read(only, partial=True)
    assert {item.group for item in items} == {"popular"}
    assert "all groups" not in score(POPE, items, {item.id: "yes" for item in items}, resamples=1)
    with pytest.raises(ValueError, match="pope-coco was given popular; expected random"):
        POPE.read(only)
    with pytest.raises(ValueError, match="pope-coco was given no files"):
        POPE.read({}, partial=True)
    with pytest.raises(ValueError, match="pope-coco was given populr"):
        POPE.read({"populr": files["popular"]}, partial=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "maybe"}, "line 3: Unknown label 'maybe'"),
        ({"label": 1}, "line 3: label is 1"),
        ({"question_id": "3"}, "line 3: question_id is '3'"),
        ({"question_id": 3001}, "line 3: question_id is 3001; expected 1 to 3000"),
        ({"image": "2405722.jpg"}, "line 3: image is '2405722.jpg'; those of pope-coco match"),
        ({"image": "../" + COCO.format(1)}, "line 3: image is '../COCO"),
    ],
)
def test_a_wrong_value_is_an_error_about_its_line(change, message, tmp_path):
    records = pope_records(6)
    records[2] |= change
    with pytest.raises(DamagedFileError, match=message):
        POPE.read({"random": write_lines(tmp_path / "random.json", records)}, partial=True)


def test_the_spelling_error_of_one_copy_is_named(tmp_path):
    records = pope_records(6)
    records[4]["text"] = "Is there an umbrella in the imange?"
    path = write_lines(tmp_path / "adversarial.json", records)
    with pytest.warns(UserWarning, match=r"line 5: the question says 'imange'"):
        items = POPE.read({"adversarial": path}, partial=True)
    assert items[4].question == records[4]["text"]
