"""Values checked against annotations."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction as Ratio
from typing import Annotated, Any, Literal, NotRequired, Protocol, TypedDict

import numpy as np
import pytest
import torch

from lime_xai.values.checking import (
    Count,
    Fraction,
    Known,
    Natural,
    NotNegative,
    Positive,
    Range,
    Seed,
    check_arguments,
    check_fields,
    checked,
)


class Row(TypedDict):
    name: str
    values: dict[str, float | None]
    note: NotRequired[list[int]]


class Shape(Protocol):
    def area(self) -> float: ...


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, 1),
        (np.float32(0.5), float, 0.5),
        (np.int64(3), int, 3),
        (np.int64(3), float, 3.0),
        (Ratio(1, 4), Positive, 0.25),
        (0, NotNegative, 0),
        (None, Positive | None, None),
        (2, Count | None, 2),
        ([1, 2], tuple[int, ...], (1, 2)),
        ((1, 2), tuple[int, ...] | None, (1, 2)),
        ((1, 2), tuple[int, int], (1, 2)),
        ([1.5], Sequence[float], [1.5]),
        ("ab", Literal["ab", "cd"], "ab"),
        ("ab", Annotated[str, Known({"ab": 1})], "ab"),
        ({np.int64(3): np.float32(2)}, Mapping[int, float], {3: 2.0}),
        ({"name": "a", "values": {"x": None}}, Row, {"name": "a", "values": {"x": None}}),
        (len, Callable[[Any], int], len),
        ("a", Any, "a"),
    ],
)
def test_what_is_of_the_kind_comes_back_as_pythons_own(value, kind, expected):
    found = checked("x", value, kind)
    assert found == expected
    assert type(found) is type(expected)


FLOATS = [float, Positive, NotNegative, Fraction, Positive | None, Annotated[float, Range("", bool)]]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400], ids=str)
def test_numbers_that_are_not_finite(kind, value):
    with pytest.raises(ValueError, match=r"^x is (nan|-?inf); expected .*finite"):
        checked("x", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (-1, NotNegative, "x is -1; expected zero or more"),
        (0.0, Positive, r"x is 0\.0; expected a positive number"),
        (1.0, Fraction, "at least 0 and less than 1"),
        (-1, Natural, "zero or more"),
        (0, Count | None, "at least one"),
        (-1, Seed, "from 0 to 4294967295"),
        (2**64, int, "of at most 64 bits"),
        ("cc", Literal["ab", "cd"], "Unknown x 'cc'.*Known: ab, cd"),
        ("b", Annotated[str, Known(("a",))], "Unknown x 'b'.*Known: a"),
        ({3: math.nan}, Mapping[int, float], r"x\[3\] is nan"),
        ({"name": "a"}, Row, "x lacks 'values'"),
        ((1,), tuple[int, int], "x has 1 entries; expected 2"),
    ],
)
def test_values_out_of_range_and_unknown_names(value, kind, message):
    with pytest.raises(ValueError, match=message):
        checked("x", value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", float),
        (None, float),
        (True, float),
        (1j, float),
        (torch.tensor(1.0), float),
        (2.0, int),
        (True, int),
        (np.bool_(True), int),
        (1, bool),
        (None, bool),
        (b"ab", str),
        (3, str | None),
        ([], Literal["ab"]),
        (1, Literal["ab"]),
        ([], Annotated[str, Known({"a"})]),
        (3, tuple[int, ...]),
        ("12", tuple[int, ...]),
        ([1, "2"], tuple[int, ...]),
        ([[1]], list[int]),
        ("ab", Sequence[str]),
        ({"a": 1}, Mapping[int, float]),
        ([1], Mapping[int, float]),
        ([], Row),
        ({"name": "a", "values": {"x": "1"}}, Row),
        ({"name": "a", "values": {}, "note": ["1"]}, Row),
        (3, torch.Tensor),
        (3, Callable[[], None]),
        (3, None),
    ],
)
def test_values_of_other_types(value, kind):
    with pytest.raises(TypeError, match=r"x.* is .*; expected"):
        checked("x", value, kind)


def test_what_an_annotation_does_not_say_is_admitted():
    for kind in (Any, Shape, "text"):
        assert checked("x", 3, kind) == 3
    with pytest.raises(TypeError, match=r"x is 3 \(int\); expected Iterable"):
        checked("x", 3, Iterable)


def test_a_message_shows_no_content_of_a_tensor():
    with pytest.raises(TypeError, match=r"^x is <Tensor>; expected a finite number\.$"):
        checked("x", torch.zeros(1000), float)


@dataclass(frozen=True)
class Settings:
    rate: Positive = 1.0
    layers: tuple[int, ...] | None = None

    def __post_init__(self):
        check_fields(self)


def test_fields_are_checked_and_made_pythons_own():
    found = Settings(np.float32(2), [np.int64(1)])
    assert found == Settings(2.0, (1,))
    assert (type(found.rate), type(found.layers[0])) == (float, int)
    assert hash(found) == hash(Settings(2.0, (1,)))
    with pytest.raises(ValueError, match=r"^rate is inf; expected a positive number, and finite"):
        dataclasses.replace(found, rate=math.inf)


def test_a_field_whose_type_has_no_name_at_module_level_is_not_checked():
    @dataclass
    class Local:
        unknown: "Missing"  # noqa: F821
        rate: float = 1.0

    check_fields(Local(unknown=3))
    with pytest.raises(TypeError, match="rate is 'a'"):
        check_fields(Local(unknown=3, rate="a"))


def test_arguments_are_checked_by_the_annotations_of_their_function():
    def make(count: Count, progress: bool = True) -> None: ...

    check_arguments(make, count=3, progress=False)
    with pytest.raises(TypeError, match=r"count is 2\.5 \(float\); expected a whole number, at least one"):
        check_arguments(make, count=2.5)


@pytest.mark.parametrize(
    ("given", "kind"), [(3, int), (2**53, int), (2**53 + 1, float), (2**70, float), (-(2**70), float)]
)
def test_whole_numbers_that_torch_could_not_take_become_floats(given, kind):
    @dataclass
    class Settings:
        rate: float = 1.0

        def __post_init__(self):
            check_fields(self)

    found = Settings(rate=given).rate
    assert type(found) is kind
    assert found == float(given)
