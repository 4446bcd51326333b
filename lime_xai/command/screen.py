"""What commands print: results on standard output, notices and errors on standard error, foreign text as it is."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from lime_xai.printing import foreign, one_line, visible


class LiteralConsole(Console):
    """A console that prints every string as it is: no markup, no emoji names, no control characters.

    Everything that a command prints goes through ``render``, nested tables included, so no command has to escape
    anything. Styles are given as ``rich.text.Text``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a string as text without control characters; tables measure it in this form too."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return the segments of what is printed; control characters in their text are written as escapes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


console = LiteralConsole()
"""Standard output: results."""

notices = LiteralConsole(stderr=True)
"""Standard error: notices, progress bars and errors."""


def labelled(label: str, style: str, text: Text | object) -> Text:
    """Return ``label: text`` for rich, the label in a style."""
    return Text.assemble((f"{label}: ", style), text if isinstance(text, Text) else foreign(text))


def notice(text: object) -> None:
    """Print a line on standard error."""
    notices.print(labelled("notice", "yellow", one_line(text)), soft_wrap=True)


def fail(text: object) -> None:
    """Print an error on standard error, on one line."""
    notices.print(labelled("error", "red", one_line(text)), soft_wrap=True)


class _LiteralRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return visible(super().getMessage())


@contextmanager
def literal_output() -> Iterator[None]:
    """Context in which warnings and logs of libraries are printed literally too, and no character fails to encode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_LiteralRecord)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: notice(message)
            yield
    finally:
        logging.setLogRecordFactory(factory)


class Notices:
    """Print each notice once: one picture is asked about under many questions."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        """Print a notice that was not printed before."""
        if text not in self._said:
            self._said.add(text)
            notice(text)
