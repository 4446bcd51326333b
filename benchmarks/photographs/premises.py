"""What an answer names after a true and after a false premise.

The answer begins with "Next to the A, there is". Once the picture shows A, and once it is the same picture with A
erased: so the words are the same, and the same other objects can be named. What differs is whether the premise is true.
Counted are the other objects that the answer names rightly, the objects that it invents (among them A, where it is
erased), how often it names A again, and how often it names the partner of A, which is not there: the object that the
language model expects beside A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lime_xai.worlds.shared.evaluation import EvaluationSet, lone_objects
from lime_xai.worlds.shared.measuring import batches

from .measured import Pairs

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
        Absent objects that it names, among them what a false premise names.
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
    there = present if true else present - {obj}
    right, invented = len(named & (present - {obj})), len(named - there)
    return Premise(index, true, language.classes[obj], text, right, invented, obj in named, told)


NAMED: Final = {
    "objects named rightly": "right",
    "objects invented": "invented",
    "answers that name the premise's object again": "again",
    "answers with the partner": "partner",
}
"""Fields of ``Premise`` of which means are taken, by title."""
TRUE, FALSE = "true premise", "false premise"
FALSE_MINUS_TRUE: Final = {
    f"{title}, false minus true premise": (f"{title}, {FALSE}", f"{title}, {TRUE}") for title in NAMED
}
"""Groups of ``premise_groups`` whose means are subtracted, by the title of the difference."""


def premise_groups(said: Sequence[Premise]) -> dict[str, Pairs]:
    """Return what means are taken of after either premise, by title."""
    return {
        f"{title}, {TRUE if true else FALSE}": [(one.scene, getattr(one, name)) for one in said if one.true is true]
        for title, name in NAMED.items()
        for true in (True, False)
    }
