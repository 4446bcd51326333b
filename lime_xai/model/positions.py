"""What is known of each position of a batch of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from .modalities import Span, modality_masks, spans, union
from .records import ShortRepr

Perceptual = Tensor | Mapping[str, Tensor] | None
"""A user's mask ``[B, T]`` of perceptual positions (counted as ``image``), one mask per modality, or None."""


@dataclass(frozen=True, eq=False, repr=False)
class Positions(ShortRepr):
    """The positions of a batch of sequences, read once from ids and attention mask.

    Several objects share the tensors; none may be changed in place.

    Attributes
    ----------
    input_ids : Tensor
        ``[B, T]`` long; zeros where a prompt was given as embeddings.
    attended : Tensor
        ``[B, T]`` bool, False on padding.
    bos : Tensor
        ``[B, T]`` bool, True on the beginning-of-sequence token.
    modalities : mapping of str to Tensor
        ``[B, T]`` bool per perceptual modality that occurs; everything else is text.
    """

    input_ids: Tensor
    attended: Tensor
    bos: Tensor
    modalities: Mapping[str, Tensor]

    @property
    def length(self) -> int:
        """Number of positions ``T``."""
        return self.input_ids.shape[1]

    @cached_property
    def perceptual(self) -> Tensor:
        """``[B, T]`` bool: positions of any perceptual modality."""
        return union(self.modalities, self.attended)

    @cached_property
    def spans(self) -> list[list[Span]]:
        """Runs of consecutive positions of one modality, per row and in order; padding belongs to none."""
        return spans(self.modalities, self.attended)

    def appended(self, ids: Tensor) -> Positions:
        """Return the positions with attended text tokens ``[B, n]`` after them."""
        new = torch.zeros_like(ids, dtype=torch.bool)
        return Positions(
            torch.cat([self.input_ids, ids.to(self.input_ids)], 1),
            torch.cat([self.attended, ~new], 1),
            torch.cat([self.bos, new], 1),
            {name: torch.cat([mask, new], 1) for name, mask in self.modalities.items()},
        )

    def first(self, length: int) -> Positions:
        """Return the first ``length`` positions."""
        masks = {name: mask[:, :length] for name, mask in self.modalities.items()}
        return Positions(self.input_ids[:, :length], self.attended[:, :length], self.bos[:, :length], masks)

    def repeated(self, rows: int) -> Positions:
        """Return the positions with each row repeated, for ``rows`` rows in all: beams and returned sequences.

        Raises
        ------
        ValueError
            If ``rows`` is no multiple of the number of rows.
        """
        batch = self.input_ids.shape[0]
        if rows == batch:
            return self
        if rows % batch:
            raise ValueError(f"generate runs {rows} rows for a prompt of {batch}; expected a multiple.")
        return self.select(torch.arange(batch, device=self.input_ids.device).repeat_interleave(rows // batch))

    def select(self, rows: Tensor) -> Positions:
        """Return chosen rows, ``rows`` ``[B']``: in a beam search a sequence can go on in another row."""
        rows = rows.to(self.input_ids.device)
        masks = {name: mask[rows] for name, mask in self.modalities.items()}
        return Positions(self.input_ids[rows], self.attended[rows], self.bos[rows], masks)

    def attending(self, config: PreTrainedConfig, attention_mask: Any) -> Positions:
        """Return the same positions under the attention mask that the model is given.

        ``generate`` makes a mask from the padding token where the inputs have none, and takes one as a keyword. A mask
        that is not two-dimensional changes nothing here.
        """
        if isinstance(attention_mask, Tensor) and attention_mask.dim() != 2:
            return self
        attended = attended_mask(self.input_ids, attention_mask).to(self.attended.device)
        if torch.equal(attended, self.attended):
            return self
        return replace(self, attended=attended, bos=bos_mask(config, self.input_ids, attended))


def attended_mask(input_ids: Tensor, attention_mask: Any) -> Tensor:
    """Return which positions ``[B, T]`` are attended, by a two-dimensional attention mask; without one, all.

    Parameters
    ----------
    input_ids : Tensor
        ``[B, T]``.
    attention_mask : Tensor or None
        As the model is given it. Its last ``T`` columns count; a four-dimensional mask is not read.
    """
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
        return attention_mask[:, -input_ids.shape[1] :].bool()
    return torch.ones_like(input_ids, dtype=torch.bool)


def bos_token(config: PreTrainedConfig) -> int | None:
    """Return the id of the beginning-of-sequence token that a config names, or None."""
    found = getattr(config.get_text_config(), "bos_token_id", None)
    return found if isinstance(found, int) else None


def bos_mask(config: PreTrainedConfig, input_ids: Tensor, attended: Tensor) -> Tensor:
    """Return where ``[B, T]`` the beginning-of-sequence token of a config stands among attended positions."""
    token = bos_token(config)
    return torch.zeros_like(attended) if token is None else (input_ids == token) & attended


def read_positions(
    config: PreTrainedConfig, input_ids: Tensor, attention_mask: Any = None, perceptual: Perceptual = None
) -> Positions:
    """Return the positions of a prompt.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model; names placeholder tokens and the beginning-of-sequence token.
    input_ids : Tensor
        ``[B, T]``.
    attention_mask : Tensor, optional
        ``[B, T]``.
    perceptual : Tensor or mapping of str to Tensor, optional
        ``[B, T]`` masks instead of the placeholders.

    Raises
    ------
    ValueError
        If a user's mask has another shape than ``input_ids``.
    """
    attended = attended_mask(input_ids, attention_mask)
    bos = bos_mask(config, input_ids, attended)
    return Positions(input_ids, attended, bos, modality_masks(config, input_ids, perceptual))
