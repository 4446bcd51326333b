"""AMBER, DASH-B and Audio Hallucination QA: parsers against hand-made cases and naive scripts, and their files."""

import json

import pytest
from support.benchmark_files import (
    AMBER_KINDS,
    amber_files,
    audio_files,
    dash_files,
    generated_answers,
    write_array,
    write_lines,
)

from lime_xai.evaluation.benchmarks import protocol_of, score
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.storage.store import DamagedFileError

AMBER = protocol_of("amber-discriminative")
AUDIO = protocol_of("audio-hallucination")
DASH = protocol_of("dash-b")


def question(label):
    return Item(id="1", question="Is there a dog?", truth={"label": label})


def said(protocol, parser, answer, label):
    found = protocol.count(question(label), answer, parser)
    if found["unparsed"]:
        assert not found["right"]
        return None
    assert found["right"] == ((found["yes"] == 1) == (label == "yes"))
    return "yes" if found["yes"] else "no"


@pytest.mark.parametrize("label", ["yes", "no"])
@pytest.mark.parametrize(
    ("answer", "official", "first"),
    [
        ("Yes", "yes", "yes"),
        ("No", "no", "no"),
        ("no", None, "no"),
        ("No.", None, "no"),
        (" No", None, "no"),
        ("Yes\n", None, "yes"),
        ("No, it is red", None, "no"),
        ("Nope", None, None),
        ("It is not", None, None),
        ("", None, None),
        ("YES!", None, "yes"),
        ("<b>no</b>", None, None),
    ],
)
def test_amber_takes_two_strings_to_the_letter(answer, official, first, label):
    assert said(AMBER, "official", answer, label) == official
    assert said(AMBER, "first-word", answer, label) == first


@pytest.mark.parametrize("label", ["yes", "no"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes", "yes"),
        ("its eyes", "yes"),
        ("No, but yes", "yes"),
        ("YES", None),
        ("no", None),
        ("NO", None),
        ("Nothing", "no"),
        ("Not a dog, it does contain a cat", "no"),
        ("there is no sound", "no"),
        ("It does not contain a bark", "no"),
        ("It doesn't contain a bark", "no"),
        ("The audio contains a dog", "yes"),
        ("It can't contain a dog", "yes"),
        ("It does not seem to contain a dog", "yes"),
        ("It is not there", "no"),
        ("Another dog", "no"),
        ("I am unable to say", "no"),
        ("I can't say", "no"),
        ("A dog barks", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("parser", ["official", "icassp2025"])
def test_audio_parts_are_looked_for_in_order(parser, answer, expected, label):
    assert said(AUDIO, parser, answer, label) == expected


def test_audio_scripts_differ_in_what_is_neither():
    official = AUDIO.count(question("no"), "A dog barks", "official")
    assert (official["claimed"], official["asked"], official["counted"], official["right"]) == (1, 1, 1, 0)
    later = AUDIO.count(question("no"), "A dog barks", "icassp2025")
    assert (later["claimed"], later["asked"], later["counted"], later["right"]) == (0, 0, 1, 0)


@pytest.mark.parametrize("label", ["yes", "no"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [("eyes", "yes"), ("No. yes", "yes"), ("I don't know", "no"), ("cannot", "no"), ("Maybe", None), ("", None)],
)
def test_dash_looks_for_yes_then_for_no(answer, expected, label):
    assert said(DASH, "official", answer, label) == expected


def naive_amber(pairs, parser, added):
    """AMBER's rules over (answer, truth), of the class "No"."""
    right = answered_no = answered_no_right = asked_no = yes = neither = 0
    for answer, truth in pairs:
        if parser == "first-word":
            word = ""
            for character in answer.lower().lstrip(" .,!\n'()"):
                if not (character.isalnum() or character in "'_"):
                    break
                word += character
            answer = {"yes": "Yes", "no": "No"}.get(word.rstrip("'"), "neither")
        asked_no += truth == "no"
        if answer == "No":
            answered_no += 1
            answered_no_right += truth == "no"
        elif answer == "Yes":
            yes += 1
        else:
            neither += 1
        right += answer == {"yes": "Yes", "no": "No"}[truth]
    precision, recall = answered_no_right / answered_no, answered_no_right / asked_no
    return {
        "accuracy": right / len(pairs),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall + added),
        "yes": yes / len(pairs),
        "unparsed": neither / len(pairs),
    }


@pytest.mark.parametrize("parser", AMBER.parsers)
def test_amber_measures_are_those_of_the_script(parser, tmp_path):
    items = AMBER.read(amber_files(tmp_path, 1000), partial=True)
    answers = generated_answers(items, seed=3)
    found = score(AMBER, items, answers, parser, resamples=1)
    for group, members in {
        "existence": ["existence"],
        "attribute": ["attribute"],
        "relation": ["relation"],
        "all groups": ["existence", "attribute", "relation"],
    }.items():
        pairs = [(answers[item.id], item.truth["label"]) for item in items if item.group in members]
        naive = naive_amber(pairs, parser, 0.001 if group == "existence" else 0.0001)
        assert {name: value[0] for name, value in found[group].items()} == pytest.approx(naive, abs=1e-12), group


def test_amber_numbers_as_the_script_prints_them(tmp_path):
    items = AMBER.read(amber_files(tmp_path, 300), partial=True)
    answers = {item.id: "No" if int(item.id) % 3 else "Yes" for item in items}
    found = score(AMBER, items, answers, resamples=1)["all groups"]
    precision, recall = (round(100 * found[name][0], 1) / 100 for name in ("precision", "recall"))
    printed = round(200 * precision * recall / (precision + recall + 0.0001), 1)
    assert 100 * found["f1"][0] == pytest.approx(printed, abs=0.1)


def test_amber_without_an_answer_no_has_no_precision(tmp_path):
    items = AMBER.read(amber_files(tmp_path), partial=True)
    found = score(AMBER, items, {item.id: "Yes" for item in items}, resamples=1)["all groups"]
    assert found["precision"][0] != found["precision"][0]
    assert found["recall"][0] == 0


def test_amber_groups_have_one_type_or_more_and_descriptions_are_left_out(tmp_path):
    items = AMBER.read(amber_files(tmp_path, 6), partial=True)
    assert [item.group for item in items] == [
        "existence",
        "attribute",
        "attribute",
        "attribute",
        "relation",
        "relation",
    ]
    assert [item.id for item in items] == ["2", "3", "4", "5", "6", "7"]
    assert [item.truth["label"] for item in items] == [truth for _, truth in AMBER_KINDS]
    assert items[0].images == (tmp_path / "AMBER_2.jpg",)


def test_amber_lengths_are_checked(tmp_path):
    files = amber_files(tmp_path)
    with pytest.raises(DamagedFileError, match=r"query\.json has 13 records; the official file has 14216"):
        AMBER.read(files)
    whole = [{"id": number, "image": "AMBER_1.jpg", "query": "Is it?"} for number in range(1, 1665)]
    with pytest.raises(DamagedFileError, match=r"annotations\.json has 13 records; the official file has 15220"):
        AMBER.read({**files, "questions": write_array(tmp_path / "relation.json", whole)})


@pytest.mark.parametrize(
    ("name", "number", "change", "message"),
    [
        ("questions", 2, {"id": 99}, r"query\.json, record 3: the annotations have no id 99"),
        ("annotations", 2, {"type": "colour"}, r"annotations\.json, record 3: type is 'colour'; expected generative"),
        ("annotations", 2, {"truth": "Yes"}, r"annotations\.json, record 3: Unknown truth 'Yes'"),
        ("annotations", 2, {"id": 1}, r"annotations\.json, record 3: id '1' was there before"),
    ],
)
def test_amber_files_that_do_not_fit(name, number, change, message, tmp_path):
    files = amber_files(tmp_path)
    records = json.loads(files[name].read_text())
    records[number] |= change
    write_array(files[name], records)
    with pytest.raises(DamagedFileError, match=message):
        AMBER.read(files, partial=True)


def naive_audio(pairs, parser):
    """The rules of 2024 and 2025 over (answer, truth), of the class "no"."""
    right = right_no = answered_no = asked_no = answered_yes = neither = 0
    for answer, truth in pairs:
        reading = "neither"
        for part, class_ in [
            ("Yes", "yes"),
            ("yes", "yes"),
            ("No", "no"),
            ("there is no", "no"),
            ("does not contain", "no"),
            ("doesn't contain", "no"),
            ("contain", "yes"),
            ("not", "no"),
            ("unable", "no"),
            ("can't", "no"),
        ]:
            if part in answer:
                reading = class_
                break
        right += reading == truth
        right_no += reading == truth == "no"
        answered_yes += reading == "yes"
        neither += reading == "neither"
        if parser == "official":
            answered_no += reading != "yes"
            asked_no += truth == "no"
        elif reading != "neither":
            answered_no += reading == "no"
            asked_no += truth == "no"
    precision, recall = right_no / answered_no, right_no / asked_no
    return {
        "accuracy": right / len(pairs),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes": answered_yes / len(pairs),
        "unparsed": neither / len(pairs),
    }


@pytest.mark.parametrize("parser", AUDIO.parsers)
def test_audio_measures_are_those_of_the_scripts(parser, tmp_path):
    items = AUDIO.read(audio_files(tmp_path, 334))
    answers = generated_answers(items, seed=5)
    found = score(AUDIO, items, answers, parser, resamples=1)
    means = dict.fromkeys(AUDIO.measures, 0.0)
    for split in ("random", "popular", "adversarial"):
        pairs = [(answers[item.id], item.truth["label"]) for item in items if item.group == split]
        naive = naive_audio(pairs, parser)
        assert {name: value[0] for name, value in found[split].items()} == pytest.approx(naive, abs=1e-12), split
        means = {name: means[name] + naive[name] / 3 for name in means}
    assert {name: value[0] for name, value in found["all groups"].items()} == pytest.approx(means, abs=1e-12)


def test_audio_that_is_always_answered_yes_has_no_f1_of_no(tmp_path):
    items = AUDIO.read(audio_files(tmp_path))
    found = score(AUDIO, items, {item.id: "Yes" for item in items}, resamples=1)["random"]
    assert found["yes"][0] == 1
    assert found["recall"][0] == 0
    assert found["accuracy"][0] == pytest.approx(4 / 12)


def test_audio_files_name_clips_and_splits(tmp_path):
    files = audio_files(tmp_path)
    item = AUDIO.read(files, tmp_path / "clips")[3]
    assert item.sounds == (tmp_path / "clips" / "Y1.wav",)
    assert (item.id, item.unit, item.group, item.truth) == ("random-3", "Y1", "random", {"label": "yes"})
    assert AUDIO.prompt(item, "aad").endswith("question. Is there a sound of thing 3?")
    swapped = {"random": files["popular"], "popular": files["random"], "adversarial": files["adversarial"]}
    with pytest.raises(DamagedFileError, match=r"line 1: sampling is 'popular', and the file was given as the random"):
        AUDIO.read(swapped)


def test_dash_measures_are_those_of_the_script(tmp_path):
    items = DASH.read(dash_files(tmp_path, 500), partial=True)
    answers = generated_answers(items, seed=7)
    counts = {"no": [0, 0], "yes": [0, 0]}
    yes = neither = 0
    for item in items:
        text = answers[item.id].lower()
        reading = "yes" if "yes" in text else "no" if "no" in text else None
        label = "no" if "/neg/" in str(item.images[0]) else "yes"
        counts[label][0] += reading == label
        counts[label][1] += 1
        yes += reading == "yes"
        neither += reading is None
    negative, positive = (right / asked for right, asked in (counts["no"], counts["yes"]))
    naive = {
        "accuracy": (counts["no"][0] + counts["yes"][0]) / len(items),
        "true_negative_rate": negative,
        "true_positive_rate": positive,
        "harmonic_mean": 2 * negative * positive / (negative + positive),
        "yes": yes / len(items),
        "unparsed": neither / len(items),
    }
    found = score(DASH, items, answers, resamples=1)["all"]
    assert len(items) == 1001
    assert {name: value[0] for name, value in found.items()} == pytest.approx(naive, abs=1e-12)


def test_dash_items_lie_in_folders_by_dataset_and_object(tmp_path):
    items = DASH.read(dash_files(tmp_path), tmp_path / "images", partial=True)
    last = items[-1]
    assert last.images == (tmp_path / "images" / "pos" / "openimages_common" / "tea pot" / "3.jpg",)
    assert last.question == "Can you see a tea pot in this image? Please answer only with yes or no."
    assert DASH.prompt(last) == last.question
    assert "positive.json, openimages_common, tea pot, 3.jpg" in last.place
    assert len({item.id for item in items}) == len(items) == 9


def test_dash_files_are_checked(tmp_path):
    files = dash_files(tmp_path)
    with pytest.raises(DamagedFileError, match=r"negative\.json has 4 records; the official file has 1341"):
        DASH.read(files)
    write_array(files["positive"], {"coco": {"bed": ["1.jpg", "2.jpg", "1.jpg"]}})
    with pytest.raises(DamagedFileError, match=r"positive\.json: image '1\.jpg' of coco, bed is there twice"):
        DASH.read(files, partial=True)
    write_array(files["positive"], {"coco": ["1.jpg"]})
    with pytest.raises(DamagedFileError, match=r"positive\.json is not a list of DASH-B: it\['coco'\]"):
        DASH.read(files, partial=True)
    write_lines(files["positive"], [{"coco": {}}, {"coco": {}}])
    with pytest.raises(DamagedFileError, match=r"positive\.json is no JSON"):
        DASH.read(files, partial=True)
