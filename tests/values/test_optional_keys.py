"""Keys of a TypedDict that a file may lack, where annotations are text."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

import pytest

from lime_xai.values.checking import checked


class Base(TypedDict):
    name: str


class Kind(Base):
    note: NotRequired[Literal["a", "b"] | None]


def test_a_key_that_is_not_required_may_be_missing_under_postponed_annotations():
    assert checked("x", {"name": "one"}, Kind) == {"name": "one"}
    with pytest.raises(ValueError, match=r"x lacks 'name'"):
        checked("x", {"note": "a"}, Kind)
    with pytest.raises(ValueError, match=r"Unknown x.note 'c'"):
        checked("x", {"name": "one", "note": "c"}, Kind)
