"""Files of examples with known places: what is read, and errors that name file and line."""

import json

import numpy as np
import pytest
from PIL import Image

from lime_xai.attribution.events import Event
from lime_xai.evaluation.benchmarks.grounding import read_grounding
from lime_xai.evaluation.benchmarks.grounding.examples import GroundingExample, check_examples, examples_hash
from lime_xai.evaluation.benchmarks.grounding.regions import (
    BoxRegion,
    MaskRegion,
    TimeRegion,
    read_mask,
    upright_size,
)
from lime_xai.storage.store import DamagedFileError

BOX = {"image": "a.png", "question": "where?", "box": [0, 1, 4, 5]}
MASK = {"image": "a.png", "question": "where?", "mask": "m.png", "answer": "there", "id": "m"}
TIMES = {"audio": "a.wav", "question": "when?", "events": [[0.5, 1, "dog"], [2, 3.5, "dog"]]}


def own(folder, *records):
    path = folder / "own.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records))
    return read_grounding("own", path)


def test_own_examples_are_read(tmp_path):
    box, mask, times = own(tmp_path, BOX, MASK, TIMES)
    assert (box.id, mask.id, times.id) == ("1", "m", "3")
    assert box.region == BoxRegion((0, 1, 4, 5))
    assert mask.region == MaskRegion(tmp_path / "m.png")
    assert times.region == TimeRegion((Event(0.5, 1, "dog"), Event(2, 3.5, "dog")))
    assert (box.answer, mask.answer) == (None, "there")
    assert [one.modality for one in (box, mask, times)] == ["image", "image", "audio"]
    assert box.medium == tmp_path / "a.png"
    assert box.cluster == mask.cluster != times.cluster
    assert own(tmp_path, json.dumps([BOX]))[0].region == box.region


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "?", "box": [0, 0, 1, 1]}, "found 'box'; expected 'image' with one of"),
        (BOX | {"mask": "m.png"}, "found 'image', 'mask', 'box'; expected"),
        (BOX | {"audio": "a.wav"}, "found 'image', 'audio', 'box'; expected"),
        ({"image": "a.png", "question": "?"}, "found 'image'; expected"),
        ({"question": "?"}, "found none of these"),
        ({"audio": "a.wav", "question": "?", "box": [0, 0, 1, 1]}, "found 'audio', 'box'"),
        (BOX | {"box": [0, 1, 4]}, r"box has \[0, 1, 4\]; expected 4 numbers"),
        (BOX | {"box": [0, 1, 4, True]}, "expected 4 numbers"),
        (BOX | {"box": [0, 1, 4, float("nan")]}, "expected 4 numbers"),
        (BOX | {"box": "0 1 4 5"}, "box"),
        (BOX | {"question": " "}, "question is ' '; expected text"),
        (BOX | {"answer": ""}, "answer is ''; expected text"),
        ({"image": "a.png", "box": [0, 1, 4, 5]}, "there is no 'question'"),
        (MASK | {"mask": 3}, "mask"),
        (TIMES | {"events": []}, "events is empty"),
        (TIMES | {"events": [[1, 2]]}, r"events has \[1, 2\]; expected \[onset, offset, label\]"),
        (TIMES | {"events": [[1, 1, "dog"]]}, "lasts from 1 to 1; expected 0 <= onset < offset"),
        (TIMES | {"events": [[-1, 1, "dog"]]}, "lasts from -1 to 1"),
        (TIMES | {"events": [["1", 2, "dog"]]}, "expected 2 numbers"),
        (TIMES | {"events": [[1, 2, ""]]}, "and a label"),
        ("{", "no JSON"),
        ("[1]", "expected a JSON object"),
    ],
)
def test_a_wrong_record_names_file_and_line(tmp_path, record, message):
    records = [record] if record == "[1]" else [BOX, record]
    with pytest.raises(DamagedFileError, match=message) as error:
        own(tmp_path, *records)
    assert f"{tmp_path / 'own.jsonl'}, " + ("record 1" if record == "[1]" else "line 2") in str(error.value)


def test_an_id_occurs_once(tmp_path):
    with pytest.raises(DamagedFileError, match="line 2: id 'm' was there before"):
        own(tmp_path, MASK, MASK)


HEADER = "filename\tonset\toffset\tevent_label\n"


def events(folder, text, **options):
    path = folder / "validation.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_grounding("events", path, **options)


def test_an_event_list_has_an_example_for_each_kind_of_event_of_a_sound(tmp_path):
    text = (
        HEADER + "a.wav\t0.467\t0.717\tAlarm_bell_ringing\na.wav\t1.919\t10.000\tRunning_water\n"
        "a.wav\t5.418\t5.863\tAlarm_bell_ringing\nb.wav\t\t\t\n\nc.wav\t0\t1\tCat\n"
    )
    found = events(tmp_path, text)
    assert [one.question for one in found] == [
        "Is there a sound of Alarm bell ringing?",
        "Is there a sound of Running water?",
        "Is there a sound of Cat?",
    ]
    assert found[0].region.events == (
        Event(0.467, 0.717, "Alarm_bell_ringing"),
        Event(5.418, 5.863, "Alarm_bell_ringing"),
    )
    assert [one.medium for one in found] == [tmp_path / "a.wav", tmp_path / "a.wav", tmp_path / "c.wav"]
    assert found[0].cluster == found[1].cluster != found[2].cluster
    assert found[2].place == f"{tmp_path / 'validation.csv'}, line 7"
    windows = events(tmp_path, "\ufeff" + text.replace("\n", "\r\n"), media=tmp_path / "audio", question="{event}")
    assert windows[0].question == "Alarm bell ringing"
    assert windows[0].medium == tmp_path / "audio" / "a.wav"
    assert windows[0].region == found[0].region


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.wav\t0\t1\tCat\n", "line 1: found the columns 'a.wav', '0', '1', 'Cat'; expected filename, onset"),
        ("filename\tevent_labels\na.wav\tCat,Dog\n", r"line 1: .*\(weak labels\)"),
        (HEADER.replace("\t", ",") + "a.wav,0,1,Cat\n", "line 1: .*separated by tabs"),
        (HEADER + "a.wav\t0\t1\n", "line 2: found 3 fields; expected 4"),
        (HEADER + "a.wav\t0\t1\tCat\n\t0\t1\tCat\n", "line 3: found 4 fields; expected 4"),
        (HEADER + "a.wav\tzero\t1\tCat\n", "line 2: onset is 'zero'; expected seconds"),
        (HEADER + "a.wav\t0\tnan\tCat\n", "line 2: offset is 'nan'; expected seconds"),
        (HEADER + "a.wav\t\t1\tCat\n", "line 2: onset is ''; expected seconds"),
        (HEADER + "a.wav\t2\t1\tCat\n", "line 2: an event 'Cat' lasts from 2 to 1"),
        (HEADER + "a.wav\t0\t1\t\n", "line 2: an event ''"),
        (HEADER + "a.wav\t0\t1\tCat\n" * 2, "line 3: the same event of a.wav was there before"),
        (HEADER + "a.wav\t\t\t\n", "has no events"),
        (b"\xff\xfe", "is no text in UTF-8"),
    ],
)
def test_a_wrong_event_list_names_file_and_line(tmp_path, text, message):
    with pytest.raises(DamagedFileError, match=message) as error:
        events(tmp_path, text)
    assert str(tmp_path / "validation.csv") in str(error.value)


def test_a_question_about_events_names_the_event(tmp_path):
    with pytest.raises(ValueError, match=r"write \{event\} where the name of the event goes"):
        events(tmp_path, HEADER + "a.wav\t0\t1\tCat\n", question="Is there a cat?")


def clevr(folder, questions, masks=(0,)):
    path = folder / "CLEVR-XAI_simple_questions.json"
    path.write_text(json.dumps({"info": {}, "questions": questions}))
    (folder / "masks").mkdir(exist_ok=True)
    for index in masks:
        np.save(folder / "masks" / f"{index}.npy", np.eye(128, dtype=bool))
    return read_grounding("clevr-xai", path, masks=folder / "masks")


def question(index, answer="metal", **other):
    return {
        "question_index": index, "question": "What is it made of?", "answer": answer, "image": "CLEVR_unique_000007",
        "program": [], **other,
    }  # fmt: skip


def test_clevr_xai_is_read_as_the_official_code_writes_it(tmp_path):
    found = clevr(tmp_path, [question(0), question(1), question(2, 3), question(3, True)], masks=(0, 2, 3))
    assert [(one.id, one.answer) for one in found] == [("0", "metal"), ("2", "3"), ("3", "yes")]
    assert found[0].medium == tmp_path / "images" / "CLEVR_unique_000007.png"
    assert found[0].region == MaskRegion(tmp_path / "masks" / "0.npy", stretched=True)
    assert found[0].region.coverage((480, 320)).shape == (320, 480)
    assert len({one.cluster for one in found}) == 1


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "expected one JSON object with a list 'questions'"),
        ({"a": 1}, "expected one JSON object with a list 'questions'"),
        ([question(0), 3], "question 2: found int"),
        ([question(0), question(0)], "question 2: question_index '0' was there before"),
        ([question("0")], "question 1: question_index"),
        ([{"question_index": 0}], "question 1: there is no 'question'"),
        ([question(0, [1])], "question 1: answer"),
        ([question(5)], "has no mask of the 1 questions"),
    ],
)
def test_wrong_questions_of_clevr_xai_name_file_and_question(tmp_path, questions, message):
    with pytest.raises(DamagedFileError, match=message):
        clevr(tmp_path, questions)


def test_the_reader_says_which_folders_it_takes(tmp_path):
    (tmp_path / "q.json").write_text("{}")
    with pytest.raises(ValueError, match="clevr-xai needs the folder of its masks"):
        read_grounding("clevr-xai", tmp_path / "q.json")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        read_grounding("clevr-xai", tmp_path / "q.json", masks=tmp_path / "none")
    with pytest.raises(ValueError, match="own has no folder of masks"):
        read_grounding("own", tmp_path / "q.json", masks=tmp_path)
    with pytest.raises(ValueError, match="kind of file 'evnts'"):
        read_grounding("evnts", tmp_path / "q.json")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_grounding("own", tmp_path / "none.jsonl")


def picture(mode, values):
    return Image.fromarray(np.asarray(values, np.uint8), mode="L").convert(mode)


INSIDE = [[0, 255, 0], [0, 255, 255]]


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "I;16"])
def test_masks_of_every_mode_are_read(tmp_path, mode):
    deep = Image.fromarray(np.asarray(INSIDE, np.uint16) * 257)
    (deep if mode == "I;16" else picture(mode, INSIDE)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == (np.asarray(INSIDE) > 0).tolist()


def test_a_mask_may_be_of_ones_or_of_one_colour(tmp_path):
    Image.fromarray((np.asarray(INSIDE) > 0).astype(np.uint8)).save(tmp_path / "ones.png")
    red = np.zeros((2, 3, 3), np.uint8)
    red[np.asarray(INSIDE) > 0] = 200, 0, 0
    Image.fromarray(red).save(tmp_path / "red.png")
    for name in ("ones.png", "red.png"):
        assert read_mask(tmp_path / name).tolist() == (np.asarray(INSIDE) > 0).tolist()


def test_an_ambiguous_mask_is_refused(tmp_path):
    picture("L", [[0, 128, 255]]).save(tmp_path / "grey.png")
    with pytest.raises(DamagedFileError, match="has 2 colours beside black; expected one"):
        read_mask(tmp_path / "grey.png")
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "clear.png")
    with pytest.raises(DamagedFileError, match="has transparent pixels"):
        read_mask(tmp_path / "clear.png")
    picture("L", [[0, 0]]).save(tmp_path / "empty.png")
    with pytest.raises(DamagedFileError, match="has no pixel in the region"):
        read_mask(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DamagedFileError, match="cannot be read as an image"):
        read_mask(tmp_path / "text.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3)), r"holds no mask \[H, W\]"),
        (np.array([[0, 1], [2, 0]]), "has 3 different values"),
        (np.array([[0.0, np.nan], [1.0, 0]]), "has 3 different values"),
        (np.array({"0": 1}, dtype=object), "is no array of NumPy"),
        (np.zeros((2, 2)), "has no pixel in the region"),
    ],
)
def test_an_array_that_is_no_mask_is_refused(tmp_path, array, message):
    np.save(tmp_path / "m.npy", array, allow_pickle=True)
    with pytest.raises(DamagedFileError, match=message):
        read_mask(tmp_path / "m.npy")


def example(folder, region, **other):
    Image.new("RGB", (6, 4)).save(folder / "a.png")
    values = {"id": "1", "question": "?", "medium": folder / "a.png", "region": region, "place": "f, line 3"}
    return GroundingExample(**(values | other))


@pytest.mark.parametrize("box", [(0, 0, 7, 4), (2, 0, 2, 4), (-1, 0, 3, 4), (3, 0, 1, 4)])
def test_a_box_that_does_not_fit_its_picture_is_refused_before_the_model(tmp_path, box):
    with pytest.raises(ValueError, match=r"f, line 3: box is .* inside a picture of 6 x 4"):
        check_examples([example(tmp_path, BoxRegion(box))])


def test_a_mask_of_another_size_than_its_picture_is_refused_before_the_model(tmp_path):
    picture("L", INSIDE).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"f, line 3: The mask .* has 3 x 2 pixels, the picture .* 6 x 4"):
        check_examples([example(tmp_path, MaskRegion(tmp_path / "m.png"))])
    with pytest.raises(FileNotFoundError, match="f, line 3: There is no file"):
        check_examples([example(tmp_path, MaskRegion(tmp_path / "none.png"))])
    with pytest.raises(FileNotFoundError, match="f, line 3: there is no file"):
        check_examples([example(tmp_path, BoxRegion((0, 0, 1, 1)), medium=tmp_path / "none.png")])


def test_examples_have_names_of_their_own(tmp_path):
    one = example(tmp_path, BoxRegion((0, 0, 1, 1)))
    with pytest.raises(ValueError, match="two examples are named '1'"):
        check_examples([one, one])
    with pytest.raises(ValueError, match="there are no examples"):
        check_examples([])


def test_a_picture_is_upright_as_its_orientation_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert upright_size(tmp_path / "turned.jpg") == (4, 6)


def test_a_box_covers_parts_of_pixels():
    found = BoxRegion((0.5, 1, 2, 1.25)).coverage((3, 2))
    assert np.allclose(found, [[0, 0, 0], [0.125, 0.25, 0]])


def test_the_hash_of_examples_holds_the_content_of_files(tmp_path):
    one = example(tmp_path, BoxRegion((0, 0, 1, 1)))
    before = examples_hash([one])
    assert examples_hash([example(tmp_path, BoxRegion((0, 0, 1, 1)))]) == before
    assert examples_hash([example(tmp_path, BoxRegion((0, 0, 1, 2)))]) != before
    Image.new("RGB", (6, 4), "red").save(tmp_path / "a.png")
    assert examples_hash([one]) != before
