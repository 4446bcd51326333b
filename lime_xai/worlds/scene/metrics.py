"""Metrics of captions (CHAIR and what may flatter it) and of closed questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from lime_xai.worlds.scene.objects import CLASSES, partner
from lime_xai.worlds.scene.scenes import Scene
from lime_xai.worlds.scene.text import EOS


@dataclass(frozen=True)
class CaptionMetrics:
    """How truly captions name what is there.

    Attributes
    ----------
    chair_i : float
        Share of named objects that are not in the picture. An object counts once per caption, however often
        it is named. 0 if no caption names any object.
    chair_s : float
        Share of captions that name at least one object that is not in the picture.
    recall : float
        Share of the objects in all pictures that their captions name.
    f1 : float
        Harmonic mean of precision (1 - chair_i; 0 if nothing is named) and recall.
    repeated : float
        Mean number of mentions per caption of an object that it had named before.
    finished : float
        Share of captions that the model ended itself.
    partner_share : float
        Share of the named objects not in the picture whose partner is in it and named earlier in the caption;
        NaN if there is none.
    """

    chair_i: float
    chair_s: float
    recall: float
    f1: float
    repeated: float
    finished: float
    partner_share: float


@dataclass(frozen=True)
class ClosedMetrics:
    """How well closed questions are answered.

    Attributes
    ----------
    accuracy : float
        Share of right answers; the answer is yes where the margin is positive.
    auc : float
        Area under the ROC curve of the margin: the quality of the ranking, whatever the threshold.
    false_yes : float
        Share of yes among the questions about absent objects.
    """

    accuracy: float
    auc: float
    false_yes: float


def mentions(caption: str) -> tuple[int, ...]:
    """Return the class index of every mention of an object in a caption, in order, repetitions included."""
    words = caption.replace(EOS, " ").replace(",", " ").replace(".", " ").lower().split()
    return tuple(CLASSES.index(word) for word in words if word in CLASSES)


def caption_metrics(captions: Sequence[str], scenes: Sequence[Scene]) -> CaptionMetrics:
    """Measure captions against what the scenes hold.

    Parameters
    ----------
    captions : sequence of str
        One caption per scene, with ``</s>`` where the model ended it.
    scenes : sequence of Scene
        What is there.

    Returns
    -------
    CaptionMetrics
        The measures.

    Raises
    ------
    ValueError
        If there are no captions, or not as many as scenes.
    """
    if not captions or len(captions) != len(scenes):
        raise ValueError(f"found {len(captions)} captions for {len(scenes)} scenes; expected one per scene")
    named = wrong = untrue = found = there = repeated = finished = partnered = 0
    for caption, scene in zip(captions, scenes, strict=True):
        spoken = mentions(caption)
        objects = list(dict.fromkeys(spoken))
        false = [o for o in objects if o not in scene.present]
        named += len(objects)
        wrong += len(false)
        untrue += bool(false)
        found += len(objects) - len(false)
        there += len(scene.present)
        repeated += len(spoken) - len(objects)
        finished += EOS in caption
        partnered += sum(partner(o) in scene.present and partner(o) in objects[: objects.index(o)] for o in false)
    count = len(captions)
    precision = (named - wrong) / named if named else 0.0
    recall = found / there if there else 0.0
    return CaptionMetrics(
        chair_i=wrong / named if named else 0.0,
        chair_s=untrue / count,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if found else 0.0,
        repeated=repeated / count,
        finished=finished / count,
        partner_share=partnered / wrong if wrong else float("nan"),
    )


def closed_metrics(margins: ArrayLike, labels: ArrayLike) -> ClosedMetrics:
    """Measure answers to closed questions.

    Parameters
    ----------
    margins : array of float, shape [N]
        Logit of yes minus logit of no.
    labels : array of bool, shape [N]
        Whether yes is right.

    Returns
    -------
    ClosedMetrics
        The measures.

    Raises
    ------
    ValueError
        If the shapes differ, a margin is not finite, or one of the two labels does not occur.
    """
    values, wanted = np.asarray(margins, np.float64), np.asarray(labels, np.bool_)
    if values.ndim != 1 or values.shape != wanted.shape:
        raise ValueError(f"margins have shape {values.shape}, labels {wanted.shape}; expected one shape [N]")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} margins are not finite; check the model's logits")
    if wanted.all() or not wanted.any():
        raise ValueError("the questions have a single label; expected some with yes and some with no")
    answers = values > 0
    return ClosedMetrics(
        accuracy=float((answers == wanted).mean()),
        auc=float(roc_auc_score(wanted, values)),
        false_yes=float(answers[~wanted].mean()),
    )
