"""What an answer names after a true and after a false premise.

The answer begins with "Next to the A, there is". Once the picture shows A, and once it is the same picture with A
erased: so the words are the same, and the same other objects can be named. What differs is whether the premise is true.
Counted are the other objects that the answer names rightly, the other objects that it invents, how often it names A
again (after a false premise that is an invention too), and how often it names the partner of A, which is not there: the
object that the language model expects beside A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lime_xai.worlds.shared.evaluation import EvaluationSet, lone_objects
from lime_xai.worlds.shared.measuring import batches
from lime_xai.worlds.shared.metrics import Floats

from .measured import mean_known

PREMISE_TOKENS: Final = 14
_SEED: Final = 4


@dataclass(frozen=True)
class Premise:
    """What an answer names that begins with a premise.

    Attributes
    ----------
    scene : int
        Index of its scene.
    true : bool
        Whether what the premise names is in the picture.
    word : str
        What the premise names.
    answer : str
        What follows it.
    right : int
        Other objects of the picture that the answer names.
    invented : int
        Absent objects that it names, without what the premise names.
    again : bool
        Whether it names what the premise names.
    partner : bool or None
        Whether it names the absent partner of what the premise names; None if that is there.
    """

    scene: int
    true: bool
    word: str
    answer: str
    right: int
    invented: int
    again: bool
    partner: bool | None


def premises(model: Any, processor: Any, evaluation: EvaluationSet) -> list[Premise]:
    """Return what follows a true and a false premise, one of each per scene.

    Parameters
    ----------
    model, processor : object
        The model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What is spoken about. The premise names an object whose partner is absent, where there is one.
    """
    rng, world = np.random.default_rng(_SEED), evaluation.world
    language: Any = world.language
    asked: list[tuple[int, bool, int]] = []
    media: list[Any] = []
    for index, (scene, medium) in enumerate(zip(evaluation.scenes, evaluation.media, strict=True)):
        some = lone_objects(scene, language) or scene.present
        obj = some[int(rng.integers(len(some)))]
        media += [medium, world.erase(medium, scene, obj, noise=evaluation.noise, rng=rng)]
        asked += [(index, True, obj), (index, False, obj)]
    begun = [evaluation.caption_prompt + language.premise(obj) for _, _, obj in asked]
    texts: list[str] = []
    for inputs, context in batches(world, processor, media, begun, world.caption_rows, model.device):
        with context:
            found = model.generate(**inputs, do_sample=False, max_new_tokens=PREMISE_TOKENS)
        texts += world.captions(processor, found[:, inputs["input_ids"].shape[1] :])
    return [_premise(evaluation, *about, text) for about, text in zip(asked, texts, strict=True)]


def _premise(evaluation: EvaluationSet, index: int, true: bool, obj: int, text: str) -> Premise:
    language, present = evaluation.world.language, set(evaluation.scenes[index].present)
    named, partner = set(language.mentions(text.partition(".")[0])), language.partner(obj)
    told = None if partner in present else partner in named
    word, other = language.classes[obj], named - {obj}
    return Premise(index, true, word, text, len(other & present), len(other - present), obj in named, told)


def premise_means(said: Sequence[Premise], weights: Floats) -> dict[str, Floats]:
    """Return what answers name on average after either premise, and the difference.

    Parameters
    ----------
    said : sequence of Premise
        Of S scenes.
    weights : numpy.ndarray
        Weight of each scene in each of R samples, shape [R, S].

    Returns
    -------
    dict of str to numpy.ndarray
        By name of the measure, each of shape [R].
    """
    found: dict[str, Floats] = {}
    for title, name in (
        ("objects named rightly", "right"),
        ("objects invented", "invented"),
        ("answers that name the premise's object again", "again"),
        ("answers with the partner", "partner"),
    ):
        means = {}
        for true in (True, False):
            pairs = [(one.scene, getattr(one, name)) for one in said if one.true is true]
            means[true] = mean_known(pairs, weights)
            found[f"{title}, {'true' if true else 'false'} premise"] = means[true]
        found[f"{title}, false minus true premise"] = means[False] - means[True]
    return found
