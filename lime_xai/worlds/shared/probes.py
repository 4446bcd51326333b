"""Questions beyond yes and no, and probes of grounding: single words with and without what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .language import Attribute, Truth

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True)
class OpenQuestion:
    """A question that one word answers.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and media.
    kind : str
        One of the world's ``open_kinds``.
    prompt : str
        The processor's ``text``.
    answer : str
        The true word.
    choices : tuple of str
        The words that can answer it.
    habitual : str or None
        The word that the training text usually gives; None where it has no habit.
    """

    scene: int
    kind: str
    prompt: str
    answer: str
    choices: tuple[str, ...]
    habitual: str | None = None


@dataclass(frozen=True)
class Probe:
    """A true next word that something in the picture or the sound is the reason for.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and media.
    kind : str
        One of the world's ``probe_kinds``: the name in a caption that has named the others (but its partner), yes, an
        attribute.
    prompt : str
        The processor's ``text``.
    word : str
        The word.
    """

    scene: int
    kind: str
    prompt: str
    word: str


def attribute_question(world: World, index: int, scene: Truth, attribute: Attribute, obj: int) -> OpenQuestion | None:
    """Return the question about an attribute of something that is there; None if it has no value of it."""
    language, value = world.language, scene.value_of(attribute.name, obj)
    if value is None:
        return None
    return OpenQuestion(
        index,
        attribute.name,
        world.prompt(language.attribute_question(attribute, obj)),
        attribute.words[value],
        attribute.words,
        attribute.words[attribute.habitual[obj]],
    )


def count_question(world: World, index: int, scene: Truth) -> OpenQuestion:
    """Return the question how many there are."""
    numbers = world.language.numbers
    asked = world.prompt(world.language.count_question)
    return OpenQuestion(index, "count", asked, numbers[len(scene.present) - 1], numbers)


def probes(
    world: World, rng: np.random.Generator, scenes: Sequence[Truth], media: Sequence[Any], noise: float
) -> tuple[tuple[Probe, ...], tuple[Any, ...]]:
    """Draw something that is there per scene; return its probes and the media without it.

    Parameters
    ----------
    world : World
        Erases.
    rng : numpy.random.Generator
        Source of randomness.
    scenes, media : sequence
        Scenes and their media.
    noise : float
        Noise of the media.

    Returns
    -------
    tuple of Probe
        One of each kind per scene; none of an attribute that the thing has no value of.
    tuple
        Each medium without the thing.
    """
    made: list[Probe] = []
    erased = []
    for index, (scene, medium) in enumerate(zip(scenes, media, strict=True)):
        obj = scene.present[int(rng.integers(len(scene.present)))]
        others = [o for o in scene.present if o not in (obj, world.language.partner(obj))]
        made += _probes_of(world, index, scene, obj, rng.permutation(others).tolist())
        erased.append(world.erase(medium, scene, obj, noise=noise, rng=rng))
    return tuple(made), tuple(erased)


def _probes_of(world: World, index: int, scene: Truth, obj: int, named: Sequence[int]) -> list[Probe]:
    language = world.language
    begun = language.caption_begun(named, obj)
    made = [
        Probe(index, "name", f"{world.prompt(language.caption_request)}{begun}", language.classes[obj]),
        Probe(index, "yes", world.prompt(language.exists_question(obj)), language.yes),
    ]
    for attribute in language.attributes:
        if (value := scene.value_of(attribute.name, obj)) is not None:
            asked = world.prompt(language.attribute_question(attribute, obj))
            made.append(Probe(index, attribute.name, asked, attribute.words[value]))
    return made
