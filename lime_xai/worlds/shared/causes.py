"""Where a hallucination comes from: what is seen or heard, or the text that names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .evaluation import EvaluationSet, lone_objects
from .language import Truth
from .measuring import answer_margins, first_scores
from .metrics import ratio

CELLS: Final = ("text and {medium}", "text alone", "{medium} alone", "neither")
"""Causes of an absent thing's name: its partner named in the text or not, and there or erased.

``{medium}`` is the world's: ``CELLS[0].format(medium=world.medium)``.
"""
_SEED = 3


@dataclass(frozen=True, eq=False)
class CaptionCauses:
    """The next word of captions, two by two.

    Attributes
    ----------
    scenes : numpy.ndarray
        Scene of each probe, shape [N].
    chances : numpy.ndarray
        Probability that the absent partner of a thing is named next, shape [N, 4], columns as in ``CELLS``.
    """

    scenes: NDArray[np.int64]
    chances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DialogueCauses:
    """Every question of the dialogue split about an absent thing, two by two.

    Attributes
    ----------
    scenes : numpy.ndarray
        Scene of each question, shape [N].
    margins : numpy.ndarray
        Logit of yes minus logit of no, shape [N, 4], columns as in ``CELLS``: the earlier yes is about the partner or
        about another thing, the partner is there or erased.
    blind : numpy.ndarray
        What the earlier turn adds to the margin on a medium in which there is nothing, shape [N].
    """

    scenes: NDArray[np.int64]
    margins: NDArray[np.float64]
    blind: NDArray[np.float64]

    @property
    def chances(self) -> NDArray[np.float64]:
        """Probability of yes against no, shape [N, 4]."""
        found: NDArray[np.float64] = expit(self.margins)
        return found


def _another(rng: np.random.Generator, scene: Truth, obj: int) -> int:
    others = [o for o in scene.present if o != obj]
    return others[int(rng.integers(len(others)))]


def caption_causes(model: Any, processor: Any, evaluation: EvaluationSet) -> CaptionCauses:
    """Cross erasing a thing with naming another one, and measure how likely its partner is named next.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        One thing without its partner is drawn per scene that has one.

    Returns
    -------
    CaptionCauses
        The probabilities.
    """
    rng, world = np.random.default_rng(_SEED), evaluation.world
    scenes: list[int] = []
    absent: list[int] = []
    media: list[tuple[Any, Any]] = []
    texts: list[tuple[str, str]] = []
    for index, (scene, medium) in enumerate(zip(evaluation.scenes, evaluation.media, strict=True)):
        lone = lone_objects(scene, world.language)
        if not lone:
            continue
        obj = lone[int(rng.integers(len(lone)))]
        following = world.language.partner(obj)
        media.append((medium, world.erase(medium, scene, obj, noise=evaluation.noise, rng=rng)))
        asked, language = evaluation.caption_prompt, world.language
        named, neutral = (asked + language.caption_begun([o], following) for o in (obj, _another(rng, scene, obj)))
        texts.append((named, neutral))
        scenes.append(index)
        absent.append(following)
    names = world.name_tokens(processor)
    wanted = [[names[obj]] for obj in absent]
    columns = []
    for text, erased in ((0, 0), (0, 1), (1, 0), (1, 1)):
        given, prompts = [m[erased] for m in media], [t[text] for t in texts]
        found = first_scores(model, processor, world, given, prompts, wanted, normalised=True)
        columns.append(np.exp(np.array(found, np.float64).reshape(len(wanted))))
    return CaptionCauses(np.array(scenes), np.stack(columns, axis=1))


def dialogue_causes(model: Any, processor: Any, evaluation: EvaluationSet) -> DialogueCauses:
    """Cross erasing the partner with asking about another thing first, for every absent thing of the dialogues.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        The set.

    Returns
    -------
    DialogueCauses
        The margins.
    """
    rng, world = np.random.default_rng(_SEED), evaluation.world
    language = world.language
    absent = [q for q in evaluation.split("dialogue") if not q.label]
    scenes = [evaluation.scenes[q.scene] for q in absent]
    there = [evaluation.media[q.scene] for q in absent]
    said = [language.partner(q.obj) for q in absent]
    asked = [language.exists_question(q.obj) for q in absent]
    erased = [
        world.erase(m, s, o, noise=evaluation.noise, rng=rng) for m, s, o in zip(there, scenes, said, strict=True)
    ]
    named = [q.prompt for q in absent]
    neutral = [
        world.prompt(question, ((language.exists_question(_another(rng, s, o)), language.yes),))
        for question, s, o in zip(asked, scenes, said, strict=True)
    ]

    def margins(media: Sequence[Any], texts: Sequence[str]) -> NDArray[np.float64]:
        return answer_margins(model, processor, world, media, texts)

    cells = [margins(m, t) for t, m in ((named, there), (named, erased), (neutral, there), (neutral, erased))]
    nothing = [world.nothing(medium) for medium in there]
    blind = margins(nothing, named) - margins(nothing, [world.prompt(question) for question in asked])
    return DialogueCauses(np.array([q.scene for q in absent]), np.stack(cells, axis=1), blind)


def effect_shares(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of the text and of what is perceived in what raises a probability.

    Parameters
    ----------
    means : numpy.ndarray
        Mean probabilities, shape [..., 4], columns as in ``CELLS``.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Main effect of either, negative ones counted as 0, over the sum of both; shape [...].
    """
    of_text, of_perceived = np.moveaxis(np.maximum(main_effects(means), 0), -1, 0)
    return ratio(of_text, of_text + of_perceived), ratio(of_perceived, of_text + of_perceived)


def main_effects(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the main effects of the text and of what is perceived, for a value that is measured two by two.

    Parameters
    ----------
    values : numpy.ndarray
        A margin, a probability or its logarithm, shape [..., 4], columns as in ``CELLS``.

    Returns
    -------
    numpy.ndarray
        Mean value with the partner named less that without, and the same for the partner there or erased, in the unit
        of ``values``; shape [..., 2].
    """
    both, text, perceived, neither = (values[..., column] for column in range(4))
    of_text = ((both + text) - (perceived + neither)) / 2
    of_perceived = ((both + perceived) - (text + neither)) / 2
    return np.stack([of_text, of_perceived], axis=-1)
