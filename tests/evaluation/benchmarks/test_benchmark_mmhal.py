"""MMHal-Bench: ratings in a judge's replies against the rules of the official script, and its files."""

import json
import random

import pytest
from support.benchmark_files import mmhal_files, write_array

from lime_xai.evaluation.benchmarks import differences, mcnemar, protocol_of, score
from lime_xai.evaluation.benchmarks.protocols.mmhal import TYPES, rating, replies, responses
from lime_xai.evaluation.benchmarks.written import answered, read_written
from lime_xai.storage.store import DamagedFileError

MMHAL = protocol_of("mmhal")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Rating: 6", 6),
        ("... hence RATING: 0, very informative", 0),
        ("rating: 3 is what I give. To repeat, rating: 3.", 3),
        ("Rating: 2, or rating: 4 if generous", None),
        ("Rating:5", None),
        ("Rating : 5", None),
        ("**Rating**: 5", None),
        ("Rating: **5**", None),
        ("I rate it 5", None),
        ("Rating: 7", None),
        ("Rating: 10", 1),
        ("Rating: 4.5", 4),
        ("rating: -1", None),
        ("overrating: 2", 2),
        ("", None),
    ],
)
def test_a_rating_is_found_as_in_the_official_script(reply, expected):
    assert rating(reply) == expected


def naive_mmhal(texts):
    """The rules of eval_gpt4.py over replies, as a plain loop."""
    total = hallucinated = one = empty = 0
    for text in texts:
        values = set()
        for place in range(len(text)):
            for value in "0123456":
                if text[place:].lower().startswith("rating: " + value):
                    values.add(int(value))
        if len(values) == 1:
            one += 1
            total += next(iter(values))
        hallucinated += len(values) != 1 or next(iter(values)) in (0, 1, 2)
        empty += not [character for character in text if character.isalnum()]
    count = len(texts)
    return {"score": total / count, "hallucination": hallucinated / count, "rated": one / count, "empty": empty / count}


def drawn_replies(items, seed):
    rng = random.Random(seed)
    pieces = ["Rating: ", "rating: ", "Rating:", "rated ", ""]
    texts = {}
    for item in items:
        parts = [f"{rng.choice(pieces)}{rng.randint(0, 8)}" for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        texts[item.id] = " so ".join(parts)
    return texts


@pytest.mark.parametrize("seed", range(11))
def test_ratings_are_averaged_as_the_script_does_over_1056_replies(seed, tmp_path):
    items = MMHAL.read(mmhal_files(tmp_path, 96))
    texts = drawn_replies(items, seed)
    found = score(MMHAL, items, texts, "official", resamples=1)
    assert list(found) == [*TYPES, "all groups"]
    for place, group in enumerate(TYPES):
        naive = naive_mmhal([texts[item.id] for number, item in enumerate(items) if number % 8 == place])
        assert {name: value[0] for name, value in found[group].items()} == pytest.approx(naive), group
    assert {name: value[0] for name, value in found["all groups"].items()} == pytest.approx(
        naive_mmhal(list(texts.values()))
    )


def test_answers_that_nobody_judged_have_no_score(tmp_path):
    items = MMHAL.read(mmhal_files(tmp_path, 96))
    found = score(MMHAL, items, {item.id: "Rating: 6" if item.id != "1" else " ." for item in items}, resamples=2)
    overall = {name: value[0] for name, value in found["all groups"].items()}
    assert all(overall[name] != overall[name] for name in ("score", "hallucination", "rated"))
    assert overall["empty"] == pytest.approx(1 / 96)


def test_replies_of_the_official_script_are_measured_for_two_systems(tmp_path):
    files = mmhal_files(tmp_path, 96)
    items = MMHAL.read(files)
    systems = {}
    for name, value in (("vanilla", 2), ("edit", 5)):
        written = [
            {"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "content": f"Rating: {value}"}}]}
        ] * 96
        found = replies(write_array(tmp_path / f"{name}.json", written))
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in found))
        systems |= read_written(path).systems
    chosen, left = answered(items, systems, partial=False)
    assert (len(chosen), left) == (96, {"vanilla": 0, "edit": 0})
    texts = {name: {key: one.text for key, one in answers.items()} for name, answers in systems.items()}
    changed = differences(MMHAL, items, texts["vanilla"], texts["edit"], "official")["all groups"]
    assert changed["score"] == pytest.approx((3, 3, 3))
    assert changed["hallucination"] == pytest.approx((-1, -1, -1))
    assert mcnemar(MMHAL, items, texts["vanilla"], texts["edit"], "official") is None


def test_the_file_for_the_judge_is_the_template_with_the_answers(tmp_path):
    path = mmhal_files(tmp_path, 96)["questions"]
    before = json.loads(path.read_text())
    found = responses(path, {str(number): f"It is {number}." for number in range(1, 97)})
    assert [one.pop("model_answer") for one in found] == [f"It is {number}." for number in range(1, 97)]
    assert found == [{key: value for key, value in one.items() if key != "model_answer"} for one in before]
    with pytest.raises(ValueError, match=r"do not fit its questions: 2 names differ, '0' for example; .*'1' to '96'"):
        responses(path, {str(number): "" for number in range(96)})


def test_images_are_beside_the_file_or_in_the_folder_that_is_given(tmp_path):
    files = mmhal_files(tmp_path, 96)
    assert MMHAL.read(files)[2].images == (tmp_path / "images" / "3 a.jpg",)
    assert MMHAL.read(files, tmp_path)[2].images == (tmp_path / "3 a.jpg",)
    with pytest.raises(DamagedFileError, match=r"has 95 records; the official file has 96; if a part"):
        MMHAL.read(mmhal_files(tmp_path, 95))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_src": "https://farm1.example.org/"}, "record 3: 'image_src' is .*; expected the address of an image"),
        ({"image_src": 3}, "record 3: image_src"),
    ],
)
def test_mmhal_records_that_do_not_fit(change, message, tmp_path):
    path = mmhal_files(tmp_path, 96)["questions"]
    records = json.loads(path.read_text())
    records[2] |= change
    write_array(path, records)
    with pytest.raises(DamagedFileError, match=rf"{path.name}, {message}"):
        MMHAL.read({"questions": path})


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], r"record 2: 'choices' has 0 entries; expected one completion"),
        ([{"text": "Rating: 3"}], r"record 2, choices\[0\]: there is no 'message'"),
        ([{"message": {"content": None}}], r"record 2, choices\[0\]\.message: .*content"),
    ],
)
def test_an_evaluation_that_is_none_is_named(choices, message, tmp_path):
    written = [{"choices": [{"message": {"content": "Rating: 3"}}]} for _ in range(96)]
    written[1]["choices"] = choices
    with pytest.raises(DamagedFileError, match=message):
        replies(write_array(tmp_path / "evaluation.json", written))
