"""Figures of attributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .row import RowRelevance

COLOURS = "RdBu_r"
"""Diverging: red is positive relevance, blue negative."""


def attribution_figure(
    row: RowRelevance,
    image: Any = None,
    grid: tuple[int, int] | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure of one row of an attribution.

    From left to right: the image (if given), relevance of the perceptual tokens, text tokens as bars.

    Parameters
    ----------
    row : RowRelevance
        The row.
    image : PIL.Image or array ``[H, W, 3]``, optional
        The picture.
    grid : tuple of int, optional
        Rows and columns of perceptual tokens; by default as square as possible.
    title : str, optional
        Over the whole figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``grid`` does not fit the number of perceptual tokens.
    """
    ratios = (1.0, 1.25, 1.5) if image is not None else (1.25, 1.5)
    figure = Figure(figsize=(3.6 * sum(ratios) / 1.2, 3.8), layout="constrained")
    *first, middle, right = np.atleast_1d(figure.subplots(1, len(ratios), width_ratios=ratios))
    if first:
        first[0].imshow(np.asarray(image))
        first[0].set_axis_off()
        first[0].set_title("image", fontsize=10)
    draw_perceived(middle, row, grid)
    draw_text(right, row)
    if title is not None:
        figure.suptitle(title, fontsize=11)
    return figure


def draw_perceived(axes: Axes, row: RowRelevance, grid: tuple[int, int] | None = None) -> None:
    """Draw the relevance of the perceptual tokens as a grid."""
    seen = row.perceptual
    part = np.concatenate([row.values[s.start : s.stop] for s in seen]) if seen else np.zeros(1, np.float32)
    tiles = _as_grid(part, grid)
    limit = max(float(np.abs(tiles).max()), 1e-12)
    shown = axes.imshow(tiles, cmap=COLOURS, vmin=-limit, vmax=limit)
    axes.set_xticks([])
    axes.set_yticks([])
    names = " and ".join(dict.fromkeys(s.modality for s in seen))
    axes.set_title(f"relevance of the {names}: {part.sum():+.2f}" if seen else "nothing perceived", fontsize=10)
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)


def _as_grid(part: NDArray[np.float32], grid: tuple[int, int] | None) -> NDArray[np.float32]:
    if grid is None:
        columns = int(np.ceil(np.sqrt(len(part))))
        grid = (-(-len(part) // columns), columns)
        part = np.pad(part, (0, grid[0] * grid[1] - len(part)))
    if grid[0] * grid[1] != len(part):
        raise ValueError(f"grid {grid} has {grid[0] * grid[1]} cells, the row {len(part)} perceptual tokens.")
    return part.reshape(grid)


def draw_text(axes: Axes, row: RowRelevance) -> None:
    """Draw the relevance of the text tokens as bars, in reading order from the top."""
    positions = row.text_positions
    heights = row.values[positions]
    colours = ["#b2182b" if value > 0 else "#2166ac" for value in heights]
    axes.barh(range(len(positions)), heights, color=colours)
    axes.set_yticks(range(len(positions)), [row.labels[p] for p in positions], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_title(f"relevance of the text: {heights.sum():+.2f}", fontsize=10)
    axes.set_xlabel("relevance")
