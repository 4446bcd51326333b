"""Text that others wrote (a model, a file name, an error of another library), made safe to print.

A terminal obeys control characters, and rich reads ``[bold]`` in a string as markup. Foreign text goes to rich as
``foreign(text)``, which is neither.
"""

from __future__ import annotations

import re

from rich.text import Text

# C0 without line feed and tab, DEL and C1; line and paragraph separators; marks that reorder the text around them; and
# lone surrogates, which no encoding writes (Python uses them for bytes of file names that are not UTF-8).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return text whose control characters are written as Python escapes, backslash-x1b for example.

    Line feeds and tabs are kept; a carriage return before a line feed is dropped.
    """
    return _UNSAFE.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: object) -> str:
    """Return text on one line: stretches of white space become one space, control characters are escaped."""
    return visible(" ".join(str(text).split()))


def signed(value: float) -> str:
    """Return a number with its sign and two decimals; 0.00 without a sign where these are zeros."""
    text = f"{value:+.2f}"
    return text[1:] if text in ("+0.00", "-0.00") else text


def foreign(text: object, style: str = "") -> Text:
    """Return text for rich that is printed as it is, without markup, emoji names and control characters.

    Parameters
    ----------
    text : object
        Turned into a string.
    style : str
        Of the whole text.
    """
    return Text(visible(str(text)), style)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: "1 item", "2 items"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
