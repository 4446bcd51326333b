"""The relevance of one row, as figures and text need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lime_xai.model.modalities import Span
from lime_xai.model.records import ShortRepr


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
    """

    values: NDArray[np.float32]
    spans: Sequence[Span]
    labels: Sequence[str]

    @property
    def perceptual(self) -> list[Span]:
        """The spans that are not text."""
        return [span for span in self.spans if span.modality != "text"]

    @property
    def text_positions(self) -> list[int]:
        """Positions of text tokens, in order."""
        return [p for span in self.spans if span.modality == "text" for p in range(span.start, span.stop)]
