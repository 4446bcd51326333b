"""The target of an attribution: a token, a margin, a phrase or a whole answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from lime_xai.attribution.phrases import encode_phrase
from lime_xai.model.arguments import check_values, holds_whole_numbers
from lime_xai.model.cache import detach_inference
from lime_xai.model.modalities import Span
from lime_xai.model.numbers import check_finite
from lime_xai.model.pieces import pieces, readable_labels, token_labels
from lime_xai.model.records import Content

IGNORED = -100
"""Id that pads answers of different length; its relevance is zero."""

TargetLike = int | str | tuple[int, int] | Sequence[int] | Tensor | None


@dataclass(frozen=True, eq=False, repr=False)
class Target(Content):
    """The tokens whose logits are explained.

    Attributes
    ----------
    ids : Tensor or None
        ``[B, G]``; None: the argmax at the last prompt position.
    against : Tensor or None
        ``[B, 1]``: the token whose logit is subtracted (a margin).
    answer : bool
        Whether ``ids`` are decoded one after the other (a phrase or answer).
    """

    ids: Tensor | None
    against: Tensor | None = None
    answer: bool = False

    def chosen(self, logits: Tensor) -> Target:
        """Return the target with the token of the largest logit if none was given, for logits ``[B, G, V]``.

        Raises
        ------
        FloatingPointError
            For NaN or infinite logits.
        """
        check_finite(logits.flatten(0, 1))
        return self if self.ids is not None else replace(self, ids=logits[:, -1].argmax(-1, keepdim=True))

    def values(self, logits: Tensor) -> Tensor:
        """Return the explained values ``[B, G]`` of logits ``[B, G, V]``.

        Raises
        ------
        ValueError
            If the target has no token ids yet.
        """
        if self.ids is None:
            raise ValueError("The target has no token ids.")
        return target_values(logits, self.ids, self.against)

    def ordinary(self) -> Target:
        """Return the target with tensors that may enter a graph, also if they were made in inference mode."""
        return replace(self, ids=detach_inference(self.ids), against=detach_inference(self.against))

    def texts(self, processor: Any = None) -> list[str]:
        """Return per row what is explained, as text: a token, a phrase, ``yes against no``; ids without a processor.

        Raises
        ------
        ValueError
            If the target has no token ids yet.
        """
        if self.ids is None:
            raise ValueError("The target has no token ids.")
        found = [_text(row, processor) for row in self.ids.tolist()]
        others = self.others(processor)
        if others is None:
            return found
        return [target_name(one, other) for one, other in zip(found, others, strict=True)]

    def others(self, processor: Any = None) -> list[str] | None:
        """Return per row the token whose logit is subtracted, as text; None if the target is no margin."""
        if self.against is None:
            return None
        return [_text(row, processor) for row in self.against.tolist()]

    def labels(self, processor: Any, before: Sequence[int]) -> list[list[str]] | None:
        """Return the tokens of every row as text, empty where an answer is shorter; None without a processor.

        Parameters
        ----------
        processor : object or None
            Decodes them.
        before : sequence of int
            The last token of every prompt.
        """
        if processor is None or self.ids is None:
            return None
        return [_labels(row, processor, last) for row, last in zip(self.ids.tolist(), before, strict=True)]

    @property
    def continuation(self) -> Tensor | None:
        """The tokens to force while decoding, ``[B, G]``, or None for a single step."""
        return self.ids.clamp(min=0) if self.answer and self.ids is not None else None


def target_name(said: str, other: str | None) -> str:
    """Return the name of what is explained: ``no against yes`` for a margin, else the token or word alone."""
    return said if other is None else f"{said} against {other}"


def _text(ids: Sequence[int], processor: Any) -> str:
    """Return tokens as text, or their ids without a processor; padding is left out."""
    real = [token for token in ids if token != IGNORED]
    if processor is not None:
        text = "".join(piece.text for piece in pieces(real, processor)).strip()
        labels = token_labels(torch.tensor([real]), processor) or [[]]
        return text or " ".join(labels[0])
    return f"token{'s' if len(real) != 1 else ''} {', '.join(map(str, real))}"


def _labels(ids: Sequence[int], processor: Any, before: int) -> list[str]:
    """Return tokens of an answer as text, with the white space before them."""
    real = [token for token in ids if token != IGNORED]
    joined = torch.tensor([[before, *real]])
    found = readable_labels(joined, [[Span("text", 1, 1 + len(real))]], processor) or [[]]
    named = iter(found[0][1:])
    return ["" if token == IGNORED else next(named) for token in ids]


def target_values(logits: Tensor, ids: Tensor, against: Tensor | None = None) -> Tensor:
    """Return the explained values ``[B, G]``: a logit, or a margin, per token; 0 where an answer has ended.

    Parameters
    ----------
    logits : Tensor
        ``[B, G, V]``, or parts of logits.
    ids : Tensor
        ``[B, G]``.
    against : Tensor, optional
        ``[B, 1]``: the token whose logit is subtracted.
    """
    values = logits.gather(-1, ids.clamp(min=0)[..., None])[..., 0]
    if against is not None:
        values = values - logits.gather(-1, against[..., None])[..., 0]
    return values * (ids != IGNORED)


def resolve_target(
    target: TargetLike,
    rows: int,
    vocabulary: int,
    device: Any,
    processor: Any = None,
    prompt: Tensor | None = None,
) -> Target:
    """Return the target that a user gave.

    Parameters
    ----------
    target : int, tuple of two int, str, sequence of int, Tensor or None
        A token id; a margin (first minus second); a phrase (needs a processor or tokenizer); token ids of a
        phrase; a tensor ``[B]`` (one token id per row) or ``[B, G]`` (an answer per row, padded with -100);
        None: the token the model would choose. Many tokenizers have different tokens for a word with and without a
        space before it: a phrase after a prompt that does not end in white space is read with one.
    rows : int
        Batch size.
    vocabulary : int
        Number of logits.
    device : torch.device
        Where the ids go.
    processor : object, optional
        Encodes a phrase.
    prompt : Tensor, optional
        ``[B, T]``: ids of the prompt that a phrase follows.

    Returns
    -------
    Target

    Raises
    ------
    ValueError
        For ids out of range, an empty phrase, a phrase without a processor, with text that its tokenizer does not
        know or drops, or after prompts of which only some end in white space; for a set, mapping or bytes; for a tensor
        of another shape, or with padding anywhere but at the end of an answer.

    Warns
    -----
    UserWarning
        If a phrase was read with a space before it.
    """
    if target is None:
        return Target(None)
    if isinstance(target, bool):
        raise ValueError("target is a bool; expected a token id, a margin, a phrase or an answer.")
    if isinstance(target, Integral):
        return Target(torch.full((rows, 1), _id(target, vocabulary), device=device))
    if isinstance(target, tuple):
        if len(target) != 2:
            raise ValueError(
                f"target is a tuple of {len(target)}; a margin has two token ids. Use a list for a phrase."
            )
        first, second = (torch.full((rows, 1), _id(token, vocabulary), device=device) for token in target)
        return Target(first, second)
    if isinstance(target, str):
        target = encode_phrase(target, processor, prompt)
    if isinstance(target, Tensor):
        check_values("target", target)
        if not holds_whole_numbers(target):
            raise ValueError(f"target is a tensor of {target.dtype}; token ids are whole numbers.")
        if target.dim() == 1 and target.shape[0] == rows:
            return Target(_in_range(target.to(device)[:, None], vocabulary))
        if target.dim() != 2 or target.shape[0] != rows or target.shape[1] == 0:
            raise ValueError(f"target has shape {tuple(target.shape)}; expected [{rows}] or [{rows}, answer length].")
        return Target(_in_range(target.to(device), vocabulary, padded=True), answer=True)
    if isinstance(target, (Set, Mapping, bytes, bytearray)):
        raise ValueError(
            f"target is a {type(target).__name__}; a phrase is text, or a list of token ids in the order of the phrase."
        )
    if not isinstance(target, Iterable):
        raise ValueError(f"target is {target!r}, a {type(target).__name__}; token ids are whole numbers.")
    ids = torch.tensor([_id(token, vocabulary) for token in target], dtype=torch.long, device=device)
    if ids.numel() == 0:
        raise ValueError("target is an empty phrase; give at least one token.")
    return Target(ids.expand(rows, -1), answer=True)


def _id(token: object, vocabulary: int) -> int:
    """Return a token id; refuse other values and ids out of range, which may be too large for a tensor."""
    if isinstance(token, bool) or not isinstance(token, Integral):
        raise ValueError(f"target has {token!r}, a {type(token).__name__}; token ids are whole numbers.")
    if not 0 <= int(token) < vocabulary:
        raise ValueError(f"Target ids [{token}] are out of range; the vocabulary has {vocabulary} tokens.")
    return int(token)


def _in_range(ids: Tensor, vocabulary: int, padded: bool = False) -> Tensor:
    """Return the ids if they are in range; only answers may be padded with ``IGNORED``."""
    bad = ids[((ids < 0) & ~((ids == IGNORED) & padded)) | (ids >= vocabulary)]
    if bad.numel():
        raise ValueError(
            f"Target ids {sorted(set(bad.tolist()))} are out of range; the vocabulary has {vocabulary} tokens."
        )
    padding = ids == IGNORED
    misplaced = padding[:, 0] | (padding[:, :-1] & ~padding[:, 1:]).any(-1)
    if misplaced.any():
        row = int(misplaced.nonzero()[0])
        raise ValueError(
            f"target has the row {ids[row].tolist()}; {IGNORED} pads an answer at its end only. Give the tokens of the "
            "answer first, at least one, and the padding after them."
        )
    return ids
