"""Figures of attributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .text import row_relevance, token_label

if TYPE_CHECKING:
    from lime_xai.result import Attribution

COLOURS = "RdBu_r"
"""Diverging: red speaks for the target, blue against it."""


def attribution_figure(
    attribution: Attribution, row: int = 0, image: Any = None, grid: tuple[int, int] | None = None
) -> Figure:
    """Return a figure of one row of an attribution.

    Left: relevance of the perceptual tokens, over the image if it is given. Right: text tokens as bars.

    Parameters
    ----------
    attribution : Attribution
        Of a token, or of an answer (summed over its tokens).
    row : int
        Of the batch.
    image : PIL.Image or array ``[H, W, 3]``, optional
        What was seen.
    grid : tuple of int, optional
        Rows and columns of image tokens; by default as square as possible.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``grid`` does not fit the number of image tokens.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    draw_perceived(left, attribution, row, image, grid)
    draw_text(right, attribution, row)
    return figure


def draw_perceived(
    axes: Axes, attribution: Attribution, row: int, image: Any = None, grid: tuple[int, int] | None = None
) -> None:
    """Draw the relevance of the perceptual tokens as a grid, over the image if it is given."""
    values = row_relevance(attribution, row)
    seen = [s for s in attribution.spans[row] if s.modality != "text"]
    part = np.concatenate([values[s.start : s.stop] for s in seen]) if seen else np.zeros(1, np.float32)
    tiles = _as_grid(part, grid)
    limit = max(float(np.abs(tiles).max()), 1e-12)
    extent = (0.0, 1.0, 0.0, 1.0)
    if image is not None:
        axes.imshow(np.asarray(image), extent=extent)
    alpha = 1.0 if image is None else 0.55
    shown = axes.imshow(tiles, cmap=COLOURS, vmin=-limit, vmax=limit, alpha=alpha, extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])
    names = " and ".join(dict.fromkeys(s.modality for s in seen)) or "nothing perceived"
    axes.set_title(f"{names}: sum {part.sum():+.2f}", fontsize=10)
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)


def _as_grid(part: NDArray[np.float32], grid: tuple[int, int] | None) -> NDArray[np.float32]:
    if grid is None:
        columns = int(np.ceil(np.sqrt(len(part))))
        grid = (-(-len(part) // columns), columns)
        part = np.pad(part, (0, grid[0] * grid[1] - len(part)))
    if grid[0] * grid[1] != len(part):
        raise ValueError(f"grid {grid} has {grid[0] * grid[1]} cells, the row {len(part)} perceptual tokens.")
    return part.reshape(grid)


def draw_text(axes: Axes, attribution: Attribution, row: int) -> None:
    """Draw the relevance of the text tokens as bars, in reading order from the top."""
    values = row_relevance(attribution, row)
    positions = [p for s in attribution.spans[row] if s.modality == "text" for p in range(s.start, s.stop)]
    heights = values[positions]
    colours = ["#b2182b" if value > 0 else "#2166ac" for value in heights]
    axes.barh(range(len(positions)), heights, color=colours)
    axes.set_yticks(range(len(positions)), [token_label(attribution, row, p) for p in positions], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_title(f"text: sum {heights.sum():+.2f}", fontsize=10)
    axes.set_xlabel("relevance")
