"""Figures of a word of an answer: on the picture, and before and after a policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lime_xai.attribution.bars import Bar, chosen, draw_bars
from lime_xai.attribution.events import placed_events
from lime_xai.attribution.figure import MARGIN, Words, composed_figure, draw_items, draw_scale, numbers_of
from lime_xai.attribution.maps import largest
from lime_xai.attribution.row import Explained, RowRelevance, value_kind
from lime_xai.attribution.sheet import (
    LARGE,
    NORMAL,
    SMALL,
    Columns,
    Sheet,
    ShownFigure,
    signed,
)
from lime_xai.attribution.targets import target_name

from .answer import ExplainedAnswer


def row_of(found: ExplainedAnswer, word: int) -> RowRelevance:
    """Return the relevance of a word as one row, with what the model received."""
    chosen_word = found.words[word]
    values = found.relevance(word).numpy()
    row = found.attribution.row(0)
    explained = Explained(name_of(found, word), found.attribution.method, chosen_word.logit, found.against)
    return replace(row, values=values, explained=explained)


def name_of(found: ExplainedAnswer, word: int) -> str:
    """Return what is explained as figures name it: a word, or ``no against yes`` for a margin."""
    return target_name(_said(found, word), found.against)


def _said(found: ExplainedAnswer, word: int) -> str:
    """Return a word; tokens may decode to white space, or to nothing."""
    return found.words[word].text.strip() or "(white space)"


def word_bars(found: ExplainedAnswer, word: int) -> list[Bar]:
    """Return a bar per word of the prompt, and of the answer before a word."""
    values = found.relevance(word).numpy()
    length = found.prompt_length
    places = [(one.text, one.start, one.stop) for one in found.context]
    places += [(one.text, length + one.start, length + one.stop) for one in found.words[:word]]
    return [Bar(text, float(values[start:stop].sum()), start) for text, start, stop in places]


def word_figure(found: ExplainedAnswer, word: int, columns: Columns = 2, events: Any = None) -> ShownFigure:
    """Return the maps of a word, and the words before it as bars."""
    row = row_of(found, word)
    title = f"Relevance for “{name_of(found, word)}” in the answer: {_marked(found, word)}"
    words = Words(title, word_caption(found, word), word_bars(found, word), "word")
    return composed_figure(row, words, columns, events=placed_events(row.layouts, events))


def _marked(found: ExplainedAnswer, word: int, around: int = 12) -> str:
    """Return the answer with a word in brackets; of a long answer, the words around it."""
    shown = [(index, one) for index, one in enumerate(found.words) if index == word or (not one.special and one.text)]
    near = [(index, one) for index, one in shown if abs(index - word) <= around]
    texts = [(one.lead, f"[{_said(found, index)}]" if index == word else one.text) for index, one in near]
    parts = [lead.replace("\n", " ") + text for lead, text in texts]
    text = "".join(parts).strip()
    before = "… " if near[0] != shown[0] else ""
    return before + text + (" …" if near[-1] != shown[-1] else "")


def value_of(found: ExplainedAnswer, word: int) -> str:
    """Return the explained value of a word with its name: logit or margin."""
    return f"{value_kind(found.against)} {signed(found.words[word].logit)}"


def word_caption(found: ExplainedAnswer, word: int) -> list[str]:
    """Return the lines below the figure of a word: method, numbers of the word, shares, strongest tokens."""
    one = found.words[word]
    grounding = "grounding not known" if one.grounding is None else f"grounding {signed(one.grounding)} nats"
    first = f"method {found.attribution.method}, {value_of(found, word)}, residual {signed(one.residual)}"
    decided = f"probability {one.probability:.3f}, instead “{one.alternative}” {one.alternative_probability:.3f}"
    shares = ", ".join(f"share of {name} {share:.1%}" for name, share in one.shares.items())
    strongest = row_of(found, word).strongest()
    tokens = ", ".join(f"strongest {name} token {signed(value)}" for name, value in strongest.items())
    lines = [f"{first}, {decided}, {grounding}", f"{shares}; {tokens}"]
    if found.policies:
        lines.append("relevance in the model without a policy")
    return lines


def before_after_figure(found: ExplainedAnswer, word: int, columns: Columns = 2) -> ShownFigure:
    """Return the maps of a word without and with the policies, beside each other, with one scale.

    Raises
    ------
    ValueError
        If there is no answer without a policy.
    """
    if found.before is None:
        raise ValueError(
            "plot_before_after needs the answer without a policy; call explain(model, inputs, policy, compare=True)."
        )
    other = counterpart(found, word)
    sides = [(found.before, other, "without a policy"), (found, word, f"under {names_of(found)}")]
    rows = [row_of(answer, index) for answer, index, _ in sides]
    bars = [word_bars(answer, index) for answer, index, _ in sides]
    limit = max(map(largest, rows))
    end = max([1e-12, *(abs(bar.value) for some in bars for bar in some)])
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    wide = (inner - 0.2) / 2
    start = sheet.wrapped(MARGIN, MARGIN, _change(found, word), inner, LARGE) + 0.04
    lefts = (MARGIN, MARGIN + wide + 0.2)
    top = max(
        sheet.wrapped(left, start, f"{name}: {_marked(answer, index, 6)}", wide, NORMAL)
        for left, (answer, index, name) in zip(lefts, sides, strict=True)
    )
    bottom = top = top + 0.05
    if rows[0].layouts:
        bottom = max(draw_items(sheet, row, (left, top, wide), limit) for left, row in zip(lefts, rows, strict=True))
        bottom = draw_scale(sheet, rows[0], (MARGIN, bottom, wide), limit)
    ends = [bottom]
    for left, some in zip(lefts, bars, strict=True):
        if some:
            total = sum(bar.value for bar in some)
            ends.append(draw_bars(sheet, chosen(some, 8, 16), total, (left, bottom + 0.04, wide), end, "word"))
    bottom = max(ends) + 0.06
    for answer, index, name in sides:
        bottom = sheet.wrapped(MARGIN, bottom, f"{name}: {_summary(answer, index)}", inner, SMALL, color="#333333")
    note = f"method {found.attribution.method}; relevance of both in the model without a policy"
    bottom = sheet.wrapped(MARGIN, bottom, note, inner, SMALL, color="#333333")
    numbers = [
        {"answer": name, "word": target_name(answer.words[index].text, answer.against)} | entry
        for (answer, index, name), row, some in zip(sides, rows, bars, strict=True)
        for entry in numbers_of(row, some, "word")
    ]
    return sheet.finished(bottom + MARGIN, numbers)


def _change(found: ExplainedAnswer, word: int) -> str:
    """Return the title of a figure of before and after: the word, or what was said in its place and the word."""
    before, other = found.before, counterpart(found, word)
    after = name_of(found, word)
    if before is None or before.words[other].text.casefold() == found.words[word].text.casefold():
        return f"“{after}” without and with the policy"
    if other == word:
        return f"“{name_of(before, other)}” → “{after}” without and with the policy"
    return f"“{after}” with the policy; the answer without it ends before this place, with “{name_of(before, other)}”"


def counterpart(found: ExplainedAnswer, word: int) -> int:
    """Return the word of the answer without a policy that is compared with a word.

    The same text that is nearest; without one, the word with the same number, or the last.
    """
    before = () if found.before is None else found.before.words
    text = found.words[word].text.casefold()
    same = [index for index, one in enumerate(before) if one.text.casefold() == text]
    return min(same, key=lambda index: abs(index - word)) if same else min(word, len(before) - 1)


def names_of(found: ExplainedAnswer) -> str:
    """Return the names of the policies without their settings."""
    return ", ".join(policy.partition("(")[0] for policy in found.policies)


def _summary(found: ExplainedAnswer, word: int) -> str:
    one = found.words[word]
    grounding = "" if one.grounding is None else f", grounding {signed(one.grounding)} nats"
    shares = ", ".join(f"{name} {share:.1%}" for name, share in one.shares.items())
    summary = f"{value_of(found, word)}, probability {one.probability:.3f}{grounding}, residual {signed(one.residual)}"
    steps = found.steps[one.start : one.stop]
    noted = ""
    if steps and steps[0].share_before and steps[0].share_after:
        noted = f"; perceptual share of the step {steps[0].share_before[0]:.1%} to {steps[0].share_after[0]:.1%}"
    return f"{summary}; shares {shares}{noted}"
