"""Results of answers: measures, changes, what texts are like, tables and figures; answers of any system."""

import json
from dataclasses import replace
from io import StringIO
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console

from lime_xai.evaluation.benchmarks.answers import Answer, answer_file
from lime_xai.evaluation.benchmarks.asking import file_hash
from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, WorldQuestions, write_world
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.results import results
from lime_xai.evaluation.benchmarks.scoring import ALL, McNemar
from lime_xai.evaluation.benchmarks.texts import described, repeats
from lime_xai.evaluation.benchmarks.written import answered, check_benchmark, read_written, together
from lime_xai.storage.store import DamagedFileError
from lime_xai.worlds import load_world


class Toy(Protocol):
    """Whether an answer is the item's, letter by letter."""

    name, source, tokens = "toy", "here", 8
    files: ClassVar = {"questions": "none"}
    prompts: ClassVar = {"plain": "{question}"}
    parsers = ("same", "first")
    measures: ClassVar = {"accuracy": Measure("high", "share"), "odd": Measure(None, "nothing")}

    def read(self, files, media=None, *, partial=False):
        return ITEMS

    def count(self, item, answer, parser):
        truth = item.truth["answer"]
        return {"right": float(answer[:1] == truth[:1] if parser == "first" else answer == truth)}

    def values(self, sums):
        return {"accuracy": ratio(sums["right"], sums["items"]), "odd": np.full_like(sums["items"], np.nan)}


ITEMS = [
    Item(str(index), "?", group="ab"[index % 2], truth={"answer": "yes"}, unit=str(index // 2)) for index in range(8)
]


def system(name, texts):
    return {item.id: Answer(item.id, name, text) for item, text in zip(ITEMS, texts, strict=True)}


SYSTEMS = {
    "other": system("other", ["yes"] * 6 + ["yet", "no"]),
    "vanilla": system("vanilla", ["yes"] * 4 + ["no"] * 3 + ["yes"]),
}


def test_systems_are_compared_with_the_plain_model():
    found = results(Toy(), ITEMS, SYSTEMS)
    other, plain = found.systems["other"], found.systems["vanilla"]
    assert found.against == "vanilla"
    assert (found.units, found.items, found.of) == (4, 8, 8)
    assert found.overall == ALL
    assert other.measures["a"]["accuracy"][0] == 3 / 4
    assert other.measures["b"]["accuracy"][0] == 3 / 4
    assert plain.measures[ALL]["accuracy"][0] == 5 / 8
    assert other.differences[ALL]["accuracy"][0] == pytest.approx(1 / 8)
    assert other.mcnemar == McNemar(gained=2, lost=1, p=1.0)
    assert plain.differences is None
    assert plain.mcnemar is None


def test_the_first_system_or_a_named_one_is_compared_with():
    renamed = {"one": SYSTEMS["other"], "two": SYSTEMS["vanilla"]}
    assert results(Toy(), ITEMS, renamed).against == "one"
    found = results(Toy(), ITEMS, renamed, against="two")
    assert found.systems["one"].differences[ALL]["accuracy"][0] == pytest.approx(1 / 8)
    assert results(Toy(), ITEMS, {"one": SYSTEMS["other"]}).against is None


def test_one_unit_has_no_interval():
    found = results(Toy(), ITEMS[:2], SYSTEMS)
    assert found.units == 1
    for system in found.systems.values():
        assert np.isnan(system.measures[ALL]["accuracy"][1:]).all()
    assert np.isnan(found.systems["other"].differences[ALL]["accuracy"][1:]).all()
    assert "one unit, no intervals" in found.caption
    json.dumps(found.to_dict(), allow_nan=False)
    found.plot()


@pytest.mark.parametrize("count", [2, 3])
def test_tables_fit_a_terminal_of_80_columns(count):
    named = {f"system {number}": SYSTEMS["other"] for number in range(count)}
    console = Console(file=StringIO(), width=80)
    console.print(results(Toy(), ITEMS, named).tables())
    lines = [line for line in console.file.getvalue().splitlines() if "[" in line]
    assert lines
    for line in lines:
        assert line.count("[") == line.count("]")  # no interval is broken


def test_parsers_are_named_and_differ():
    assert results(Toy(), ITEMS, SYSTEMS, "first").systems["other"].measures[ALL]["accuracy"][0] == 7 / 8
    with pytest.raises(ValueError, match="Unknown parser of toy 'last'"):
        results(Toy(), ITEMS, SYSTEMS, "last")


def test_results_are_json_and_tables_and_a_figure_say_what_numbers_depend_on():
    found = results(Toy(), ITEMS, SYSTEMS, conditions={"prompt": "plain", "decoding": "greedy"}, of=20)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["systems"]["other"]["measures"]["a"]["odd"] == [None, None, None]
    assert data["parser"] == "same"
    console = Console(file=StringIO(), width=100)
    console.print(found.tables())
    text = " ".join(console.file.getvalue().split())
    assert "8 of 20 items; prompt plain; decoding greedy; parser same; 95 % intervals by bootstrap over 4 units" in text
    assert "0.625" in text
    assert "gained" in text
    figure = found.plot()
    assert figure.numbers[0] == {
        "measure": "accuracy", "group": "a", "system": "other",
        "value": 0.75, "low": found.systems["other"].measures["a"]["accuracy"][1],
        "high": found.systems["other"].measures["a"]["accuracy"][2],
    }  # fmt: skip
    assert {row["measure"] for row in figure.numbers} == {"accuracy"}  # the other has no value
    assert "parser same" in figure._supxlabel.get_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("a b c d", False),
        ("a b c d a b c d", True),
        ("A b, c d. a B c D!", True),
        ("a b c x a b c y", False),
        ("a a a a a", True),
        ("don't know it at all don't know it at", True),
    ],
)
def test_four_words_in_a_row_are_repeated(text, expected):
    assert repeats(text) is expected


def naive_repeats(text):
    words = text.split()
    return any(
        words[i : i + 4] == words[j : j + 4] for j in range(len(words) - 3) for i in range(j) if len(words) - i >= 4
    )


def test_repetition_equals_a_naive_count():
    drawn = np.random.default_rng(0)
    for _ in range(1000):
        text = " ".join(drawn.choice(list("abc"), drawn.integers(0, 14)))
        assert repeats(text) == naive_repeats(text)


def test_texts_are_described_where_it_is_known():
    known = [Answer("1", "a", "one two", 3, True, 1.0), Answer("2", "a", "one", 5, False, 2.0)]
    assert described(known) == {"words": 1.5, "tokens": 4.0, "cut": 0.5, "repetition": 0.0, "seconds": 1.5}
    partly = described([known[0], Answer("2", "a", "one")])
    assert partly == {"words": 1.5, "tokens": None, "cut": None, "repetition": 0.0, "seconds": None}


@pytest.mark.parametrize("name", ["id", "question_id"])
@pytest.mark.parametrize("text", ["text", "answer"])
@pytest.mark.parametrize("array", [False, True])
def test_answers_of_any_system_are_read(tmp_path, name, text, array):
    path = tmp_path / "vllm.jsonl"
    rows = [{name: 1, text: "yes\u2028"}, {name: "b", text: ""}]
    path.write_text(json.dumps(rows) if array else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_written(path)
    assert found.systems == {"vllm": {"1": Answer("1", "vllm", "yes\u2028"), "b": Answer("b", "vllm", "")}}
    assert found.header is None


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"text": "a"}], "line 1: there is no 'id'"),
        ([{"id": 1}], "line 1: there is no 'text'"),
        ([{"id": 1, "text": 2}], "line 1: text is"),
        ([{"id": 1, "text": "a"}, {"id": "1", "text": "b"}], "line 2: the answer to '1' was there before"),
        ([{"id": 1, "text": "a"}, 3], "line 2: found int"),
    ],
)
def test_records_that_hold_no_answer_are_named(tmp_path, rows, says):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DamagedFileError, match=says):
        read_written(path)


def test_files_of_evaluate_keep_their_policies_apart(tmp_path):
    questions = tmp_path / "q.jsonl"
    questions.write_text("{}")
    identity = {"benchmark": "toy", "files": {"questions": file_hash(questions)}}
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path in paths:
        with answer_file(path, identity, {"vanilla": []}, {"date": "x"}) as file:
            file.add(Answer("1", "vanilla", path.stem, 1, True, 0.0))
    first, second = map(read_written, paths)
    assert list(together([first])) == ["vanilla"]
    assert list(together([first, second])) == ["one: vanilla", "two: vanilla"]
    with pytest.raises(ValueError, match="Two files hold answers of one: vanilla"):
        together([first, first])
    check_benchmark(first, Toy(), {"questions": questions})
    with pytest.raises(ValueError, match="holds answers of toy, asked for is world-captions"):
        check_benchmark(first, WorldCaptions(), {"questions": questions})
    questions.write_text("{} ")
    with pytest.raises(ValueError, match="answers to other files"):
        check_benchmark(first, Toy(), {"questions": questions})


def test_items_without_an_answer_are_left_out_only_where_it_is_meant():
    short = {**SYSTEMS, "other": {key: answer for key, answer in SYSTEMS["other"].items() if key != "3"}}
    with pytest.raises(ValueError, match="Of 8 items, other lacks 1"):
        answered(ITEMS, short, partial=False)
    chosen, left = answered(ITEMS, short, partial=True)
    assert [item.id for item in chosen] == [item.id for item in ITEMS if item.id != "3"]
    assert left == {"other": 1, "vanilla": 0}
    with pytest.raises(ValueError, match="none was answered by all systems"):
        answered(ITEMS, {"other": {}}, partial=True)
    with pytest.raises(ValueError, match="other answers 1 items that the benchmark does not have, 'x'"):
        answered(ITEMS, {"other": {**SYSTEMS["other"], "x": Answer("x", "other", "")}}, partial=True)


@pytest.mark.parametrize("world", ["scene", "sound"])
def test_a_world_is_written_and_read(tmp_path, world):
    drawn = load_world(world)
    paths = write_world(drawn, tmp_path / "w", 900, 3)
    found = drawn.evaluation_set(900, scenes=3)
    asked = [question for question in found.questions if question.split != "dialogue"]
    items = WorldQuestions().read({"questions": paths[0]})
    assert [item.truth["yes"] for item in items] == [question.label for question in asked]
    assert [item.question for item in items] == [drawn.language.exists_question(one.obj) for one in asked]
    assert [item.group for item in items] == [question.split for question in asked]
    captions = WorldCaptions().read({"captions": paths[1]})
    names = drawn.language.classes
    assert [item.truth["present"] for item in captions] == [[names[o] for o in one.present] for one in found.scenes]
    for item, medium in zip(captions, found.media, strict=True):
        if world == "scene":
            from PIL import Image

            np.testing.assert_array_equal(np.asarray(Image.open(item.images[0])), np.asarray(medium))
        else:
            import soundfile

            np.testing.assert_array_equal(soundfile.read(item.sounds[0], dtype="float32")[0], medium)


def test_captions_of_a_world_are_measured_as_the_world_does(tmp_path):
    from lime_xai.worlds.shared.metrics import caption_counts, caption_values

    world = load_world("scene")
    paths = write_world(world, tmp_path / "w", 900, 20)
    scenes = world.evaluation_set(900, scenes=20).scenes
    drawn = np.random.default_rng(0)
    texts = [world.language.caption_text(drawn.choice(len(world.language.classes), 4, replace=False)) for _ in scenes]
    items = WorldCaptions().read({"captions": paths[1]})
    found = results(
        WorldCaptions(),
        items,
        {"a": {item.id: Answer(item.id, "a", text) for item, text in zip(items, texts, strict=True)}},
    )
    expected = caption_values(caption_counts(texts, scenes, world.language).sum(0, keepdims=True))
    for name, value in found.systems["a"].measures["scene"].items():
        assert value[0] == pytest.approx(float(expected[name][0])), name


def test_questions_of_a_world_are_measured(tmp_path):
    def item(name, yes):
        return Item(name, "", group="random", truth={"yes": yes})

    items = [item("1", True), item("2", True), item("3", False), item("4", False), item("5", True)]
    texts = ["yes .", "no", "Yes", "no, none", "perhaps"]
    answers = {one.id: Answer(one.id, "a", text) for one, text in zip(items, texts, strict=True)}
    values = results(WorldQuestions(), items, {"a": answers}).systems["a"].measures["random"]
    assert {name: value[0] for name, value in values.items()} == pytest.approx(
        {"accuracy": 2 / 5, "precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5, "yes": 2 / 5, "neither": 1 / 5}
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"world": "sceen"}, "line 1: Unknown world"),
        ({"answer": "maybe"}, "line 1: 'answer' is 'maybe'"),
        ({"image": 3}, "line 1: image is"),
        ({"id": "2"}, "line 2: id '2' was there before"),
    ],
)
def test_damaged_files_of_a_world_are_named(tmp_path, values, says):
    path = write_world(load_world("scene"), tmp_path / "w", 900, 1)[0]
    lines = path.read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), **values})
    path.write_text("\n".join(lines))
    with pytest.raises(DamagedFileError, match=says):
        WorldQuestions().read({"questions": path})


def test_changed_answers_do_not_change_others():
    kept = replace(SYSTEMS["other"]["0"], text="no")
    assert (
        results(Toy(), ITEMS, {"a": {**SYSTEMS["other"], "0": kept}}).systems["a"].measures["b"]["accuracy"][0] == 0.75
    )
