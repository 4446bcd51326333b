"""The relevance of one row, as figures and text need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lime_xai.model.layouts.layout import Grid, Layout, SoundLayout, Tile, with_grid
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.layouts.views import View as View
from lime_xai.model.layouts.views import views as views
from lime_xai.model.modalities import Span
from lime_xai.model.records import ShortRepr
from lime_xai.printing import visible

from .time import TimeRelevance, sound_of, token_times

Values = NDArray[np.float32]
GridLike = Grid | Sequence[Grid | None] | None
"""Rows and columns of the tokens of the only image of a row, or one pair per image, video and sound."""


def value_kind(against: str | None) -> str:
    """Return what a value that is explained is called: ``margin`` if another logit is subtracted, else ``logit``."""
    return "logit" if against is None else "margin"


@dataclass(frozen=True)
class Explained:
    """What the relevance of a row explains.

    Attributes
    ----------
    target : str
        As text.
    method : str
        Name of the attribution method.
    logit : float
        Sum over the tokens of an answer; of a margin, the difference of two logits.
    against : str or None
        Of a margin: the token whose logit is subtracted.
    """

    target: str
    method: str
    logit: float
    against: str | None = None

    @property
    def kind(self) -> str:
        """What ``logit`` is: ``logit`` or ``margin``."""
        return value_kind(self.against)


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
        ``[T]``: tokens as text, or their ids.
    layouts : sequence of Layout
        Of every image, video and sound, in order.
    received : sequence of Received
        One per layout, or empty: what the model received of it.
    explained : Explained or None
        What was explained, if it is known.
    """

    values: Values
    spans: Sequence[Span]
    labels: Sequence[str]
    layouts: Sequence[Layout] = ()
    received: Sequence[Received] = ()
    explained: Explained | None = None

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

    @property
    def shares(self) -> dict[str, float]:
        """Part of the absolute relevance per image, video and sound, and of the text; they add up to 1."""
        weights = np.abs(self.values.astype(np.float64))
        total = float(weights.sum()) or 1.0
        found = {
            name: float(weights[list(layout.positions)].sum()) / total
            for name, layout in zip(self.names, self.layouts, strict=True)
        }
        return found | {"text": float(weights[self.text_positions].sum()) / total}

    @property
    def residual(self) -> float | None:
        """Sum of relevance minus the logit, if that is known."""
        return None if self.explained is None else float(self.values.sum(dtype=np.float64)) - self.explained.logit

    def strongest(self) -> dict[str, float]:
        """Return the relevance with the largest absolute value per modality, text last."""
        places: dict[str, list[int]] = {}
        for layout in self.layouts:
            places.setdefault(layout.modality, []).extend(layout.positions)
        if self.text_positions:
            places["text"] = self.text_positions
        return {name: max(self.of(found).tolist(), key=abs) for name, found in places.items()}

    def picture_of(self, index: int) -> Received:
        """Return what the model received of a layout; without it, an entry that says so."""
        return self.received[index] if self.received else Received(reason="the attribution holds no pictures")

    def time(self, sound: int = 0, duration: float | None = None) -> TimeRelevance:
        """Return the relevance of a sound over time; as ``Attribution.time``."""
        layout = sound_of(self.layouts, sound)
        times = token_times(layout, sound, duration)
        return TimeRelevance(times[:, 0], times[:, 1], self.of(layout.positions).astype(np.float64))

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
        received = (
            [
                one if old is new else _on_grid(old, one)
                for old, new, one in zip(self.layouts, layouts, self.received, strict=True)
            ]
            if self.received
            else ()
        )
        return replace(self, layouts=layouts, received=received)


def _on_grid(layout: Layout, received: Received) -> Received:
    """Return what was received of a layout that is now one grid over the whole picture."""
    for view, picture in zip(views(layout), received.pictures, strict=False):
        if received.kind == "pictures" and view.tiles[0].box is not None:
            return replace(received, pictures=(picture,))
    return Received(reason="the picture of the given grid is not known")


def readable(label: str, most: int = 24) -> str:
    """Return a label as figures and text show it: white space visible, on one line, at most ``most`` characters."""
    text = visible(label.strip() or label.translate(_WHITE)).translate(_WHITE if not label.strip() else _BREAKS)
    return text if len(text) <= most else text[: most - 1] + "…"


_BREAKS = {10: "↵", 9: " "}
_WHITE = {10: "↵", 9: "⇥", 32: "␣"}
"""What stands for white space in tokens of nothing else."""


def stretches(row: RowRelevance, layout: SoundLayout) -> list[tuple[float, float, float]]:
    """Return start, stop and relevance of every stretch of a sound, in seconds, or in feature frames.

    Tokens that stand for the same stretch are summed.
    """
    times = layout.frames if layout.intervals is None else layout.intervals
    found: dict[tuple[float, float], float] = {}
    for stretch, value in zip(times, row.of(layout.positions), strict=True):
        found[stretch] = found.get(stretch, 0.0) + float(value)
    return [(start, stop, value) for (start, stop), value in found.items()]
