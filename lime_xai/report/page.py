"""HTML pages of explained answers: one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lime_xai.attribution.page.items import data_uri
from lime_xai.attribution.page.template import Page, rendered
from lime_xai.attribution.row import value_kind
from lime_xai.attribution.targets import target_name
from lime_xai.model.layouts.pictures import Received
from lime_xai.printing import signed

from .answer import ExplainedAnswer
from .opening import opening
from .payload import payload

THRESHOLD = 0.5
"""Grounding in nats below which a page marks words at first."""

THUMBNAIL = 96
"""Pixels of the longer side of a thumbnail."""

TABLE_MOST = 1000
"""Words of a page of several answers that are shown as a table too."""

COLUMNS = ("word", "grounding", "probability", "entropy")
"""Of the table, before what is explained and the shares."""


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
    return _page([Entry("", found, events)], heading)


def report_page(entries: Sequence[Entry], title: str) -> str:
    """Return the page of several answers: those with the worst grounded words come first.

    Raises
    ------
    ValueError
        If there is no answer.
    """
    if not entries:
        raise ValueError("A report needs at least one answer.")
    return _page(worst_first(entries), title)


def worst_first(entries: Sequence[Entry]) -> list[Entry]:
    """Return answers by the lowest grounding of their words; answers without one come last."""
    return sorted(entries, key=_lowest)


def worst_word(found: ExplainedAnswer) -> tuple[float, str] | None:
    """Return the lowest grounding of an answer in nats, and its word; None if grounding is not known."""
    return min(_grounded(found), default=None)


def _page(entries: Sequence[Entry], title: str) -> str:
    columns, rows = _table(entries)
    method = entries[0].answer.attribution.method
    return rendered(Page(title, list(map(_entry, entries)), method, "word", THRESHOLD, columns, rows))


def _entry(entry: Entry) -> dict[str, Any]:
    found = entry.answer
    after = f"under {', '.join(_short(policy) for policy in found.policies)}" if found.policies else "the answer"
    answers = [] if found.before is None else [payload(found.before, "without a policy", entry.events)]
    answers.append(payload(found, after, entry.events))
    if len(answers) > 1:  # the same relevance has the same colour in both
        limit = max(answer["limit"] for answer in answers)
        answers = [answer | {"limit": limit, "shared": True} for answer in answers]
    firsts, why = opening(found)
    answers = [answer | {"first": first} for answer, first in zip(answers, firsts, strict=True)]
    pictures = [one for one in found.received if one.kind == "pictures"]
    return {
        "name": entry.name,
        "text": found.text,
        "worst": _worst(found),
        "opening": why,
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
    worst = worst_word(found)
    if worst is None:
        return "grounding not known"
    value, text = worst
    return f"{text} {signed(value)}"


def _table(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of words; shares that an answer does not have are empty.

    A page of several answers with more than ``TABLE_MOST`` words has none: it would weigh more than all maps.
    """
    words = [(entry, word) for entry in entries for word in entry.answer.words]
    several = len(entries) > 1
    if several and len(words) > TABLE_MOST:
        return [], []
    names = list(dict.fromkeys(name for _, word in words for name in word.shares))
    rows = []
    for entry, word in words:
        grounding = "not known" if word.grounding is None else signed(word.grounding)
        numbers = [f"{word.probability:.3f}", f"{word.entropy:.2f}", signed(word.logit), signed(word.residual)]
        shares = [f"{word.shares[name]:.1%}" if name in word.shares else "" for name in names]
        cells = [target_name(word.text, entry.answer.against), grounding, *numbers, *shares]
        rows.append([*cells, entry.name] if several else cells)
    explained = value_kind(entries[0].answer.against)
    columns = [*COLUMNS, explained, "residual", *(f"share of {name}" for name in names)]
    return [*columns, "file"] if several else columns, rows
