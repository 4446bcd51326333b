"""AIR-Bench foundation and questions of a user's own: parsers against hand-made cases and naive scripts, and files."""

import json

import pytest
from support.benchmark_files import (
    air_files,
    air_records,
    generated_answers,
    own_files,
    own_records,
    write_array,
    write_lines,
)

from lime_xai.evaluation.benchmarks import protocol_of, score
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.storage.store import DamagedFileError

AIR = protocol_of("air-bench-foundation")
OWN = protocol_of("own")


def chosen(parser, answer, letters="ABCD"):
    """Return the letter that a parser finds, None for none: the one that makes the answer right."""
    options = {letter: f"option {letter}" if letter in letters else None for letter in "ABCD"}
    right, unparsed = [], set()
    for letter in "ABCD":
        found = AIR.count(Item(id="1", question="", truth={"options": options, "letter": letter}), answer, parser)
        right += [letter] if found["right"] else []
        unparsed.add(found["unparsed"])
    assert len(right) <= 1
    assert unparsed == {float(not right)}
    return right[0] if right else None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("The answer is B", "B"),
        ("A or B", "B"),
        ("B, then A", "A"),
        ("B or A", "A"),
        ("(B) or (A)", "A"),
        ("(A) or (B)", "A"),
        ("(B), and not A but C", "B"),
        ("(A) or (B), that is B it is", "B"),
        ("B. the dog", "B"),
        ("B. or A. or so", "A"),
        ("A dog", "A"),
        ("b", None),
        ("", None),
        ("the second one", None),
        ("'B'", "B"),
        ("ABCD.", None),
        ("NASA. is it", "A"),
    ],
)
def test_lmms_eval_looks_for_three_forms_in_turn(answer, letter):
    assert chosen("lmms-eval", answer) == letter


def test_lmms_eval_looks_for_no_option_that_is_not_there():
    assert chosen("lmms-eval", "D", "AB") is None
    assert chosen("lmms-eval", "A or D", "AB") == "A"
    assert chosen("official", "D", "AB") == "D"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("Clearly B", "C"),
        ("A dog barks, so B", "A"),
        ("The answer is B.", "B"),
        ("The answer is B", None),
        ("(B)", "B"),
        ("the answer:\nB\n.", "B"),
        ("None", None),
        ("", None),
        ("x", None),
        ("Don't know", "D"),
        ("I say DC!", "C"),
    ],
)
def test_official_takes_the_first_character_or_the_last_but_one(answer, letter):
    assert chosen("official", answer) == letter


def test_official_leaves_what_is_unparsed_out_and_lmms_eval_counts_it_as_wrong():
    item = Item(id="1", question="", truth={"options": dict.fromkeys("ABCD", "x"), "letter": "A"})
    assert AIR.count(item, "none of them", "official") == {"right": 0, "counted": 0, "unparsed": 1}
    assert AIR.count(item, "none of them", "lmms-eval") == {"right": 0, "counted": 1, "unparsed": 1}


def naive_letter(answer, letters, parser):
    """The rules of lmms-eval and of score_foundation.py; None where the former chooses at random."""
    if parser == "official":
        text = answer.strip().replace("\n", "")
        if text in ("", "None"):
            return None
        if text[0] in ("A", "B", "C", "D"):
            return text[0]
        return text[-2] if len(text) > 1 and text[-2] in ("A", "B", "C", "D") else None
    text = answer.strip().strip(",").strip(".").strip("!").strip("?").strip(";").strip(":").strip("'")
    text = " " + text + " "
    candidates = [letter for letter in letters if "(" + letter + ")" in text]
    if not candidates:
        candidates = [letter for letter in letters if " " + letter + " " in text]
    if not candidates:
        candidates = [letter for letter in letters if letter + "." in text]
    best, where = None, -2
    for letter in candidates:
        place = text.rfind(" " + letter + " ")
        if place > where:
            best, where = letter, place
    return best


@pytest.mark.parametrize("parser", AIR.parsers)
def test_measures_of_choices_are_those_of_the_scripts(parser, tmp_path):
    files = air_files(tmp_path, 1002)
    items = AIR.read(files)
    answers = generated_answers(items, seed=11)
    found = score(AIR, items, answers, parser, resamples=1)
    records = json.loads(files["questions"].read_text())
    rows = {"speech": [], "sound": [], "music": [], "all groups": []}
    for record, item in zip(records, items, strict=True):
        options = {letter: record.get(f"choice_{letter.lower()}") for letter in "ABCD"}
        letters = [letter for letter in "ABCD" if options[letter]]
        reading = naive_letter(answers[item.id], letters, parser)
        row = (reading, next(letter for letter in "ABCD" if options[letter] == record["answer_gt"]))
        rows["all groups"].append(row)
        rows[{"Speech": "speech", "Audio": "sound", "Music": "music"}[record["task_name"].split("_")[0]]].append(row)
    for group, pairs in rows.items():
        right = neither = 0
        for reading, truth in pairs:
            right += reading == truth
            neither += reading is None
        counted = len(pairs) - (neither if parser == "official" else 0)
        assert len(pairs) >= 334
        assert found[group]["accuracy"][0] == pytest.approx(right / counted, abs=1e-12)
        assert found[group]["unparsed"][0] == pytest.approx(neither / len(pairs), abs=1e-12)


def test_prompts_list_the_options_as_the_harnesses_do_or_only_those_there_are(tmp_path):
    item = AIR.read(air_files(tmp_path))[1]
    asked = "\nAnswer with the option's letter from the given choices directly."
    assert AIR.prompt(item) == f"How many in 1?\nA. one\nB. two\nC. three\nD. None\n{asked}"
    assert AIR.prompt(item, "present") == f"How many in 1?\nA. one\nB. two\nC. three\n{asked}"
    official = AIR.prompt(item, "official")
    assert official.startswith("Choose the most suitable answer from options A, B, C, and D to respond")
    assert official.endswith("A or B or C or D.\nHow many in 1?\nA. one\nB. two\nC. three\nD. None")
    with pytest.raises(ValueError, match="prompt of air-bench-foundation"):
        AIR.prompt(item, "presents")


def test_a_question_with_braces_is_asked_as_it_is():
    item = Item(id="1", question="Is {A} in {options}?", truth={"options": {"A": "{B}", "B": "b"}, "letter": "A"})
    assert AIR.prompt(item, "present").startswith("Is {A} in {options}?\nA. {B}\nB. b\n")


def test_sounds_lie_in_folders_by_task_and_dataset(tmp_path):
    items = AIR.read(air_files(tmp_path), tmp_path / "sounds")
    assert items[0].sounds == (tmp_path / "sounds" / "Speech_Grounding_librispeech" / "0.wav",)
    assert items[1].sounds == (tmp_path / "sounds" / "Audio_Grounding_AudioGrounding" / "0.flac",)
    assert [item.group for item in items[:3]] == ["speech", "sound", "music"]
    assert items[1].truth["letter"] == "B"
    assert items[1].id == "Audio_Grounding-AudioGrounding-1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_name": "Humming"}, "record 3: task_name is 'Humming'; expected Speech_Grounding"),
        ({"task_name": None}, "record 3: task_name is None"),
        ({"answer_gt": "five"}, "record 3: answer_gt is 'five'; expected one of the options"),
        ({"choice_b": None}, "record 3: options B are missing"),
        ({"choice_c": 3}, "record 3: choice_c is 3"),
    ],
)
def test_a_question_without_a_right_option_is_refused(change, message, tmp_path):
    records = air_records(4)
    records[2] |= change
    with pytest.raises(DamagedFileError, match=message):
        AIR.read({"questions": write_array(tmp_path / "meta.json", records)})


@pytest.mark.parametrize(
    ("truth", "answer", "exact", "first"),
    [
        ("no", "No", True, True),
        ("no", " no\n", True, True),
        ("No", "no", True, True),
        ("no", "No.", False, True),
        ("no", "No, there is none", False, True),
        ("no", "not", False, False),
        ("no", "There is no dog", False, False),
        ("no", "", False, False),
        ("yes", "Yes!", False, True),
        ("yes", "eyes", False, False),
        ("a red dog", "A red dog", True, True),
        ("a red dog", "A red, dog. It barks", False, True),
        ("a red dog", "a red", False, False),
        ("a dog", "a dogfish", False, False),
        ("don't", "Don't go", False, True),
        ("Straße", "straße!", False, True),
        ("3", "3 dogs", False, True),
        ("no", "'No', I say", False, True),
    ],
)
def test_own_answers(truth, answer, exact, first):
    item = Item(id="1", question="What?", truth={"answer": truth})
    assert OWN.count(item, answer, "exact")["right"] == exact
    assert OWN.count(item, answer, "first-word")["right"] == first


def naive_words(text):
    words, word = [], ""
    for character in text.lower() + " ":
        if character.isalnum() or character == "_" or (character == "'" and word):
            word += character
        elif word:
            words.append(word.rstrip("'"))
            word = ""
    return words


@pytest.mark.parametrize("parser", OWN.parsers)
def test_own_measures_are_those_of_loops(parser, tmp_path):
    items = OWN.read(own_files(tmp_path, 1002))
    answers = generated_answers(items, seed=13)
    right = yes = neither = hits = claimed = asked = questions = 0
    for item, record in zip(items, own_records(1002), strict=True):
        truth, answer = record["answer"].lower(), answers[item.id].strip().lower()
        if parser == "first-word":
            count = len(truth.split())
            answer = " ".join(naive_words(answer)[:count])
        right += answer == truth
        if truth in ("yes", "no"):
            questions += 1
            yes += answer == "yes"
            neither += answer not in ("yes", "no")
            hits += answer == truth == "yes"
            claimed += answer == "yes"
            asked += truth == "yes"
    precision, recall = hits / claimed, hits / asked
    naive = {
        "accuracy": right / 1002,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes": yes / questions,
        "unparsed": neither / questions,
    }
    found = score(OWN, items, answers, parser, resamples=1)["all"]
    assert {name: value[0] for name, value in found.items()} == pytest.approx(naive, abs=1e-12)


def test_the_lines_of_the_docstring_are_read(tmp_path):
    lines = [line.strip() for line in type(OWN).__doc__.splitlines() if line.strip().startswith("{")]
    assert len(lines) == 2
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(lines))
    first, second = OWN.read({"questions": path})
    assert (first.id, first.group, first.images, first.sounds) == ("1", "all", (tmp_path / "dog.jpg",), ())
    assert (second.id, second.group, second.images, second.sounds) == ("bark", "sounds", (), (tmp_path / "dog.wav",))


def test_own_questions_about_several_files(tmp_path):
    record = {"image": ["a.png", "b.png"], "audio": "c.wav", "question": "Which?", "answer": "both", "id": 7}
    item = OWN.read({"questions": write_lines(tmp_path / "own.jsonl", [record])}, tmp_path / "files")[0]
    assert item.images == (tmp_path / "files" / "a.png", tmp_path / "files" / "b.png")
    assert item.sounds == (tmp_path / "files" / "c.wav",)
    assert (item.id, item.unit) == ("7", "a.png b.png c.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "line 2: there is neither 'image' nor 'audio'"),
        ({"image": 3}, "line 2: image is 3"),
        ({"image": ["a.png", 3]}, "line 2: image"),
        ({"answer": "?"}, r"line 2: answer is '\?'; expected text with a letter"),
        ({"question": " "}, "line 2: question is ' '; expected text with a letter"),
        ({"answer": True}, "line 2: answer is True"),
        ({"id": "1"}, "line 2: id '1' was there before"),
        ({"id": 1.5}, "line 2: id is 1.5"),
        ({"group": 2}, "line 2: group is 2"),
    ],
)
def test_a_wrong_value_of_ones_own_is_an_error_about_its_line(change, message, tmp_path):
    records = own_records(3)
    records[1] |= change
    with pytest.raises(DamagedFileError, match=message):
        OWN.read({"questions": write_lines(tmp_path / "own.jsonl", records)})
