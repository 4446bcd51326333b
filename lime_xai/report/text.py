"""Relevance as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

if TYPE_CHECKING:
    from lime_xai.result import Attribution

_SHADES = " ░▒▓█"


def relevance_text(attribution: Attribution, row: int = 0, columns: int | None = None) -> Text:
    """Return one row: perceptual tokens as a shaded grid, text tokens with their values.

    Parameters
    ----------
    attribution : Attribution
        Of a single token, or of an answer (summed over its tokens).
    row : int
        Of the batch.
    columns : int, optional
        Perceptual tokens per line; by default as square as possible.

    Returns
    -------
    rich.text.Text
        Green where relevance is positive, red where negative; the fuller a cell, the more relevance
        (of either sign).
    """
    values = row_relevance(attribution, row)
    text = Text()
    for span in attribution.spans[row]:
        part = values[span.start : span.stop]
        if span.modality == "text":
            for offset, value in enumerate(part):
                text.append(f"{token_label(attribution, row, span.start + offset)} ")
                text.append(f"{value:+.2f} ", style=_style(value))
            text.append("\n")
            continue
        width = columns or int(np.ceil(np.sqrt(len(part))))
        scale = max(float(np.abs(part).max()), 1e-12)
        text.append(f"\n{span.modality}: {len(part)} tokens, sum {part.sum():+.2f}, a full cell is {scale:.2f}\n")
        for start in range(0, len(part), width):
            for value in part[start : start + width]:
                shade = _SHADES[min(int(abs(value) / scale * len(_SHADES)), len(_SHADES) - 1)]
                text.append(shade * 2, style=_style(value))
            text.append("\n")
    return text


def _style(value: float) -> str:
    return "green" if value > 0 else "red"


def row_relevance(attribution: Attribution, row: int) -> NDArray[np.float32]:
    """Return the relevance ``[T]`` of one row, summed over the tokens of an answer."""
    relevance = attribution.relevance[row]
    if relevance.dim() == 2:
        relevance = relevance.sum(0)
    values: NDArray[np.float32] = relevance.cpu().numpy()
    return values


def token_label(attribution: Attribution, row: int, position: int) -> str:
    """Return the label of a token, its id if there are no labels."""
    if attribution.tokens is not None:
        return attribution.tokens[row][position]
    return str(int(attribution.input_ids[row, position]))
