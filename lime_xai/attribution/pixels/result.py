"""The result of an attribution to pixels and spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lime_rules import Audit
from lime_xai.attribution.result import Attribution
from lime_xai.model.modalities import PERCEPTUAL
from lime_xai.model.records import Content

from .files import read_pixels, write_pixels
from .maps import PixelMap, pixel_maps

if TYPE_CHECKING:
    from lime_xai.attribution.sheet import ShownFigure


@dataclass(frozen=True, eq=False, repr=False)
class PixelAttribution(Content):
    r"""Relevance :math:`x \cdot \tilde\nabla_x z` of every pixel and of every cell of a spectrogram for a logit.

    Attributes
    ----------
    relevance : dict of str to Tensor
        Per picture, video or sound input, by its name (``pixel_values``, ``input_features``): of its very shape,
        float32. For an answer of ``G`` tokens explained one by one, ``[G, *shape]``. Rows of a batch are in it as in
        the input.
    tokens : Attribution
        Relevance of the decoder's inputs, as ``attribute`` returns it.
    inputs : dict of str to Tensor
        What the model was given.
    coverage : Audit
        Modules of the encoder with their rules, and what has none; ``coverage.verdict`` in a few words.
    """

    relevance: dict[str, Tensor]
    tokens: Attribution
    inputs: dict[str, Tensor]
    coverage: Audit
    config: Any = field(default=None, repr=False, compare=False)
    companions: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def conservation(self) -> dict[str, Tensor]:
        """What the encoder keeps of the relevance, over all rows: scalars, or ``[G]``; float64.

        ``tokens`` is the sum over image, video and audio tokens, ``inputs`` that over pixels and spectrograms. What is
        between them went to biases, position embeddings and class tokens of the encoder, or was added by rules that do
        not conserve (softmax of attention).
        """
        mask = torch.stack([self.tokens.mask(name) for name in PERCEPTUAL]).any(0)
        found = self.tokens.relevance.double()
        found = found * (mask[:, None] if found.dim() == 3 else mask)
        tokens = found.sum((0, 2)) if found.dim() == 3 else found.sum()
        parts = [
            value.double().flatten(value.dim() - self.inputs[name].dim()).sum(-1)
            for name, value in self.relevance.items()
        ]
        return {"tokens": tokens, "inputs": torch.stack(parts).sum(0)}

    def maps(self) -> list[PixelMap]:
        """Return the relevance of every picture, tile, video and sound in rows and columns.

        Summed over colours, and over the tokens of an answer. Where the order of pixels in an input is not known, one
        map of kind ``unknown`` with the reason.
        """
        found = []
        for name, value in self.relevance.items():
            whole = value.sum(0) if value.dim() > self.inputs[name].dim() else value
            found += pixel_maps(name, whole, self.companions, self.config)
        return found

    def seen(self) -> list[PixelMap]:
        """Return what the model was given, in the form of ``maps``: to be drawn below them."""
        found = []
        for name, value in self.inputs.items():
            found += pixel_maps(name, value, self.companions, self.config)
        return found

    def plot(self, title: str | None = None) -> ShownFigure:
        """Return a figure: what the model was given, and the relevance on one signed scale.

        ``figure.save(path)`` also writes a line per map as CSV: its sum and its strongest value.

        Parameters
        ----------
        title : str, optional
            Over the figure.

        Raises
        ------
        ValueError
            If no map is known; with the reasons.
        """
        from .figure import pixel_figure  # matplotlib is slow to import

        return pixel_figure(self, title)

    def save(self, path: str | Path) -> None:
        """Write everything, the inputs and the attribution to tokens included, to one safetensors file.

        Of the model's configuration, what maps need is kept.

        Raises
        ------
        ValueError
            If there is no such folder.
        """
        write_pixels(path, self)

    @classmethod
    def load(cls, path: str | Path) -> PixelAttribution:
        """Read what ``save`` wrote; tensors are on the CPU.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is a file of something else, or damaged.
        """
        return cls(**read_pixels(path))
