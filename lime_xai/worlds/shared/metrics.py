"""Metrics of captions: CHAIR, and what may flatter it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .language import EOS, Language, Truth

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CaptionMetrics:
    """How truly captions name what is there.

    Attributes
    ----------
    chair_i : float
        Share of the named objects (or events) that are not there. An object counts once per caption, however
        often it is named. 0 if no caption names any object.
    chair_s : float
        Share of captions that name at least one object that is not there.
    recall : float
        Share of the objects of all scenes that their captions name.
    f1 : float
        Harmonic mean of precision (1 - chair_i; 0 if nothing is named) and recall.
    repeated : float
        Mean number of mentions per caption, in its first sentence, of an object that it had named before.
    finished : float
        Share of captions that the model ended itself.
    partner_share : float
        Share of the named objects that are not there whose partner is, and is named earlier in the caption; NaN if
        there is none.
    pictured_share : float
        Share of the named objects that are not there whose partner is, named or not; NaN if there is none.
    empty, unfinished, repetitive : float
        Shares of captions that name no object, that were cut off, and that name one twice in the first sentence.
    outside : float
        Mean number per caption of things in its first sentence that are no class of the world, such as "a porpoiser".
        They are not there, and neither CHAIR nor F1 counts them.
    """

    chair_i: float
    chair_s: float
    recall: float
    f1: float
    repeated: float
    finished: float
    partner_share: float
    pictured_share: float
    empty: float
    unfinished: float
    repetitive: float
    outside: float


COUNTS: Final = (
    "captions", "named", "wrong", "untrue", "found", "there", "repeated", "finished", "partnered", "pictured",
    "empty", "repetitive", "outside",
)  # fmt: skip
"""Columns of ``caption_counts``."""
_THING: Final = re.compile(r"\ban? ([^,]+?)(?= and |,|$)")
"""A thing in a sentence: what stands between an indefinite article and the next comma or "and"."""


def _counts(caption: str, scene: Truth, language: Language) -> tuple[int, ...]:
    first = language.mentions(caption.partition(".")[0])
    objects = list(dict.fromkeys(language.mentions(caption)))
    false = [o for o in objects if o not in scene.present]
    partners = [(o, language.partner(o)) for o in false]
    return (
        1,
        len(objects),
        len(false),
        bool(false),
        len(objects) - len(false),
        len(scene.present),
        len(first) - len(set(first)),
        EOS in caption,
        sum(other in scene.present and other in objects[: objects.index(o)] for o, other in partners),
        sum(other in scene.present for _, other in partners),
        not objects,
        len(first) > len(set(first)),
        sum(not language.mentions(thing) for thing in things_in(caption)),
    )


def things_in(caption: str) -> list[str]:
    """Return the things that the first sentence of a caption names with an indefinite article, in small letters."""
    first = caption.partition(".")[0].replace(EOS, " ").strip().lower()
    return [thing.strip() for thing in _THING.findall(first)]


def caption_counts(captions: Sequence[str], scenes: Sequence[Truth], language: Language) -> Floats:
    """Count what the metrics of captions are made of.

    Parameters
    ----------
    captions : sequence of str
        One caption per scene, with ``</s>`` where the model ended it.
    scenes : sequence of Truth
        What is there.
    language : Language
        The world's words.

    Returns
    -------
    numpy.ndarray
        Shape [S, len(COUNTS)]; sums over scenes, weighted or not, are what ``caption_values`` takes.

    Raises
    ------
    ValueError
        If there are no captions, or not as many as scenes.
    """
    if not captions or len(captions) != len(scenes):
        raise ValueError(f"found {len(captions)} captions for {len(scenes)} scenes; expected one per scene")
    return np.array([_counts(c, s, language) for c, s in zip(captions, scenes, strict=True)], np.float64)


def ratio(above: Floats, below: Floats, empty: float = float("nan")) -> Floats:
    """Return above / below, and ``empty`` where below is 0."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), empty)


def mean_over_scenes(values: NDArray[Any], scenes: NDArray[np.int64], weights: Floats) -> Floats:
    """Return means over weighted samples of scenes; NaN for a sample without any.

    Parameters
    ----------
    values : numpy.ndarray
        Shape [N] or [N, K].
    scenes : numpy.ndarray
        Scene of each value, shape [N].
    weights : numpy.ndarray
        Weight of each scene in each sample, shape [R, S].

    Returns
    -------
    numpy.ndarray
        Shape [R] or [R, K].
    """
    chosen = weights[:, scenes]
    return ratio(chosen @ values, chosen.sum(1, keepdims=values.ndim > 1))


def caption_values(sums: Floats) -> dict[str, Floats]:
    """Return the metrics of captions from sums of their counts.

    Parameters
    ----------
    sums : numpy.ndarray
        Shape [..., len(COUNTS)].

    Returns
    -------
    dict of str to numpy.ndarray
        The fields of ``CaptionMetrics``, each of shape [...].
    """
    of = {name: sums[..., column] for column, name in enumerate(COUNTS)}
    precision = ratio(of["found"], of["named"], 0.0)
    recall = ratio(of["found"], of["there"], 0.0)
    return {
        "chair_i": ratio(of["wrong"], of["named"], 0.0),
        "chair_s": ratio(of["untrue"], of["captions"]),
        "recall": recall,
        "f1": ratio(2 * precision * recall, precision + recall, 0.0),
        "repeated": ratio(of["repeated"], of["captions"]),
        "finished": ratio(of["finished"], of["captions"]),
        "partner_share": ratio(of["partnered"], of["wrong"]),
        "pictured_share": ratio(of["pictured"], of["wrong"]),
        "empty": ratio(of["empty"], of["captions"]),
        "unfinished": 1 - ratio(of["finished"], of["captions"]),
        "repetitive": ratio(of["repetitive"], of["captions"]),
        "outside": ratio(of["outside"], of["captions"]),
    }


def caption_metrics(captions: Sequence[str], scenes: Sequence[Truth], language: Language) -> CaptionMetrics:
    """Measure captions against what the scenes hold.

    Parameters
    ----------
    captions, scenes, language : object
        As in ``caption_counts``.

    Returns
    -------
    CaptionMetrics
        The measures.

    Raises
    ------
    ValueError
        If there are no captions, or not as many as scenes.
    """
    values = caption_values(caption_counts(captions, scenes, language).sum(0))
    return CaptionMetrics(**{f.name: float(values[f.name]) for f in fields(CaptionMetrics)})
