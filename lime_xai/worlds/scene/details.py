"""The second sentence of a detailed caption: what it claims, and whether that is true."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lime_xai.worlds.shared.language import EOS

from .metrics import ratio
from .objects import CLASSES, COLOURS, SIDES, class_index
from .scenes import Scene

_CLAIM = re.compile(
    rf"there is [^.]+ \. the (?P<obj>{'|'.join(CLASSES)}) is "
    rf"(?:(?P<colour>{'|'.join(COLOURS)})|on the (?P<side>{'|'.join(SIDES)})) \. {re.escape(EOS)}"
)

DETAIL_COUNTS: Final = ("captions", "two", "true", "absent")
"""Columns of ``detail_counts``."""


def second_sentence(caption: str) -> tuple[int, str] | None:
    """Return the object and the colour or side that a well-formed second sentence gives it, or None."""
    found = _CLAIM.fullmatch(" ".join(caption.replace(".", " . ").split()))
    if found is None:
        return None
    return class_index(found["obj"]), found["colour"] or found["side"]


def holds(scene: Scene, obj: int, said: str) -> bool:
    """Return whether an object is in a scene and has the colour or is on the side that is claimed."""
    return obj in scene.present and said in (COLOURS[scene.colour_of(obj)], SIDES[scene.side_of(obj)])


def detail_counts(captions: Sequence[str], scenes: Sequence[Scene]) -> NDArray[np.float64]:
    """Count well-formed second sentences, true ones, and those about an absent object, shape [S, 4]."""
    rows = []
    for caption, scene in zip(captions, scenes, strict=True):
        claim = second_sentence(caption)
        true = claim is not None and holds(scene, *claim)
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
