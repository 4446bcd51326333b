"""HTML pages of explained answers: one file that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from lime_xai.attribution.colours import BRIGHTNESS, CONTRAST, NEGATIVE, OPACITY, POSITIVE
from lime_xai.model.layouts.pictures import Received

from .answer import ExplainedAnswer
from .payload import data_uri, payload

THRESHOLD = 0.5
"""Grounding in nats below which a page marks words at first."""

THUMBNAIL = 96
"""Pixels of the longer side of a thumbnail."""

COLOURS = {
    "positive": ", ".join(map(str, POSITIVE)),
    "negative": ", ".join(map(str, NEGATIVE)),
    "contrast": CONTRAST,
    "brightness": BRIGHTNESS,
}
"""Of maps and of pictures under them, as the style sheet and the script read them."""

COLUMNS = ("word", "grounding", "probability", "entropy", "logit", "residual")
"""Of the table, before the shares."""


@dataclass(frozen=True)
class Entry:
    """An answer on a page with several.

    Attributes
    ----------
    name : str
        Of its picture or sound, a file name for example.
    answer : ExplainedAnswer
        The answer.
    events : mapping, sequence or None
        What sounds when, as ``ExplainedAnswer.plot_sound`` takes it.
    """

    name: str
    answer: ExplainedAnswer
    events: Any = None


def answer_page(found: ExplainedAnswer, title: str | None = None, events: Any = None) -> str:
    """Return the page of one answer, with a table of its words, and with bounds of ``events`` on its sounds."""
    heading = title or found.prompt or "Explained answer"
    return _page([Entry("", found, events)], heading, _table(found))


def report_page(entries: Sequence[Entry], title: str) -> str:
    """Return the page of several answers: those with the worst grounded words come first.

    Raises
    ------
    ValueError
        If there is no answer.
    """
    if not entries:
        raise ValueError("A report needs at least one answer.")
    return _page(sorted(entries, key=_lowest), title, ((), ()))


def embedded(page: str, height: int = 900) -> str:
    """Return a page as an element of another page, a notebook for example; its styles and scripts stay inside."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" style="width:100%;height:{height}px;border:0" '
        'sandbox="allow-scripts" title="explained answer"></iframe>'
    )


def _page(entries: Sequence[Entry], title: str, table: tuple[Sequence[str], Sequence[Sequence[str]]]) -> str:
    assets = files(__package__) / "assets"
    texts = {name: (assets / name).read_text(encoding="utf-8") for name in ("page.html.j2", "style.css", "script.js")}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    columns, rows = table
    return environment.from_string(texts["page.html.j2"]).render(
        title=title,
        style=Markup(texts["style.css"]),
        script=Markup(texts["script.js"]),
        data=Markup(script_json({"entries": [_entry(entry) for entry in entries]})),
        threshold=THRESHOLD,
        colours=COLOURS,
        opacity=OPACITY,
        columns=columns,
        rows=rows,
        method=entries[0].answer.attribution.method,
        version=version("lime_xai"),
    )


def script_json(data: Any) -> str:
    """Return data as JSON that may stand in a script element: no tag or comment can begin in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _entry(entry: Entry) -> dict[str, Any]:
    found = entry.answer
    after = f"under {', '.join(_short(policy) for policy in found.policies)}" if found.policies else "the answer"
    answers = [] if found.before is None else [payload(found.before, "without a policy", entry.events)]
    answers.append(payload(found, after, entry.events))
    pictures = [one for one in found.received if one.kind == "pictures"]
    return {
        "name": entry.name,
        "text": found.text,
        "worst": _worst(found),
        "thumbnail": _thumbnail(pictures[0]) if pictures else None,
        "answers": answers,
    }


def _short(policy: str) -> str:
    """Return the class name in the repr of a policy."""
    return policy.partition("(")[0]


def _thumbnail(received: Received) -> str:
    return data_uri(received.pictures[0], THUMBNAIL)


def _grounded(found: ExplainedAnswer) -> list[tuple[float, str]]:
    words = [found.words[index] for index in found.ranked]
    return [(word.grounding, word.text) for word in words if word.grounding is not None]


def _lowest(entry: Entry) -> float:
    """Return the lowest grounding of an answer; answers without one come last."""
    return min((value for value, _ in _grounded(entry.answer)), default=float("inf"))


def _worst(found: ExplainedAnswer) -> str:
    grounded = _grounded(found)
    if not grounded:
        return "grounding not known"
    value, text = min(grounded)
    return f"{text} {value:+.2f}"


def _table(found: ExplainedAnswer) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of words."""
    names = list(found.words[0].shares) if found.words else []
    rows = []
    for word in found.words:
        grounding = "not known" if word.grounding is None else f"{word.grounding:+.2f}"
        numbers = [f"{word.probability:.3f}", f"{word.entropy:.2f}", f"{word.logit:+.2f}", f"{word.residual:+.2f}"]
        rows.append([word.text, grounding, *numbers, *(f"{word.shares[name]:.1%}" for name in names)])
    return [*COLUMNS, *(f"share of {name}" for name in names)], rows
