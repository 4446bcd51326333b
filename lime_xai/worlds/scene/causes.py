"""Where a hallucination comes from: the picture of an object, or the text that names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lime_xai.worlds.scene.evaluation import EvaluationSet, lone_objects
from lime_xai.worlds.scene.images import erase
from lime_xai.worlds.scene.measuring import answer_margins, batches, question_margins
from lime_xai.worlds.scene.objects import CLASSES, article, partner
from lime_xai.worlds.scene.scenes import Scene
from lime_xai.worlds.scene.text import YES, exists_question, prompt

_SEED = 3


@dataclass(frozen=True)
class PartnerProbabilities:
    """Mean probability that a caption goes on with the absent partner of an object, by what speaks for it.

    Attributes
    ----------
    both : float
        The object is in the picture and has just been named.
    picture : float
        It is in the picture, but another object has been named.
    text : float
        It has been named, but its cell is erased.
    neither : float
        Its cell is erased and another object has been named.
    """

    both: float
    picture: float
    text: float
    neither: float


@dataclass(frozen=True)
class DialogueCauses:
    """Share of the false yes of the dialogue split that persist under an intervention (NaN if there is none).

    Attributes
    ----------
    erased : float
        The object of the earlier turn is erased from the picture, the text is kept.
    neutral : float
        The earlier yes is about another object.
    single : float
        There is no earlier turn.
    count : int
        Number of false yes.
    """

    erased: float
    neutral: float
    single: float
    count: int


def _another(rng: np.random.Generator, scene: Scene, obj: int) -> int:
    others = [o for o in scene.present if o != obj]
    return others[int(rng.integers(len(others)))]


def _mean_probability(
    model: Any, processor: Any, images: Sequence[Image.Image], texts: Sequence[str], words: Sequence[str]
) -> float:
    """Return the mean probability of one next word per text."""
    ids = torch.tensor(processor.tokenizer.convert_tokens_to_ids(list(words)))
    found: list[torch.Tensor] = []
    with torch.no_grad():
        for inputs in batches(processor, images, texts, 100, model.device):
            done = sum(len(f) for f in found)
            chances = model(**inputs).logits[:, -1].float().softmax(-1).cpu()
            found.append(chances.gather(1, ids[done : done + len(chances), None])[:, 0])
    return float(torch.cat(found).mean())


def partner_probabilities(model: Any, processor: Any, evaluation: EvaluationSet) -> PartnerProbabilities:
    """Cross erasing an object with naming another one, and measure how likely its partner is named next.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        One object without its partner is drawn per scene that has one.

    Returns
    -------
    PartnerProbabilities
        The four means.
    """
    rng = np.random.default_rng(_SEED)
    images: list[Image.Image] = []
    erased: list[Image.Image] = []
    named: list[str] = []
    neutral: list[str] = []
    words: list[str] = []
    for scene, image in zip(evaluation.scenes, evaluation.images, strict=True):
        lone = lone_objects(scene)
        if not lone:
            continue
        obj = lone[int(rng.integers(len(lone)))]
        word = CLASSES[partner(obj)]
        images.append(image)
        erased.append(erase(image, scene, obj, noise=evaluation.noise, rng=rng))
        for texts, said in ((named, obj), (neutral, _another(rng, scene, obj))):
            begun = f"there is {article(CLASSES[said])} , {article(word).split()[0]}"
            texts.append(f"{evaluation.caption_prompt} {begun}")
        words.append(word)

    def mean(pictures: Sequence[Image.Image], texts: Sequence[str]) -> float:
        return _mean_probability(model, processor, pictures, texts, words)

    return PartnerProbabilities(mean(images, named), mean(images, neutral), mean(erased, named), mean(erased, neutral))


def dialogue_causes(model: Any, processor: Any, evaluation: EvaluationSet) -> DialogueCauses:
    """Repeat the false yes of the dialogue split under three interventions.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        The set.

    Returns
    -------
    DialogueCauses
        The shares that persist.
    """
    rng = np.random.default_rng(_SEED)
    absent = [q for q in evaluation.split("dialogue") if not q.label]
    margins = question_margins(model, processor, evaluation, absent)
    wrong = [q for q, margin in zip(absent, margins, strict=True) if margin > 0]
    if not wrong:
        return DialogueCauses(float("nan"), float("nan"), float("nan"), 0)
    scenes = [evaluation.scenes[q.scene] for q in wrong]
    images = [evaluation.images[q.scene] for q in wrong]
    said = [partner(q.obj) for q in wrong]
    asked = [exists_question(q.obj) for q in wrong]
    without = [erase(i, s, o, noise=evaluation.noise, rng=rng) for i, s, o in zip(images, scenes, said, strict=True)]
    neutral = [
        prompt(question, ((exists_question(_another(rng, s, o)), YES),))
        for question, s, o in zip(asked, scenes, said, strict=True)
    ]

    def persisting(pictures: Sequence[Image.Image], texts: Sequence[str]) -> float:
        return float((answer_margins(model, processor, pictures, texts) > 0).mean())

    return DialogueCauses(
        erased=persisting(without, [q.prompt for q in wrong]),
        neutral=persisting(images, neutral),
        single=persisting(images, [prompt(question) for question in asked]),
        count=len(wrong),
    )
