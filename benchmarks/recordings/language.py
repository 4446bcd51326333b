"""What is said about recordings: a request, closed questions, captions, and the language model's own priors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

from benchmarks.photographs.language import NamePriors, PhotoLanguage, partners_of, popularity_of
from lime_xai.storage.store import read_json

from .catalogue import CLASSES
from .clips import MOST

CAPTION_REQUEST: Final = "What is in the sound?"
PRIORS: Final = Path(__file__).with_name("priors.json")


def read_priors(path: Path = PRIORS) -> NamePriors:
    """Return what ``python -m benchmarks.recordings priors`` wrote."""
    found: Any = read_json(path, "priors of a language model", NamePriors)
    return cast(NamePriors, found)


def language_of(priors: NamePriors) -> PhotoLanguage:
    """Return the words of recordings with what a language model takes for granted.

    Raises
    ------
    ValueError
        If the priors are about other classes, or a class is in no pair or in two.
    """
    partners, popularity = partners_of(priors["pairs"], CLASSES), popularity_of(priors["popularity"], CLASSES)
    return PhotoLanguage(
        classes=CLASSES,
        popularity=popularity,
        attributes=(),
        numbers=("one", "two", "three")[:MOST],
        exists="Is there {name} in the sound?",
        count_question="How many things are in the sound?",
        caption_request=CAPTION_REQUEST,
        detail_request=CAPTION_REQUEST,
        inventory_request=CAPTION_REQUEST,
        vocabulary={},
        yes="Yes",
        no="No",
        partners=partners,
    )
