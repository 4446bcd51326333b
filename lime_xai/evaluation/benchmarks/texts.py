"""What answers are like as texts: how long, how often cut, how often they repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from .answers import Answer

REPEATED = 4
"""Words of a sequence that counts as repeated."""

TEXTS = {
    "words": "mean number of words",
    "tokens": "mean number of generated tokens, the end included",
    "cut": "share of answers cut at the limit of tokens",
    "repetition": f"share of answers in which {REPEATED} words in a row occur twice",
    "seconds": "mean seconds of an answer",
}
"""Descriptions of answers, by name."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def repeats(text: str, length: int = REPEATED) -> bool:
    """Whether a sequence of words occurs twice in a text; upper case and punctuation are not looked at.

    Parameters
    ----------
    text : str
        An answer.
    length : int
        Words of the sequence. Two places may overlap: "a a a a a" repeats "a a a a".
    """
    words = _WORD.findall(text.lower())
    found = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(set(found)) < len(found)


def described(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Return what ``TEXTS`` names, over the given answers; None where it is not known of all of them.

    Parameters
    ----------
    answers : sequence of Answer
        At least one.
    """
    cut = [None if answer.finished is None else not answer.finished for answer in answers]
    values: dict[str, Sequence[float | None]] = {
        "words": [len(_WORD.findall(answer.text)) for answer in answers],
        "tokens": [answer.tokens for answer in answers],
        "cut": cut,
        "repetition": [repeats(answer.text) for answer in answers],
        "seconds": [answer.seconds for answer in answers],
    }
    return {name: _mean(row) for name, row in values.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
