"""The second sentence of a detailed caption: what it claims, and whether that is true."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .language import EOS, Language, Truth
from .metrics import ratio

DETAIL_COUNTS: Final = ("captions", "two", "true", "absent")
"""Columns of ``detail_counts``."""


@cache
def _claims(language: Language) -> re.Pattern[str]:
    """Return the pattern of a caption with a second sentence; two groups per attribute: class and value."""
    names = f"({'|'.join(map(re.escape, language.classes))})"
    clauses = []
    for attribute in language.attributes:
        before, between, after = re.split(r"\{name\}|\{word\}", attribute.clause)
        words = f"({'|'.join(map(re.escape, attribute.words))})"
        clauses.append(re.escape(before) + names + re.escape(between) + words + re.escape(after))
    return re.compile(rf"there is [^.]+ \. (?:{'|'.join(clauses)}) {re.escape(EOS)}")


def second_sentence(caption: str, language: Language) -> tuple[int, str] | None:
    """Return the class and the value that a well-formed second sentence gives it, or None."""
    found = _claims(language).fullmatch(" ".join(caption.lower().replace(".", " . ").split()))
    if found is None:
        return None
    name, word = (group for group in found.groups() if group is not None)
    return language.classes.index(name), word


def holds(scene: Truth, obj: int, said: str, language: Language) -> bool:
    """Return whether a class is in a scene and has the value of an attribute that is claimed."""
    if obj not in scene.present:
        return False
    values = ((attribute.words, scene.value_of(attribute.name, obj)) for attribute in language.attributes)
    return said in [words[value] for words, value in values if value is not None]


def detail_counts(captions: Sequence[str], scenes: Sequence[Truth], language: Language) -> NDArray[np.float64]:
    """Count well-formed second sentences, true ones, and those about something absent, shape [S, 4]."""
    rows = []
    for caption, scene in zip(captions, scenes, strict=True):
        claim = second_sentence(caption, language)
        true = claim is not None and holds(scene, *claim, language)
        rows.append((1, claim is not None, true, claim is not None and claim[0] not in scene.present))
    return np.array(rows, np.float64)


def detail_values(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return ``two_sentences`` (share of captions), ``true`` and ``absent`` (shares of second sentences).

    Parameters
    ----------
    sums : numpy.ndarray
        Sums of ``detail_counts`` over scenes, shape [..., 4].
    """
    captions, two, true, absent = (sums[..., column] for column in range(len(DETAIL_COUNTS)))
    return {"two_sentences": ratio(two, captions), "true": ratio(true, two), "absent": ratio(absent, two)}
