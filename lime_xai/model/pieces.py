"""Tokens as readable text: what a tokenizer decodes them to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .modalities import Span

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no whole character yet."""

_LONGEST = 8
"""Tokens that may together be one character; more are bytes that are no text."""


@dataclass(frozen=True)
class Piece:
    """The fewest tokens that decode to whole characters.

    Attributes
    ----------
    text : str
        With the white space that the tokenizer decodes.
    start, stop : int
        Its tokens.
    special : bool
        Whether it is a control token.
    """

    text: str
    start: int
    stop: int
    special: bool


def pieces(ids: Sequence[int], processor: Any, before: Sequence[int] = ()) -> Iterator[Piece]:
    """Yield the pieces of a text; a tokenizer's decoder sees the token before a piece, and the piece.

    Parameters
    ----------
    ids : sequence of int
        Token ids of one text.
    processor : object
        A tokenizer of transformers, or a processor that has one.
    before : sequence of int
        The tokens before these. Tokenizers drop the space in front of the first token that they decode.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    ids, context = list(ids), list(before)[-1:]
    if not hasattr(tokenizer, "decode"):  # a processor of a user's own may only name tokens
        for number, token in enumerate(ids):
            yield Piece(str(tokenizer.convert_ids_to_tokens(token)), number, number + 1, False)
        return
    special = set(tokenizer.all_special_ids)
    start = 0
    for stop in range(1, len(ids) + 1):
        first_ids = ids[start - 1 : start] or context
        first = _decoded(tokenizer, first_ids)
        both = _decoded(tokenizer, first_ids + ids[start:stop])
        goes_on = stop < len(ids) and ids[stop] not in special and stop - start < _LONGEST
        if both.endswith(INCOMPLETE) and goes_on:
            continue
        text = both.removeprefix(first) if both.startswith(first) else _decoded(tokenizer, ids[start:stop])
        yield Piece(text, start, stop, stop - start == 1 and ids[start] in special)
        start = stop


def readable_labels(ids: Tensor, spans: Sequence[Sequence[Span]], processor: Any) -> list[list[str]] | None:
    """Return tokens ``[B][T]`` as text that a reader knows; None without a processor.

    Text tokens are decoded: `` is``, where the tokenizer writes ``Ġis`` or ``▁is``. Of tokens that only together make a
    character, each has the character with its number, ``猫 1/3``. Tokens that decode to nothing, placeholders and
    padding have the name that the tokenizer writes.

    Parameters
    ----------
    ids : Tensor
        ``[B, T]``.
    spans : sequence of sequence of Span
        Per row: where its text lies.
    processor : object or None
        A tokenizer of transformers, or a processor that has one.
    """
    names = token_labels(ids, processor)
    if names is None:
        return None
    for row, labels, found in zip(ids.tolist(), names, spans, strict=True):
        for span in found:
            if span.modality == "text":
                before = row[max(0, span.start - 1) : span.start]
                for piece in pieces(row[span.start : span.stop], processor, before):
                    _name(labels, piece, span.start)
    return names


def _name(labels: list[str], piece: Piece, offset: int) -> None:
    """Give the tokens of a piece their labels."""
    count = piece.stop - piece.start
    if not piece.text or INCOMPLETE in piece.text:
        return
    for number in range(count):
        part = f" {number + 1}/{count}" if count > 1 else ""
        labels[offset + piece.start + number] = piece.text + part


def token_labels(ids: Tensor, processor: Any) -> list[list[str]] | None:
    """Return tokens ``[B][T]`` as the processor's tokenizer writes them; None without a processor."""
    if processor is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)

    def label(token: int) -> str:
        # Models have more embeddings than their tokenizer has tokens; such ids have no name.
        return str(tokenizer.convert_ids_to_tokens(token) or f"<{token}>")

    return [[label(token) for token in row] for row in ids.tolist()]


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    if not ids:
        return ""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
