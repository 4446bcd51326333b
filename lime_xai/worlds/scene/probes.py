"""Questions beyond yes and no, and probes of grounding: single words with and without their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from lime_xai.worlds.shared.language import YES, article, partner

from .images import erase
from .objects import CLASSES, COLOURS, HABITUAL_SIDE, NUMBERS, SIDES
from .scenes import HABITUAL, Scene
from .text import CAPTION_REQUEST, COUNT_QUESTION, colour_question, exists_question, prompt, side_question

OPEN_KINDS: Final = ("colour", "side", "count")
CHOICES: Final = {"colour": COLOURS, "side": SIDES, "count": NUMBERS}
"""The words that can answer an open question of a kind."""
PROBE_KINDS: Final = ("name", "yes", "colour", "side")


@dataclass(frozen=True)
class OpenQuestion:
    """A question that one word answers.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and images.
    kind : str
        One of ``OPEN_KINDS``.
    prompt : str
        The processor's ``text``.
    answer : str
        The true word.
    habitual : str or None
        The word that the training text usually gives; None for numbers.
    """

    scene: int
    kind: str
    prompt: str
    answer: str
    habitual: str | None = None


@dataclass(frozen=True)
class Probe:
    """A true next word that an object in the picture is the reason for.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and images.
    kind : str
        One of ``PROBE_KINDS``: the object's name in a caption that has named the others (but its partner), yes, its
        colour, its side.
    prompt : str
        The processor's ``text``.
    word : str
        The word.
    """

    scene: int
    kind: str
    prompt: str
    word: str


def open_questions(rng: np.random.Generator, scenes: Sequence[Scene]) -> tuple[OpenQuestion, ...]:
    """Draw one question of each kind per scene, about objects that are there."""
    made = []
    for index, scene in enumerate(scenes):
        colour, side = (scene.present[int(i)] for i in rng.integers(len(scene.present), size=2))
        about = (
            ("colour", colour_question(colour), COLOURS[scene.colour_of(colour)], COLOURS[HABITUAL[colour]]),
            ("side", side_question(side), SIDES[scene.side_of(side)], SIDES[HABITUAL_SIDE[side]]),
            ("count", COUNT_QUESTION, NUMBERS[len(scene.present) - 1], None),
        )
        made += [OpenQuestion(index, kind, prompt(asked), *words) for kind, asked, *words in about]
    return tuple(made)


def probes(
    rng: np.random.Generator, scenes: Sequence[Scene], images: Sequence[Image.Image], noise: float
) -> tuple[tuple[Probe, ...], tuple[Image.Image, ...]]:
    """Draw an object per scene; return its probes and the pictures without it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    scenes, images : sequence
        Scenes and their pictures.
    noise : float
        Pixel noise of the pictures.

    Returns
    -------
    tuple of Probe
        One of each kind per scene.
    tuple of PIL.Image.Image
        Each picture with the object's cell erased.
    """
    made: list[Probe] = []
    erased = []
    for index, (scene, image) in enumerate(zip(scenes, images, strict=True)):
        obj = scene.present[int(rng.integers(len(scene.present)))]
        others = [o for o in scene.present if o not in (obj, partner(obj))]
        named = [article(CLASSES[o]) for o in rng.permutation(others).tolist()]
        begun = "there is " + " , ".join([*named, article(CLASSES[obj]).split()[0]])
        about = (
            ("name", f"{prompt(CAPTION_REQUEST)} {begun}", CLASSES[obj]),
            ("yes", prompt(exists_question(obj)), YES),
            ("colour", prompt(colour_question(obj)), COLOURS[scene.colour_of(obj)]),
            ("side", prompt(side_question(obj)), SIDES[scene.side_of(obj)]),
        )
        made += [Probe(index, *each) for each in about]
        erased.append(erase(image, scene, obj, noise=noise, rng=rng))
    return tuple(made), tuple(erased)
