"""Relevance as text for a terminal."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from .row import RowRelevance

_SHADES = " ░▒▓█"


def relevance_text(row: RowRelevance, columns: int | None = None) -> Text:
    """Return one row: perceptual tokens as a shaded grid, text tokens with their values.

    Parameters
    ----------
    row : RowRelevance
        The row.
    columns : int, optional
        Perceptual tokens per line; by default as square as possible.

    Returns
    -------
    rich.text.Text
        Green where relevance is positive, red where negative; the fuller a cell, the more relevance
        (of either sign).
    """
    text = Text()
    for span in row.spans:
        part = row.values[span.start : span.stop]
        if span.modality == "text":
            for offset, value in enumerate(part):
                text.append(f"{row.labels[span.start + offset]} ")
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
