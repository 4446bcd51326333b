"""The HTML page of an attribution: a section per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lime_xai.attribution.events import placed_events
from lime_xai.attribution.row import RowRelevance, readable
from lime_xai.attribution.targets import IGNORED, target_name
from lime_xai.printing import signed
from lime_xai.storage.store import number
from lime_xai.values.checking import shown

from .items import maps_data
from .template import Page, rendered

if TYPE_CHECKING:
    from lime_xai.attribution.result import Attribution

Values = NDArray[np.float64]


def attribution_page(found: Attribution, title: str | None = None, events: Any = None) -> str:
    """Return the page of an attribution, with a table of what is explained.

    Parameters
    ----------
    found : Attribution
        Of one prompt or a batch: each row has a section with its own scale.
    title : str, optional
        By default what is explained.
    events : mapping or sequence, optional
        Of the sounds, as ``placed_events`` takes them; of a batch, one entry per row.

    Raises
    ------
    ValueError
        For events that do not fit the sounds, and for another number of entries than rows.
    """
    rows = len(found.relevance)
    by_row = [events] * rows if events is None or rows == 1 else events
    if not isinstance(by_row, list | tuple) or len(by_row) != rows:
        raise ValueError(f"events is {shown(events)}; expected a list of {rows}, one entry per row, None for none.")
    sections = [_section(found, index, by_row[index]) for index in range(rows)]
    several = len(sections) > 1
    heading = title or (f"Relevance for {len(sections)} prompts" if several else f"Relevance for {_target(found, 0)}")
    columns, table = _table(sections, several)
    entry = {"name": "", "text": "", "worst": "", "thumbnail": None, "answers": sections}
    return rendered(Page(heading, [entry], found.method, "token", None, columns, table))


def _section(found: Attribution, index: int, events: Any) -> dict[str, Any]:
    """Return one row as JSON-ready data."""
    row = found.row(index)
    bounds = placed_events(row.layouts, events)
    labels, places, values = _explained(found, index)
    decoded = found.relevance.shape[1] - 1 if found.relevance.dim() == 3 else 0
    prompt = found.relevance.shape[-1] - decoded
    several = len(found.relevance) > 1
    end = prompt + places[-1]  # what follows the last token of a shorter answer stands for nothing
    shown = [place < end and attended for place, attended in enumerate(found.attended[index].tolist())]
    return {
        "title": f"row {index}: {_target(found, index)}" if several else f"method {found.method}",
        "unit": "token",
        "context_title": "The prompt, and the answer before the token" if len(labels) > 1 else "The prompt",
        "first": 0,
        **maps_data(row, values, [prompt + place if decoded else prompt for place in places], bounds),
        "context": _context(row, shown, found.tokens is not None),
        "words": [
            _word(found, index, place, label, relevance, _parts(row, prompt))
            for label, place, relevance in zip(labels, places, values, strict=True)
        ],
    }


def _target(found: Attribution, index: int) -> str:
    """Return what a row explains, as text."""
    return f"“{found.targets[index]}”" if found.targets and found.targets[index] else "the target"


def _said(found: Attribution, index: int) -> str:
    """Return the token of a margin from whose logit the other is subtracted."""
    if found.target_tokens is not None:
        return found.target_tokens[index][0]
    return f"token {int(found.target_ids[index, 0])}"


def _explained(found: Attribution, index: int) -> tuple[list[str], list[int], Values]:
    """Return labels ``[W]`` of the explained tokens, their places in the answer, and their relevance ``[W, T]``."""
    values = found.relevance[index].double().cpu().numpy()
    if values.ndim == 1:
        return [found.targets[index] if found.targets else "target"], [0], values[None]
    ids = found.target_ids[index].tolist()
    kept = [place for place, token in enumerate(ids) if token != IGNORED]
    named = found.target_tokens
    labels = [f"token {ids[place]}" if named is None else named[index][place] for place in kept]
    return labels, kept, values[kept]


def _parts(row: RowRelevance, prompt: int) -> dict[str, list[int]]:
    """Return the positions of every image, video and sound, of the text of the prompt and of the answer."""
    found = {name: list(layout.positions) for name, layout in zip(row.names, row.layouts, strict=True)}
    found["prompt"] = [position for position in row.text_positions if position < prompt]
    if len(row.values) > prompt:
        found["answer"] = [position for position in row.text_positions if position >= prompt]
    return found


def _word(
    found: Attribution, index: int, place: int, label: str, values: Values, parts: dict[str, list[int]]
) -> dict[str, Any]:
    """Return what is known of an explained token; what a plain attribution does not know is left out."""
    logit = float(found.logits[index].reshape(-1)[place])
    total = float(np.abs(values).sum()) or 1.0
    text = label.strip()
    data: dict[str, Any] = {
        "text": text,
        "lead": label[: len(label) - len(label.lstrip())] or " ",
        "special": False,
        "logit": number(logit, 4),
        "residual": number(float(values.sum()) - logit, 4),
        "relevance": {name: number(float(values[held].sum()), 4) for name, held in parts.items()},
        "shares": {name: number(float(np.abs(values[held]).sum()) / total, 4) for name, held in parts.items()},
    }
    if found.against is not None:
        data |= {"text": _said(found, index).strip(), "against": found.against[index]}
    if found.convergence_delta is not None:
        data["convergence_delta"] = number(float(found.convergence_delta[index].reshape(-1)[place]), 4)
    return data


def _context(row: RowRelevance, shown: list[bool], named: bool) -> list[dict[str, Any]]:
    """Return the text tokens of a row that are shown, with images, videos and sounds at their places.

    ``named``: whether labels are texts with the white space before them, and not ids.
    """
    parts: list[tuple[int, dict[str, Any]]] = []
    for position in row.text_positions:
        if not shown[position]:
            continue
        label = row.labels[position]
        text = label.strip()
        lead = label[: len(label) - len(label.lstrip())]
        span = {"text": text or readable(label), "lead": (lead if named else " ") if text else "", "special": False}
        parts.append((position, span | {"start": position, "stop": position + 1}))
    parts += [(layout.positions[0], {"item": index}) for index, layout in enumerate(row.layouts)]
    return [part for _, part in sorted(parts, key=lambda pair: pair[0])]


def _table(sections: list[dict[str, Any]], several: bool) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the table of what is explained; shares that a row does not have are empty."""
    names = list(dict.fromkeys(name for section in sections for word in section["words"] for name in word["shares"]))
    rows = []
    for index, section in enumerate(sections):
        for word in section["words"]:
            shares = [f"{word['shares'][name]:.1%}" if name in word["shares"] else "" for name in names]
            name = target_name(word["text"], word.get("against"))
            cells = [name, _signed(word["logit"]), _signed(word["residual"]), *shares]
            rows.append([*cells, str(index)] if several else cells)
    margins = all("against" in word for section in sections for word in section["words"])
    columns = ["token", "margin" if margins else "logit", "residual", *(f"share of {name}" for name in names)]
    return [*columns, "row"] if several else columns, rows


def _signed(value: float | None) -> str:
    return "not finite" if value is None else signed(value)
