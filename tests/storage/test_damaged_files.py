"""Files that are damaged: one error that names the file, whatever is wrong and whoever reads it."""

import copy
import json
import math
import types
import typing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NotRequired, get_args, get_origin

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file

from lime_rules import Audit, AuditRow
from lime_rules.operations import Operation
from lime_rules.structure import Role
from lime_xai import Attribution, Calibration, Comparison, PixelAttribution, Span, policy_from_dict
from lime_xai.evaluation.policies.registry import Tuned
from lime_xai.evaluation.policies.rows import SHOWN_DIFFERENCES, read_rows, report_type
from lime_xai.evaluation.policies.tables import world_tables
from lime_xai.model.layouts.layout import ImageLayout, Tile
from lime_xai.model.layouts.pictures import Received
from lime_xai.report.answer import ContextWord, ExplainedAnswer, ExplainedWord, Step
from lime_xai.storage.store import DamagedFileError, check_writable, read_json, read_tensors, write_json, write_tensors
from lime_xai.worlds import WORLDS
from lime_xai.worlds.shared import models

IDENTITIES = {name: {"world": name, "seed": 5} for name in WORLDS}
GOOD_TUNED = {"seed": 900, "scenes": 60, "paper": 0.03, "uniform_gain": 0.8}
GOOD_RECIPE = {"image_cooccurrence": 0.5, "size": "1m"}
GOOD_COMPARISON = {
    "format": 1,
    "header": {"methods": ["a", "b"], "metrics": ["delta_a", "mass"], "seed": 0},
    "examples": [
        {
            "digest": "0",
            "rows": [{"cluster": "0.0", "values": {m: {"delta_a": 0.5, "mass": None} for m in ("a", "b")}}],
        }
    ],
}


def sample(kind):
    """A value of the kind that a TypedDict describes."""
    if hasattr(kind, "__required_keys__"):
        return {name: sample(part) for name, part in typing.get_type_hints(kind).items()}
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):  # with a Literal inside, `X | None` is a typing.Union
        return sample(parts[0])
    if origin is typing.Literal:
        return parts[0]
    if origin is tuple:
        return [sample(part) for part in parts]
    if origin is list:
        return [sample(parts[0])]
    if origin is dict and parts[1] is not typing.Any:
        return {name: sample(parts[1]) for name in SHOWN_DIFFERENCES}
    return None if origin is dict else {float: 0.5, str: "text", int: 3}[kind]


def good_report(world="scene"):
    row = sample(typing.get_type_hints(report_type(WORLDS[world]))["policies"].__args__[1])
    return IDENTITIES[world] | {"policies": {"vanilla": row, "edit": row | {"settings": {"policy": "Edit"}}}}


def attribution():
    return Attribution(
        relevance=torch.randn(1, 2, 6),
        input_ids=torch.arange(6)[None],
        target_ids=torch.tensor([[3, 4]]),
        logits=torch.randn(1, 2),
        attended=torch.ones(1, 6, dtype=torch.bool),
        spans=[[Span("text", 0, 2), Span("image", 2, 6)]],
        method="attnlrp",
        tokens=[list("abcdef")],
        layouts=[[ImageLayout("image", (2, 3, 4, 5), (Tile(2, 2, (2, 3, 4, 5)),))]],
        received=[[Received((np.arange(12, dtype=np.uint8).reshape(2, 2, 3),), "pictures", None, "a note")]],
        targets=["a dog"],
    )


def explained(before=None):
    shares = {"image": 0.5, "prompt": 0.25, "answer": 0.25}
    numbers = {"logit": 1.5, "residual": 0.0, "probability": 0.5, "entropy": 0.1, "margin": math.inf}
    words = tuple(
        ExplainedWord(
            text, " ", start, start + 1, False, **numbers, alternative="c", alternative_probability=0.0,
            grounding=grounding, relevance=shares, shares=shares,
        )
        for start, (text, grounding) in enumerate((("a", 0.5), ("dog", None)))
    )  # fmt: skip
    context = (ContextWord("what", "", 0, 2),)
    steps = (Step((1.0, 0.5), (0.1,), (0.2,)), Step())
    return ExplainedAnswer(attribution(), words, context, ("Edit()",), steps, "a reason", before)


def pixels():
    rows = (
        AuditRow("conv", "Conv2d", Role("linear"), "Gradient"),
        AuditRow("odd", "Odd", Role("uncovered", "why"), ""),
    )
    config = SimpleNamespace(model_type="llava", vision_config=SimpleNamespace(model_type="clip", patch_size=2))
    return PixelAttribution(
        relevance={"pixel_values": torch.randn(2, 1, 3, 4, 4)},
        tokens=attribution(),
        inputs={"pixel_values": torch.randn(1, 3, 4, 4)},
        coverage=Audit(rows, (Operation("odd", "mul"),)),
        config=config,
        companions={"image_sizes": torch.tensor([[4, 4]])},
    )


def calibration():
    return Calibration("0" * 64, "direct", 2, 5, torch.randn(8), {"image": torch.randn(3, 2)}, "{}")


def load_comparison(path):
    found = Comparison.from_json(path)
    Console(quiet=True).print(found.table())
    return found.to_dict()


def load_report(path, world="scene"):
    rows = read_rows(path, IDENTITIES[world], ["vanilla", "edit"])
    world_tables(WORLDS[world], "heading", rows)  # writes every cell; drawing them takes ten times as long
    return rows


@dataclass(frozen=True)
class Reader:
    """How a good file is written, and what reads it."""

    write: object
    read: object


TENSOR_READERS = {
    "attribution": Reader(lambda path: attribution().save(path), Attribution.load),
    "pixels": Reader(lambda path: pixels().save(path), PixelAttribution.load),
    "explained": Reader(lambda path: explained(explained()).save(path), ExplainedAnswer.load),
    "calibration": Reader(lambda path: calibration().save(path), Calibration.load),
    "policy": Reader(
        lambda path: calibration().save(path),
        lambda path: policy_from_dict({"policy": "Constant", "calibration": str(path)}),
    ),
}
JSON_READERS = {
    "comparison": Reader(lambda path: write_json(path, GOOD_COMPARISON), load_comparison),
    "report": Reader(lambda path: write_json(path, good_report()), load_report),
    "report of sounds": Reader(
        lambda path: write_json(path, good_report("sound")), lambda path: load_report(path, "sound")
    ),
    "tuned": Reader(lambda path: write_json(path, GOOD_TUNED), lambda path: read_json(path, "settings", Tuned)),
    "recipe": Reader(
        lambda path: write_json(path, GOOD_RECIPE), lambda path: read_json(path, "a recipe", WORLDS["scene"].recipe)
    ),
    "protocol": Reader(
        lambda path: path.write_bytes((WORLDS["scene"].folder / "protocol.json").read_bytes()),
        lambda path: read_json(path, "the protocol", models._Protocol),
    ),
}
READERS = TENSOR_READERS | JSON_READERS


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]


@pytest.fixture
def good(reader, tmp_path):
    path = tmp_path / "good"
    reader.write(path)
    reader.read(path)
    return path


def refused(reader, path):
    with pytest.raises(ValueError, match=path.name) as error:
        reader.read(path)
    assert len(str(error.value)) < 1500
    return error.value


@pytest.mark.parametrize("eighth", range(8))
def test_a_truncated_file(reader, good, eighth):
    content = good.read_bytes()
    path = good.with_name("truncated")
    path.write_bytes(content[: len(content) * eighth // 8])
    refused(reader, path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, no file of this package",
        b"null",
        b"[1]",
        b"{}{}",
        b"\xff\xfe\x00",
        b"\x00" * 64,
        b"\xff" * 64,
        b"[" * 100_000,
        b'{"a": NaN}',
        (8).to_bytes(8, "little") + b"not json",
        (2).to_bytes(8, "little") + b"{}",
    ],
    ids=lambda content: content[:12].hex(),
)
def test_other_content(reader, good, content):
    path = good.with_name("other")
    path.write_bytes(content)
    if reader is JSON_READERS["tuned"] and content == b"{}":
        return
    refused(reader, path)


def test_a_folder_and_a_file_that_is_not_there(reader, good):
    folder = good.with_name("folder")
    folder.mkdir()
    assert isinstance(refused(reader, folder), DamagedFileError) or reader is READERS["policy"]
    with pytest.raises((FileNotFoundError, ValueError), match="missing"):
        reader.read(good.with_name("missing"))


@pytest.mark.parametrize("name", TENSOR_READERS)
def test_flipped_bytes_of_a_safetensors_file_are_noticed(name, tmp_path):
    reader, path = TENSOR_READERS[name], tmp_path / "flipped"
    reader.write(path)
    content = path.read_bytes()
    before = reader.read(path)
    for place in range(0, len(content), 3):
        for mask in (0x01, 0xFF):
            path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
            try:
                found = reader.read(path)
            except ValueError as error:
                assert "flipped" in str(error)  # noqa: PT017 - either it is refused or nothing has changed
            else:
                assert found == before


@pytest.mark.parametrize("name", JSON_READERS)
def test_flipped_bytes_of_json_are_refused_or_leave_a_file_that_can_be_used(name, tmp_path):
    reader, path = JSON_READERS[name], tmp_path / "flipped"
    reader.write(path)
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        try:
            reader.read(path)
        except ValueError as error:
            assert "flipped" in str(error)  # noqa: PT017


def places(data, path=()):
    """Every place of nested JSON."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(data, place, value):
    """The data with another value at a place, or without the place."""
    data = copy.deepcopy(data)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if value is DROPPED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return data


DROPPED = "dropped"


@pytest.mark.parametrize("name", JSON_READERS)
@pytest.mark.parametrize("value", [DROPPED, None, "text", [], {}, [[1]], -1, 1e308], ids=str)
def test_missing_keys_nulls_and_wrong_types_in_json(name, value, tmp_path):
    reader, path = JSON_READERS[name], tmp_path / "changed"
    reader.write(path)
    data = json.loads(path.read_text())
    refusals = 0
    for place in places(data):
        path.write_text(json.dumps(changed(data, place, value)))
        try:
            reader.read(path)
        except ValueError as error:
            assert "changed" in str(error)  # noqa: PT017
            refusals += 1
    assert refusals or value in (DROPPED, -1, 1e308)


def rewritten(path, change, tensors=None):
    """Write a safetensors file again with another description or other tensors, and without its hash."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata.pop("sha256")
    key = next(iter(metadata))
    text = metadata[key] if change is None else json.dumps(change(json.loads(metadata[key])))
    save_file(held if tensors is None else tensors(held), path, metadata={key: text})


@pytest.mark.parametrize("name", TENSOR_READERS)
def test_a_file_without_a_hash_is_read(name, tmp_path):
    reader, path = TENSOR_READERS[name], tmp_path / "older"
    reader.write(path)
    before = reader.read(path)
    rewritten(path, None)
    assert reader.read(path) == before


@pytest.mark.parametrize("name", TENSOR_READERS)
@pytest.mark.parametrize("value", [DROPPED, None, "", 7, [], [[]], [[3]], {}], ids=str)
def test_descriptions_that_lack_or_falsify_something(name, value, tmp_path):
    reader, path = TENSOR_READERS[name], tmp_path / "changed"
    reader.write(path)
    with safe_open(path, framework="pt") as file:
        data = json.loads(next(text for key, text in file.metadata().items() if key != "sha256"))
    content = path.read_bytes()
    for place in places(data):
        path.write_bytes(content)
        rewritten(path, lambda data, place=place: changed(data, place, value))
        try:
            reader.read(path)
        except ValueError as error:
            assert "changed" in str(error)  # noqa: PT017


CHANGES = {
    "dropped": lambda t: None,
    "empty": lambda t: t[:0],
    "longer": lambda t: torch.cat([t, t]),
    "flat": lambda t: t.reshape(-1),
    "more dimensions": lambda t: t[None],
    "nan": lambda t: torch.full(t.shape, math.nan),
    "infinite": lambda t: torch.full(t.shape, math.inf),
    "integers": lambda t: torch.zeros(t.shape, dtype=torch.int32),
    "booleans": lambda t: torch.zeros(t.shape, dtype=torch.bool),
}


@pytest.mark.parametrize("name", TENSOR_READERS)
@pytest.mark.parametrize("kind", CHANGES)
def test_tensors_that_are_missing_or_wrong(name, kind, tmp_path):
    reader, path = TENSOR_READERS[name], tmp_path / "changed"
    reader.write(path)
    content = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    refusals = 0
    for which in held:
        new = CHANGES[kind](held[which])
        path.write_bytes(content)
        rest = {key: tensor for key, tensor in held.items() if key != which}
        rewritten(path, None, lambda _, rest=rest, new=new, which=which: rest if new is None else rest | {which: new})
        try:
            reader.read(path)
        except ValueError as error:
            assert "changed" in str(error)  # noqa: PT017
            refusals += 1
    told_by_the_model = kind in ("empty", "longer") and name not in (
        "attribution",
        "explained",
        "pixels",
    )  # Calibration.check
    assert refusals or told_by_the_model


def test_tensors_of_every_type_come_back(tmp_path):
    held = {
        "half": torch.randn(2, 3).bfloat16(),
        "whole": torch.arange(4),
        "flags": torch.tensor([True]),
        "none": torch.zeros(0, 3),
        "one": torch.tensor(2.0),
        "turned": torch.randn(3, 2).T,
    }
    write_tensors(tmp_path / "x", held, "key", {"a": [1, None]})
    description, found = read_tensors(tmp_path / "x", "key", "a test")
    assert description == {"a": [1, None]}
    assert all(torch.equal(found[name], tensor) for name, tensor in held.items())


# Where nothing can be written ----------------------------------------------------------------------------------------


WRITERS = {
    "attribution": lambda path: attribution().save(path),
    "explained": lambda path: explained().save(path),
    "calibration": lambda path: calibration().save(path),
    "json": lambda path: write_json(path, {}),
    "comparison": lambda path: Comparison.of(GOOD_COMPARISON).to_json(path),
    "csv": lambda path: Comparison.of(GOOD_COMPARISON).to_csv(path),
    "latex": lambda path: Comparison.of(GOOD_COMPARISON).to_latex(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_not_there(name, tmp_path):
    with pytest.raises(ValueError, match=r"no is no folder, and file cannot be written there; make it first"):
        WRITERS[name](tmp_path / "no" / "file")
    with pytest.raises(ValueError, match="is a folder; give the name of a file"):
        WRITERS[name](tmp_path)
    WRITERS[name](tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("lime_xai.storage.store.os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match="may not be written"):
        check_writable(tmp_path / "file")


def test_optional_keys_are_checked_where_they_are_there(tmp_path):
    class Kind(typing.TypedDict):
        a: NotRequired[int]

    write_json(tmp_path / "x", {})
    assert read_json(tmp_path / "x", "a test", Kind) == {}
    write_json(tmp_path / "x", {"a": "1"})
    with pytest.raises(DamagedFileError, match=r"x is not a test: it\.a is '1' \(str\); expected a whole number"):
        read_json(tmp_path / "x", "a test", Kind)
