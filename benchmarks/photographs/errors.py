"""What invents an object, and what a false premise does: ``python -m benchmarks.photographs errors MODEL``.

Causes. For every word of a caption that names an absent object, its log-probability is measured again, each time at
the same place of the same caption:

1. with each object of the picture erased in turn. The greatest fall is the effect of the picture: pixels of another
   object raise the word, which is a misperception.
2. with each name that the caption has said before replaced by another present object, with its article. The greatest
   fall is the effect of the text: a prior of the language model raises the word. Where all present objects have been
   named, or no name has an article, no name can be replaced, and the text is not tested.

The cause is the greater effect if it is at least ``LEAST`` nats, and none otherwise. Words whose text was not tested
are counted apart.

The greatest of several falls is above zero for words that nothing raises too, and grows with their number. So the same
numbers are given for other words in the same place: the mean over the absent classes that have the same article and
were not named before.

Premises. The answer begins with "Next to the A, there is", once with an A that is in the picture, and once with one
that is not: the absent partner of something present, if there is one. Counted is how many of the objects that the
answer goes on to name are invented.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from lime_xai.evaluation.bootstrap import estimate, resampling_weights
from lime_xai.worlds.shared.evaluation import EvaluationSet, lone_objects
from lime_xai.worlds.shared.language import article
from lime_xai.worlds.shared.measuring import batches, first_scores, generate_captions
from lime_xai.worlds.shared.metrics import Floats, mean_over_scenes, ratio

from .measured import add_measured, open_measured, report_means

LEAST: Final = 0.5
"""Nats that a cause must take from a word."""
PICTURE, TEXT, NEITHER = "the picture", "the text", "neither"
UNTESTED = "the text was not tested"
PREMISE_TOKENS: Final = 14
_SEED: Final = 4
_SCENES: Final = 7
"""Seed of the scenes."""


@dataclass(frozen=True)
class Invention:
    """An absent object that a caption names.

    Attributes
    ----------
    scene : int
        Index of its scene.
    word : str
        The name.
    picture : float
        Effect in nats: the greatest fall of its log-probability without an object.
    text : float or None
        The same with another name before it; 0 where no name came before it, None where it was not tested.
    eraser : str
        The object without whose pixels it falls most.
    others_picture, others_text : float or None
        The same two numbers, mean over other words in the same place; None where there are none.
    """

    scene: int
    word: str
    picture: float
    text: float | None
    eraser: str
    others_picture: float | None
    others_text: float | None

    @property
    def cause(self) -> str:
        """``PICTURE``, ``TEXT``, ``NEITHER`` or ``UNTESTED``."""
        if self.text is None:
            return UNTESTED
        if max(self.picture, self.text) < LEAST:
            return NEITHER
        return PICTURE if self.picture >= self.text else TEXT


def inventions(model: Any, processor: Any, evaluation: EvaluationSet, captions: Sequence[str]) -> list[Invention]:
    """Return every first mention of an absent object, with its effects.

    Parameters
    ----------
    model, processor : object
        The model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What was described.
    captions : sequence of str
        One per scene; their first sentences are read.
    """
    rng = np.random.default_rng(_SEED)
    found = []
    for index, (scene, caption) in enumerate(zip(evaluation.scenes, captions, strict=True)):
        for place, obj in _absent(caption, scene, evaluation.world.language):
            found.append(_invention(model, processor, evaluation, rng, index, caption[:place], obj))
    return found


def _absent(caption: str, scene: Any, language: Any) -> list[tuple[int, int]]:
    """Return where the name of each absent object begins (with its space) in the first sentence, and its class."""
    first = caption.partition(".")[0]
    named = dict.fromkeys(language.mentions(first))
    return [(_place(first, language.classes[obj]), obj) for obj in named if obj not in scene.present]


def _place(text: str, name: str) -> int:
    """Return where a name begins in a text, with the space before it; capital letters count as small ones.

    Raises
    ------
    ValueError
        If the name is the first word of the text: nothing precedes it that could have raised it.
    """
    found = re.search(rf"\s{name}(?=[\s,]|$)", text, re.IGNORECASE)
    if found is None:
        raise ValueError(
            f"the answer {text!r} begins with the name {name!r}, and there is no text before it to test; "
            "expected one such as 'There is a dog', as a model of photographs gives it"
        )
    return found.start()


def renamed(begun: str, name: str, other: str) -> str | None:
    """Return the beginning of a caption in which another object, with its own article, takes the place of a name.

    The article that the caption has may be wrong ("a elephant"). None if the name has none ("a toy car").
    """
    found, count = re.subn(rf"\ban?\s+{name}(?=[\s,]|$)", article(other), begun, flags=re.IGNORECASE)
    return found if count else None


def _invention(
    model: Any, processor: Any, evaluation: EvaluationSet, rng: np.random.Generator, index: int, begun: str, obj: int
) -> Invention:
    world, scene, medium = evaluation.world, evaluation.scenes[index], evaluation.media[index]
    classes, names = world.language.classes, world.name_tokens(processor)
    erased = [world.erase(medium, scene, one, noise=evaluation.noise, rng=rng) for one in scene.present]
    named = list(dict.fromkeys(world.language.mentions(begun)))
    unnamed = [one for one in scene.present if one not in named]
    drawn = [unnamed[int(rng.integers(len(unnamed)))] for _ in named] if unnamed else []
    changed = [renamed(begun, classes[one], classes[other]) for one, other in zip(named, drawn, strict=False)]
    texts = [text for text in changed if text is not None]
    alike = world.language.article_of(obj)
    others = [one for one in scene.absent if one not in (obj, *named) and world.language.article_of(one) == alike]
    media = [medium, *erased, *[medium] * len(texts)]
    prompts = [evaluation.caption_prompt + text for text in (*[begun] * (1 + len(erased)), *texts)]
    tokens = [names[one] for one in (obj, *others)]
    scores = np.stack(first_scores(model, processor, world, media, prompts, [tokens] * len(prompts), normalised=True))
    falls = scores[0] - scores[1:]  # [prompts but the first, words]
    of_picture, of_text = falls[: len(erased)], falls[len(erased) :]
    picture, text = of_picture.max(0), of_text.max(0) if len(of_text) else np.zeros(len(tokens))
    tested = bool(texts) or not named
    return Invention(
        index,
        classes[obj],
        float(picture[0]),
        float(text[0]) if tested else None,
        classes[scene.present[int(of_picture[:, 0].argmax())]],
        float(picture[1:].mean()) if others else None,
        float(text[1:].mean()) if others and tested else None,
    )


@dataclass(frozen=True)
class Premise:
    """What an answer names that begins with a premise.

    Attributes
    ----------
    scene : int
        Index of its scene.
    true : bool
        Whether what the premise names is there.
    named, invented : int
        Objects that follow, and how many of them are absent.
    """

    scene: int
    true: bool
    named: int
    invented: int


def premises(model: Any, processor: Any, evaluation: EvaluationSet) -> list[Premise]:
    """Return what follows a true and a false premise, one of each per scene."""
    rng, world = np.random.default_rng(_SEED), evaluation.world
    language: Any = world.language
    asked: list[tuple[int, bool, int]] = []
    for index, scene in enumerate(evaluation.scenes):
        lone = [language.partner(obj) for obj in lone_objects(scene, language)] or list(scene.absent)
        asked.append((index, True, scene.present[int(rng.integers(len(scene.present)))]))
        asked.append((index, False, lone[int(rng.integers(len(lone)))]))
    begun = [evaluation.caption_prompt + language.premise(obj) for _, _, obj in asked]
    media = [evaluation.media[index] for index, _, _ in asked]
    texts: list[str] = []
    for inputs, context in batches(world, processor, media, begun, world.caption_rows, model.device):
        with context:
            found = model.generate(**inputs, do_sample=False, max_new_tokens=PREMISE_TOKENS)
        texts += world.captions(processor, found[:, inputs["input_ids"].shape[1] :])
    made = []
    for (index, true, _), text in zip(asked, texts, strict=True):
        named = set(language.mentions(text.partition(".")[0]))
        made.append(Premise(index, true, len(named), len(named - set(evaluation.scenes[index].present))))
    return made


def summary(made: Sequence[Invention], said: Sequence[Premise], scenes: int) -> dict[str, tuple[float, float, float]]:
    """Return shares with 95 % bootstrap intervals over scenes.

    Returns
    -------
    dict
        Share of each cause among the inventions, mean effects in nats on the words and on others in their places, and
        share of invented objects after a true and after a false premise, with the difference.
    """
    weights = resampling_weights(scenes)

    def mean(pairs: Sequence[tuple[int, float]]) -> Floats:
        places = np.array([scene for scene, _ in pairs], np.int64)
        return mean_over_scenes(np.array([value for _, value in pairs], np.float64), places, weights)

    found: dict[str, Floats] = {}
    for cause in (PICTURE, TEXT, NEITHER):
        found[f"inventions by {cause}"] = mean([(one.scene, one.cause == cause) for one in made])
    found[f"inventions, {UNTESTED}"] = mean([(one.scene, one.cause == UNTESTED) for one in made])
    for title, name in (
        ("effect of the picture, nats", "picture"),
        ("effect of the picture on other words there, nats", "others_picture"),
        ("effect of the text, nats", "text"),
        ("effect of the text on other words there, nats", "others_text"),
    ):
        measured = [(one.scene, getattr(one, name)) for one in made if getattr(one, name) is not None]
        found[title] = mean(measured)
    rates = {}
    for true in (True, False):
        chosen = [one for one in said if one.true is true]
        among = weights[:, np.array([one.scene for one in chosen], np.int64)]
        invented, named = (
            np.array([getattr(one, what) for one in chosen], np.float64) for what in ("invented", "named")
        )
        rates[true] = ratio(among @ invented, among @ named)
        found[f"invented after a {'true' if true else 'false'} premise"] = rates[true]
    found["invented: false minus true premise"] = rates[False] - rates[True]
    return {name: estimate(values) for name, values in found.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, _SCENES)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    model, processor, evaluation = open_measured(arguments)
    captions = generate_captions(model, processor, evaluation)
    made, said = inventions(model, processor, evaluation, captions), premises(model, processor, evaluation)
    found = summary(made, said, arguments.scenes)
    rows = {"inventions": [asdict(one) for one in made], "premises": [asdict(one) for one in said]}
    report_means(arguments, model, f"{len(made)} invented objects in {arguments.scenes} captions", found, rows)
