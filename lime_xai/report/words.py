"""Tokens as text, and tokens merged to words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lime_xai.model.pieces import Piece, pieces

_JOINERS = "'\N{RIGHT SINGLE QUOTATION MARK}-_\N{ZERO WIDTH JOINER}"
"""Characters that join what is before and after them to one word."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x31FF),  # radicals, Hiragana, Katakana, Bopomofo
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Scripts that write no spaces between words; each token of them counts as a word."""


@dataclass(frozen=True)
class Word:
    """Consecutive tokens that a reader sees as one word.

    Attributes
    ----------
    text : str
        Without white space around it; empty if the whole text is white space.
    start, stop : int
        Its tokens, ``start <= token < stop``; tokens of white space belong to the word after them.
    lead : str
        White space before it.
    special : bool
        Whether it is a control token of the tokenizer, such as the end of the answer.
    """

    text: str
    start: int
    stop: int
    lead: str = ""
    special: bool = False


def words_of(ids: Sequence[int], tokenizer: Any, before: Sequence[int] = ()) -> list[Word]:
    """Merge tokens to words.

    1. Decode the tokens; those that only together make a whole character are one piece.
    2. A piece begins a new word if white space is before it, if it is punctuation, a control token or a token of a
       script without spaces, or if the piece before it is one of these.
    3. Apostrophes, hyphens, combining characters and decimal points join what is before and after them.

    Parameters
    ----------
    ids : sequence of int
        Token ids of one text.
    tokenizer : object
        A tokenizer of transformers, or a processor that has one.
    before : sequence of int
        The tokens before these. Tokenizers drop the space in front of the first token that they decode.

    Returns
    -------
    list of Word
        Every token is in exactly one.
    """
    words: list[Word] = []
    found = list(pieces(ids, tokenizer, before))
    lead, start = "", 0
    for index, piece in enumerate(found):
        core = piece.text.strip()
        if not core and not piece.special:
            lead += piece.text
            continue
        before_it = found[index - 1] if index else None
        if before_it is not None and not lead and _joins(before_it, piece, found[index + 1 : index + 2]):
            words[-1] = replace(words[-1], text=words[-1].text + core, stop=piece.stop)
        else:
            lead += piece.text[: len(piece.text) - len(piece.text.lstrip())]
            words.append(Word(core or piece.text, start, piece.stop, lead, piece.special))
        lead, start = piece.text[len(piece.text.rstrip()) :] if core else "", piece.stop
    if start < len(ids):  # white space at the end
        last = words.pop() if words else Word("", 0, 0, lead)
        words.append(replace(last, stop=len(ids)))
    return words


def _joins(before: Piece, piece: Piece, following: Sequence[Piece]) -> bool:
    """Whether a piece belongs to the word of the piece before it; ``following``: the piece after it, if any."""
    if before.special or piece.special:
        return False
    left, right = before.text[-1], piece.text[0]
    if left.isspace() or right.isspace():
        return False
    if _continues(right) or left == "\N{ZERO WIDTH JOINER}":
        return True
    if _alone(left) or _alone(right):
        return False
    if right in ".," and len(piece.text) == 1:
        return left.isdigit() and bool(following) and following[0].text[:1].isdigit()
    if left in ".," and len(before.text) == 1 and right.isdigit():
        return True
    return _in_word(left) and _in_word(right)


def _in_word(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character)[0] in "LNM"


def _continues(character: str) -> bool:
    """Whether a character changes the one before it: combining marks, variation selectors, skin tones, joiners."""
    mark = unicodedata.category(character)[0] == "M"
    return mark or character == "\N{ZERO WIDTH JOINER}" or 0x1F3FB <= ord(character) <= 0x1F3FF


def _alone(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _UNSPACED)
