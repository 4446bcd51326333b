"""Files and parsers that are wrong, for every benchmark whose answers are yes, no or a choice: errors by name."""

import json

import pytest
from support.benchmark_files import FILES, own_records, write_array, write_lines

from lime_xai.evaluation.benchmarks import PROTOCOLS, check_media, mcnemar, protocol_of, score
from lime_xai.evaluation.benchmarks.protocol import Protocol, register_protocol
from lime_xai.evaluation.benchmarks.records import Record, check_count, read_records
from lime_xai.storage.store import DamagedFileError

NAMES = sorted(FILES)
KEYS = {
    "pope-coco": ["question_id", "image", "text", "label"],
    "pope-aokvqa": ["question_id", "image", "text", "label"],
    "pope-gqa": ["question_id", "image", "text", "label"],
    "repope": ["question_id", "image", "text", "label"],
    "amber-discriminative": ["id", "image", "query"],
    "audio-hallucination": ["entry_id", "audio_index", "prompt_text", "label"],
    "air-bench-foundation": ["path", "question", "task_name", "dataset_name", "uniq_id", "answer_gt"],
    "mmhal": ["image_src", "question", "gt_answer"],
    "own": ["question", "answer"],
}
"""What each record must have; DASH-B has no records."""


def records_of(path):
    text = path.read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def rewrite(path, records):
    (write_array if path.read_text().startswith("[") else write_lines)(path, records)


def first_file(files):
    return files[next(iter(files))]


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_reads_its_files_and_names_its_parts(name, tmp_path):
    protocol = protocol_of(name)
    assert PROTOCOLS[name] is protocol
    items = protocol.read(FILES[name](tmp_path), partial=True)
    assert len({item.id for item in items}) == len(items) > 5
    for item in items:
        assert item.question
        assert item.unit
        assert str(tmp_path) in item.place
        assert item.images or item.sounds
        json.dumps(dict(item.truth))
    for style in protocol.prompts:
        assert items[0].question in protocol.prompt(items[0], style)
    for parser in protocol.parsers:
        found = score(protocol, items, {item.id: "Yes" for item in items}, parser, resamples=2)
        assert all(row.keys() == protocol.measures.keys() for row in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_image_or_sound_is_named_with_its_line(name, tmp_path):
    items = protocol_of(name).read(FILES[name](tmp_path), tmp_path / "media", partial=True)
    paths = {path for item in items for path in (*item.images, *item.sounds)}
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    check_media(items)
    gone = (*items[4].images, *items[4].sounds)[0]
    gone.unlink()
    first = next(item for item in items if gone in (*item.images, *item.sounds))
    with pytest.raises(FileNotFoundError) as error:
        check_media(items)
    assert str(error.value).startswith(f"{first.place}: there is no file {gone} (1 files missing in all)")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_not_there(name, tmp_path):
    files = FILES[name](tmp_path)
    for path in files.values():
        path.rename(path.with_suffix(".away"))
        with pytest.raises(FileNotFoundError, match=path.name):
            protocol_of(name).read(files, partial=True)
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_line_is_named(name, tmp_path):
    files = FILES[name](tmp_path)
    path = first_file(files)
    lines = path.read_text().splitlines()
    lines[2] = "{" + lines[2]
    path.write_text("\n".join(lines))
    number = r"(line|record) \d+|line \d+ column" if name == "dash-b" else r"line [345]"
    with pytest.raises(DamagedFileError, match=f"{path.name}.*({number})"):
        protocol_of(name).read(files, partial=True)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in KEYS.items() for key in keys])
def test_a_missing_key_is_named_with_its_line(name, key, tmp_path):
    files = FILES[name](tmp_path)
    path = first_file(files)
    records = records_of(path)
    del records[2][key]
    rewrite(path, records)
    with pytest.raises(DamagedFileError, match=rf"{path.name}, (line|record) 3: there is no '{key}'; it has"):
        protocol_of(name).read(files, partial=True)


@pytest.mark.parametrize("name", [name for name in KEYS if name != "own"])
def test_an_id_that_is_there_twice_is_named_with_both_lines(name, tmp_path):
    files = FILES[name](tmp_path)
    path = first_file(files)
    records = records_of(path)
    records.append(records[2])
    rewrite(path, records)
    place = rf"{path.name}, (line|record) {len(records)}: .* was there before \(.*(line|record) 3\)"
    with pytest.raises(DamagedFileError, match=place):
        protocol_of(name).read(files, partial=True)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.startswith(("pope", "repope", "dash", "amber", "mmhal"))]
)
def test_a_part_is_refused_unless_it_is_meant(name, tmp_path):
    files = FILES[name](tmp_path)
    with pytest.raises(DamagedFileError, match=r"has \d+ records; the official file has \d+; if a part of it is meant"):
        protocol_of(name).read(files)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_parsers_prompts_and_files_are_refused_by_name(name, tmp_path):
    protocol = protocol_of(name)
    files = FILES[name](tmp_path)
    items = protocol.read(files, partial=True)
    answers = {item.id: "No" for item in items}
    with pytest.raises(ValueError, match=rf"Unknown parser of {name} 'offical'\..*Known: "):
        score(protocol, items, answers, "offical")
    with pytest.raises(ValueError, match=rf"Unknown parser of {name}"):
        mcnemar(protocol, items, answers, answers, "offical")
    with pytest.raises(ValueError, match=rf"Unknown prompt of {name} 'nix'"):
        protocol.prompt(items[0], "nix")
    with pytest.raises(ValueError, match=rf"{name} was given .*nix; expected {next(iter(protocol.files))}: "):
        protocol.read({**files, "nix": tmp_path}, partial=True)
    with pytest.raises(ValueError, match=f"1 of {len(items)} items have no answer"):
        score(protocol, items, dict(list(answers.items())[1:]))


def test_an_unknown_benchmark_is_refused_and_a_name_is_given_once():
    with pytest.raises(ValueError, match="Did you mean 'pope-coco'"):
        protocol_of("pope_coco")

    with pytest.raises(ValueError, match="There is a benchmark 'own' already"):

        @register_protocol
        class Again(Protocol):
            name = "own"

    assert type(PROTOCOLS["own"]).__name__ == "Own"


def test_lines_are_counted_with_empty_ones_and_separators_inside_of_text_are_no_lines(tmp_path):
    path = tmp_path / "own.jsonl"
    records = own_records(2)
    records[0]["question"] = "one\u2028two"
    text = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    found = read_records(path)
    assert [record.place for record in found] == [f"{path}, line 1", f"{path}, line 3"]
    assert found[0].data == records[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no records"),
        (b"[]", "has no records"),
        (b"[1, 2]", "record 1: found int; expected a JSON object"),
        (b'{"a": 1}\n3\n', "line 2: found int; expected a JSON object"),
        (b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
        (b'[{"a": 1},\n{"a": 2},\n{"a"', "line 3: no JSON"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_files_of_something_else(content, message, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=message):
        read_records(path)


def test_optional_values_may_be_missing_or_null_but_not_of_another_kind():
    record = Record("file, line 1", {"a": None, "b": 3})
    assert record.optional("a", str) is None
    assert record.optional("c", str) is None
    assert record.optional("b", int) == 3
    with pytest.raises(DamagedFileError, match="file, line 1: b is 3"):
        record.optional("b", str)


@pytest.mark.parametrize(
    ("found", "partial", "fits"), [(3, False, True), (2, True, True), (2, False, False), (4, True, False)]
)
def test_lengths(found, partial, fits, tmp_path):
    if fits:
        check_count(tmp_path, found, 3, partial)
        return
    with pytest.raises(DamagedFileError, match=f"has {found} records; the official file has 3") as error:
        check_count(tmp_path, found, 3, partial)
    assert ("partial=True" in str(error.value)) == (found < 3)
