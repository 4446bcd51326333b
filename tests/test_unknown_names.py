"""The error for an unknown name suggests a known one only if that is near."""

import pytest

from lime_xai.errors import unknown_name
from lime_xai.printing import visible


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("edti", "edit"),
        ("EDIT", "edit"),
        ("Edit", "edit"),
        ("contrst", "contrast"),
        ("papercache", "paper_cache"),
        ("xyzzy", None),
        ("", None),
        (None, None),
        ("a very long sentence about something else", None),
    ],
)
def test_a_name_is_suggested_only_if_it_is_near(name, near):
    message = str(unknown_name("policy", name, ["edit", "contrast", "paper_cache"]))
    assert message.startswith(f"Unknown policy {name!r}.")
    assert message.endswith("Known: contrast, edit, paper_cache.")
    assert ("Did you mean" in message) == (near is not None)
    if near is not None:
        assert f"Did you mean {near!r}?" in message


def test_a_name_is_quoted_with_its_control_characters_escaped():
    message = str(unknown_name("policy", "\x1b[31m", ["edit"]))
    assert message == visible(message)
