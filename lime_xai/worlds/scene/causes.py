"""Where a hallucination comes from: the picture of an object, or the text that names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, softmax

from lime_xai.worlds.shared.language import YES, article, partner

from .evaluation import EvaluationSet, lone_objects
from .images import erase
from .measuring import answer_margins, first_logits
from .metrics import ratio
from .objects import CLASSES
from .scenes import Scene
from .text import exists_question, prompt

CELLS: Final = ("text and picture", "text alone", "picture alone", "neither")
"""Causes of an absent object's name: its partner named in the text or not, the partner's pixels there or erased."""
_SEED = 3
_GREY = (220, 220, 220)


@dataclass(frozen=True, eq=False)
class CaptionCauses:
    """The next word of captions, two by two.

    Attributes
    ----------
    scenes : numpy.ndarray
        Scene of each probe, shape [N].
    chances : numpy.ndarray
        Probability that the absent partner of an object is named next, shape [N, 4], columns as in ``CELLS``.
    """

    scenes: NDArray[np.int64]
    chances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DialogueCauses:
    """Every question of the dialogue split about an absent object, two by two.

    Attributes
    ----------
    scenes : numpy.ndarray
        Scene of each question, shape [N].
    margins : numpy.ndarray
        Logit of yes minus logit of no, shape [N, 4], columns as in ``CELLS``: the earlier yes is about the partner or
        about another object, the partner's pixels are there or erased.
    blind : numpy.ndarray
        What the earlier turn adds to the margin on a grey picture, shape [N].
    """

    scenes: NDArray[np.int64]
    margins: NDArray[np.float64]
    blind: NDArray[np.float64]

    @property
    def chances(self) -> NDArray[np.float64]:
        """Probability of yes against no, shape [N, 4]."""
        found: NDArray[np.float64] = expit(self.margins)
        return found


def _another(rng: np.random.Generator, scene: Scene, obj: int) -> int:
    others = [o for o in scene.present if o != obj]
    return others[int(rng.integers(len(others)))]


def caption_causes(model: Any, processor: Any, evaluation: EvaluationSet) -> CaptionCauses:
    """Cross erasing an object with naming another one, and measure how likely its partner is named next.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        One object without its partner is drawn per scene that has one.

    Returns
    -------
    CaptionCauses
        The probabilities.
    """
    rng = np.random.default_rng(_SEED)
    scenes, words = [], []
    pictures: list[tuple[Image.Image, Image.Image]] = []
    texts: list[tuple[str, str]] = []
    for index, (scene, image) in enumerate(zip(evaluation.scenes, evaluation.images, strict=True)):
        lone = lone_objects(scene)
        if not lone:
            continue
        obj = lone[int(rng.integers(len(lone)))]
        word = CLASSES[partner(obj)]
        pictures.append((image, erase(image, scene, obj, noise=evaluation.noise, rng=rng)))
        asked, then = evaluation.caption_prompt, article(word).split()[0]
        named, neutral = (f"{asked} there is {article(CLASSES[o])} , {then}" for o in (obj, _another(rng, scene, obj)))
        texts.append((named, neutral))
        scenes.append(index)
        words.append(word)
    ids = processor.tokenizer.convert_tokens_to_ids(words)
    columns = []
    for text, picture in ((0, 0), (0, 1), (1, 0), (1, 1)):
        logits = first_logits(model, processor, [p[picture] for p in pictures], [t[text] for t in texts])
        columns.append(softmax(logits, axis=1)[np.arange(len(ids)), ids])
    return CaptionCauses(np.array(scenes), np.stack(columns, axis=1))


def dialogue_causes(model: Any, processor: Any, evaluation: EvaluationSet) -> DialogueCauses:
    """Cross erasing the partner with asking about another object first, for every absent object of the dialogues.

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
    rng = np.random.default_rng(_SEED)
    absent = [q for q in evaluation.split("dialogue") if not q.label]
    scenes = [evaluation.scenes[q.scene] for q in absent]
    there = [evaluation.images[q.scene] for q in absent]
    said = [partner(q.obj) for q in absent]
    asked = [exists_question(q.obj) for q in absent]
    erased = [erase(i, s, o, noise=evaluation.noise, rng=rng) for i, s, o in zip(there, scenes, said, strict=True)]
    named = [q.prompt for q in absent]
    neutral = [
        prompt(question, ((exists_question(_another(rng, s, o)), YES),))
        for question, s, o in zip(asked, scenes, said, strict=True)
    ]

    def margins(pictures: Sequence[Image.Image], texts: Sequence[str]) -> NDArray[np.float64]:
        return answer_margins(model, processor, pictures, texts)

    cells = [margins(p, t) for t, p in ((named, there), (named, erased), (neutral, there), (neutral, erased))]
    grey = [Image.new("RGB", image.size, _GREY) for image in there]
    blind = margins(grey, named) - margins(grey, [prompt(question) for question in asked])
    return DialogueCauses(np.array([q.scene for q in absent]), np.stack(cells, axis=1), blind)


def effect_shares(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of the text and of the picture in what raises a probability.

    Parameters
    ----------
    means : numpy.ndarray
        Mean probabilities, shape [..., 4], columns as in ``CELLS``.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Main effect of either, negative ones counted as 0, over the sum of both; shape [...].
    """
    both, text, picture, neither = (means[..., column] for column in range(4))
    of_text = np.maximum((both + text) - (picture + neither), 0)
    of_picture = np.maximum((both + picture) - (text + neither), 0)
    return ratio(of_text, of_text + of_picture), ratio(of_picture, of_text + of_picture)
