"""What is known of each position of a batch of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig

from .modalities import Modalities, Span, modality_masks, spans, union
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
        ``[B, T]`` bool, True on the beginning of the sequence (``beginning``).
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

    def group(self, modalities: Modalities) -> Tensor:
        """Return the positions ``[B, T]`` bool of some modalities; None: of all perceptual ones.

        A modality that the prompt does not hold has no position.
        """
        if modalities is None:
            return self.perceptual
        return union({name: mask for name, mask in self.modalities.items() if name in modalities}, self.attended)

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
        return replace(self, attended=attended, bos=beginning(config, self.input_ids, attended, self.perceptual))


def attended_mask(input_ids: Tensor, attention_mask: Any) -> Tensor:
    """Return which positions ``[B, T]`` are attended, by a two-dimensional attention mask; without one, all.

    Parameters
    ----------
    input_ids : Tensor
        ``[B, T]``.
    attention_mask : Tensor or None
        As the model is given it. Its last ``T`` columns count; a four-dimensional mask is not read.

    Raises
    ------
    ValueError
        For a mask of another shape, or of other values than 0 and 1: ``generate`` counts positions by their sum.
    """
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() == 4:
        return torch.ones_like(input_ids, dtype=torch.bool)
    rows, length = input_ids.shape
    if attention_mask.dim() != 2 or attention_mask.shape[0] != rows or attention_mask.shape[1] < length:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, the prompt {(rows, length)}; give one entry per "
            "prompt token."
        )
    other = attention_mask[(attention_mask != 0) & (attention_mask != 1)]
    if other.numel():
        raise ValueError(
            f"attention_mask holds {sorted(set(other.tolist()), key=str)[:3]}; expected 1 for what is attended and 0 "
            "for padding. It is no weight and nothing that is added to scores."
        )
    return attention_mask[:, -length:].bool()


def mask_from_padding(input_ids: Tensor, settings: GenerationConfig) -> Tensor:
    """Return the attention mask ``[B, T]`` long that ``generate`` makes where the inputs have none.

    The rule of transformers: padding tokens are not attended if the padding token is known and is no end token;
    otherwise every position is attended.

    Parameters
    ----------
    input_ids : Tensor
        ``[B, T]``.
    settings : GenerationConfig
        Of the model; names the padding token and the end tokens.
    """
    padding, ends = settings.pad_token_id, settings.eos_token_id
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    if padding is None or padding in ends:
        return torch.ones_like(input_ids)
    return input_ids.ne(padding).long()


def beginning(config: PreTrainedConfig, input_ids: Tensor, attended: Tensor, perceptual: Tensor) -> Tensor:
    """Return where ``[B, T]`` each sequence begins: one position per row, or none.

    It is the first attended position, whatever token it holds: models use it as an attention sink, and chat templates
    may repeat the beginning-of-sequence token later. If a row begins with what is perceived, its first text position is
    the beginning if it holds the beginning-of-sequence token of the config; otherwise the row has none.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model.
    input_ids, attended, perceptual : Tensor
        ``[B, T]``.
    """
    first = attended & (attended.long().cumsum(-1) == 1)
    text = attended & ~perceptual
    token = getattr(config.get_text_config(), "bos_token_id", None)
    named = torch.zeros_like(attended) if token is None else input_ids == token
    after_perceived = (first & perceptual).any(-1, keepdim=True) & text & (text.long().cumsum(-1) == 1) & named
    return (first & ~perceptual) | after_perceived


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
        If a mask has another shape than ``input_ids``.
    """
    attended = attended_mask(input_ids, attention_mask)
    modalities = modality_masks(config, input_ids, perceptual)
    bos = beginning(config, input_ids, attended, union(modalities, attended))
    return Positions(input_ids, attended, bos, modalities)


def expanded(perceptual: Perceptual, rows: int) -> Perceptual:
    """Return a user's mask, or masks, with each row repeated for ``rows`` rows, as ``generate`` expands a prompt."""
    if perceptual is None or isinstance(perceptual, Tensor):
        return perceptual if perceptual is None else expanded_mask(perceptual, rows)
    return {name: expanded_mask(mask, rows) for name, mask in perceptual.items()}


def expanded_mask(mask: Tensor, rows: int) -> Tensor:
    """Return a mask ``[B, T]`` with each row repeated; as it is if ``rows`` is no multiple, which is refused later."""
    if mask.dim() == 0 or mask.shape[0] == 0 or rows % mask.shape[0]:
        return mask
    return mask.repeat_interleave(rows // mask.shape[0], 0)
