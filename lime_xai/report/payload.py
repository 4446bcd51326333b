"""What an HTML page needs of an explained answer: words, numbers, and the maps of each word."""

from __future__ import annotations

from typing import Any

import torch

from lime_xai.attribution.events import placed_events
from lime_xai.attribution.page.items import maps_data
from lime_xai.attribution.row import RowRelevance
from lime_xai.storage.store import number

from .answer import ExplainedAnswer, ExplainedWord


def payload(found: ExplainedAnswer, title: str, events: Any = None) -> dict[str, Any]:
    """Return an answer as JSON-ready data for the page; the relevance of a word is that of what is before it.

    ``events`` are those of its sounds, as ``placed_events`` takes them.
    """
    values = torch.stack([found.relevance(word) for word in range(len(found.words))]).double().numpy()
    row = found.attribution.row(0)
    return {
        "title": title,
        "unit": "word",
        "context_title": "The prompt, and the answer before the word",
        **maps_data(
            row,
            values,
            [found.prompt_length + word.stop - 1 for word in found.words],
            placed_events(row.layouts, events),
        ),
        "context": _context(found, row),
        "words": [_word(found, word) for word in found.words],
    }


def _word(found: ExplainedAnswer, word: ExplainedWord) -> dict[str, Any]:
    names = ("text", "lead", "special", "alternative")
    numbers = ("logit", "residual", "probability", "entropy", "margin", "alternative_probability", "grounding")
    data: dict[str, Any] = {name: getattr(word, name) for name in names}
    if found.against is not None:
        data["against"] = found.against
    for name in numbers:
        value = getattr(word, name)
        data[name] = None if value is None else number(value, 4)
    data["relevance"] = {name: number(value, 4) for name, value in word.relevance.items()}
    data["shares"] = {name: number(value, 4) for name, value in word.shares.items()}
    steps = found.steps[word.start : word.stop]
    if steps and steps[0].losses:
        data["losses"] = [number(loss, 5) for loss in steps[0].losses]
    if steps and steps[0].share_before and steps[0].share_after:
        data["steps"] = f"{steps[0].share_before[0]:.2f} to {steps[0].share_after[0]:.2f}"
    return data


def _context(found: ExplainedAnswer, row: RowRelevance) -> list[dict[str, Any]]:
    """Return the words of the prompt and of the answer, with images and sounds at their places."""
    parts: list[tuple[int, dict[str, Any]]] = [
        (
            word.start,
            {"text": word.text, "lead": word.lead, "start": word.start, "stop": word.stop, "special": word.special},
        )
        for word in found.context
    ]
    parts += [(layout.positions[0], {"item": index}) for index, layout in enumerate(row.layouts)]
    length = found.prompt_length
    parts += [
        (
            length + word.start,
            {
                "text": word.text,
                "lead": word.lead,
                "start": length + word.start,
                "stop": length + word.stop,
                "special": word.special,
            },
        )
        for word in found.words
    ]
    return [part for _, part in sorted(parts, key=lambda pair: pair[0])]
