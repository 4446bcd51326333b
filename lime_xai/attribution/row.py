"""The relevance of one row, as figures and text need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lime_xai.model.layouts.layout import Grid, Layout, SoundLayout, Tile, with_grid
from lime_xai.model.layouts.views import View as View
from lime_xai.model.layouts.views import views as views
from lime_xai.model.modalities import Span
from lime_xai.model.records import ShortRepr

Values = NDArray[np.float32]
GridLike = Grid | Sequence[Grid | None] | None
"""Rows and columns of the tokens of the only image of a row, or one pair per image, video and sound."""


@dataclass(frozen=True, eq=False, repr=False)
class RowRelevance(ShortRepr):
    """One row of an attribution.

    Attributes
    ----------
    values : numpy.ndarray
        ``[T]`` float32: relevance, summed over the tokens of an answer.
    spans : sequence of Span
        Where image, video, audio and text tokens lie, in order.
    labels : sequence of str
        ``[T]``: tokens as the tokenizer writes them, or their ids.
    layouts : sequence of Layout
        Of every image, video and sound, in order.
    """

    values: Values
    spans: Sequence[Span]
    labels: Sequence[str]
    layouts: Sequence[Layout] = ()

    @property
    def text_positions(self) -> list[int]:
        """Positions of text tokens, in order."""
        return [p for span in self.spans if span.modality == "text" for p in range(span.start, span.stop)]

    @property
    def names(self) -> list[str]:
        """Of every layout: its modality, numbered from 1 where there are several."""
        found = []
        for index, layout in enumerate(self.layouts):
            same = [other.modality == layout.modality for other in self.layouts]
            found.append(layout.modality if sum(same) == 1 else f"{layout.modality} {sum(same[: index + 1])}")
        return found

    def of(self, positions: Sequence[int]) -> Values:
        """Return the relevance of some positions."""
        return self.values[list(positions)]

    def tile(self, tile: Tile) -> Values:
        """Return the relevance of a tile, ``[rows, columns]``."""
        return self.of(tile.positions).reshape(tile.grid)

    def with_grids(self, grid: GridLike) -> RowRelevance:
        """Return the row with layouts as a user says.

        Parameters
        ----------
        grid : (int, int) or sequence of (int, int) or None, optional
            Rows and columns of the only image, video or sound; or one entry for each, None where the layout stays.

        Raises
        ------
        TypeError
            If it is neither.
        ValueError
            For another number of entries or of tokens.
        """
        if grid is None:
            return self
        if isinstance(grid, str) or not isinstance(grid, Sequence):
            raise TypeError(f"grid is {grid!r}; expected (rows, columns), or one pair per image.")
        pairs: list[Any] = list(grid)
        if len(pairs) == 2 and not any(isinstance(side, (Sequence, type(None))) for side in pairs):
            pairs = [(pairs[0], pairs[1])]
        if len(pairs) != len(self.layouts):
            raise ValueError(
                f"grid has {len(pairs)} pairs, the row {len(self.layouts)} images, videos and sounds; give (rows, "
                "columns) for each, or None where the layout stays."
            )
        layouts = [old if new is None else with_grid(old, new) for old, new in zip(self.layouts, pairs, strict=True)]
        return replace(self, layouts=layouts)


def stretches(row: RowRelevance, layout: SoundLayout) -> list[tuple[float, float, float]]:
    """Return start, stop and relevance of every stretch of a sound, in seconds, or in feature frames.

    Tokens that stand for the same stretch are summed.
    """
    times = layout.frames if layout.intervals is None else layout.intervals
    found: dict[tuple[float, float], float] = {}
    for stretch, value in zip(times, row.of(layout.positions), strict=True):
        found[stretch] = found.get(stretch, 0.0) + float(value)
    return [(start, stop, value) for (start, stop), value in found.items()]
