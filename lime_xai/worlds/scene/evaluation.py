"""Evaluation sets: fresh scenes, their pictures, closed questions in four splits, caption requests, and probes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lime_xai.values.checking import Count, Natural, check_arguments
from lime_xai.worlds.shared.language import YES, partner

from .images import object_masks, render
from .objects import CELL_SIZE, GRID, IMAGE_SIZE, POPULARITY
from .probes import OpenQuestion, Probe, open_questions, probes
from .scenes import Scene, independent_scene
from .text import CAPTION_REQUEST, DETAIL_REQUEST, Message, exists_question, messages, prompt

SPLITS: Final = ("random", "popular", "adversarial", "dialogue")
DEFAULT_NOISE: Final = 0.5
"""Pixel noise of evaluation pictures as a fraction of 255; training pictures have at most 0.35."""
OPACITY: Final = (0.5, 1.0)
_PER_SCENE = 2


@dataclass(frozen=True)
class Question:
    """A closed question about the picture of a scene.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and images.
    split : str
        One of ``SPLITS``.
    obj : int
        Class index of the object that is asked about.
    label : bool
        Whether it is there: True if the right answer is yes.
    context : int or None
        Object of an earlier turn, truly answered with yes; only in the dialogue split.
    """

    scene: int
    split: str
    obj: int
    label: bool
    context: int | None = None

    @property
    def _earlier(self) -> tuple[tuple[str, str], ...]:
        return () if self.context is None else ((exists_question(self.context), YES),)

    @property
    def messages(self) -> list[Message]:
        """Chat messages for ``processor.apply_chat_template``."""
        return messages(exists_question(self.obj), self._earlier)

    @property
    def prompt(self) -> str:
        """What the chat template makes of ``messages``: the processor's ``text``."""
        return prompt(exists_question(self.obj), self._earlier)


@dataclass(frozen=True)
class EvaluationSet:
    """What a policy is measured on.

    Attributes
    ----------
    seed, noise : int, float
        What made the set.
    scenes : tuple of Scene
        The scenes.
    images : tuple of PIL.Image.Image
        One 72x72 picture per scene.
    questions : tuple of Question
        Closed questions of all splits, in each as many with yes as with no.
    open_questions : tuple of OpenQuestion
        One about a colour, a side and the number of objects per scene.
    probes : tuple of Probe
        True words about one object per scene.
    erased : tuple of PIL.Image.Image
        The pictures without the object of the probes.
    """

    seed: int
    noise: float
    scenes: tuple[Scene, ...]
    images: tuple[Image.Image, ...]
    questions: tuple[Question, ...]
    open_questions: tuple[OpenQuestion, ...]
    probes: tuple[Probe, ...]
    erased: tuple[Image.Image, ...]

    @property
    def caption_messages(self) -> list[Message]:
        """Chat messages that ask for a caption of any of the images."""
        return messages(CAPTION_REQUEST)

    @property
    def caption_prompt(self) -> str:
        """The request for a caption of any of the images, as the processor's ``text``."""
        return prompt(CAPTION_REQUEST)

    @property
    def detail_prompt(self) -> str:
        """The request for a caption of two sentences."""
        return prompt(DETAIL_REQUEST)

    def split(self, name: str) -> tuple[Question, ...]:
        """Return the questions of a split.

        Raises
        ------
        ValueError
            If there is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}; expected one of {', '.join(SPLITS)}")
        return tuple(q for q in self.questions if q.split == name)


def lone_objects(scene: Scene) -> tuple[int, ...]:
    """Return the objects of a scene whose partner is absent."""
    return tuple(o for o in scene.present if partner(o) not in scene.present)


def _shuffled(rng: np.random.Generator, objects: Sequence[int]) -> list[int]:
    return [objects[i] for i in rng.permutation(len(objects)).tolist()]


def _random(rng: np.random.Generator, scene: Scene) -> list[int]:
    return _shuffled(rng, scene.absent)


def _popular(rng: np.random.Generator, scene: Scene) -> list[int]:
    # a stable sort after shuffling breaks the ties within a pair at random
    return sorted(_shuffled(rng, scene.absent), key=lambda o: -POPULARITY[o])


def _partners(rng: np.random.Generator, scene: Scene) -> list[int]:
    return [partner(o) for o in _shuffled(rng, lone_objects(scene))]


_ABSENT: Final[dict[str, Callable[[np.random.Generator, Scene], list[int]]]] = {
    "random": _random,
    "popular": _popular,
    "adversarial": _partners,
    "dialogue": _partners,
}


def _context(rng: np.random.Generator, scene: Scene, obj: int) -> int:
    """Return the object of the earlier turn: the partner if it is there, otherwise another present one."""
    if partner(obj) in scene.present:
        return partner(obj)
    return _shuffled(rng, [o for o in scene.present if o != obj])[0]


def _scene_questions(rng: np.random.Generator, scene: Scene, index: int) -> Iterator[Question]:
    for split in SPLITS:
        absent = _ABSENT[split](rng, scene)[:_PER_SCENE]
        present = _shuffled(rng, scene.present)[: len(absent)]
        for obj in (*absent, *present):
            context = _context(rng, scene, obj) if split == "dialogue" else None
            yield Question(index, split, obj, obj in scene.present, context)


def _drawn(seed: int, scenes: int) -> tuple[np.random.Generator, tuple[Scene, ...], tuple[Question, ...]]:
    """Return scenes and questions of a seed, and the generator in the state in which pictures are drawn."""
    rng = np.random.default_rng(seed)
    drawn = tuple(independent_scene(rng, smallest=2) for _ in range(scenes))
    return rng, drawn, tuple(q for i, scene in enumerate(drawn) for q in _scene_questions(rng, scene, i))


def pixel_mask(evaluation: EvaluationSet, scene: int, obj: int) -> NDArray[np.bool_]:
    """Return the pixels that an object covers by more than half: its glyph in the picture, exactly.

    Parameters
    ----------
    evaluation : EvaluationSet
        As ``evaluation_set`` returned it.
    scene : int
        Index of the scene.
    obj : int
        Class index of the object.

    Returns
    -------
    numpy.ndarray
        Bool of shape [72, 72].

    Raises
    ------
    ValueError
        If the object is not in the scene.
    """
    cell = evaluation.scenes[scene].cell_of(obj)
    masks = _masks(evaluation.seed, len(evaluation.scenes))
    found = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
    top, left = (CELL_SIZE * part for part in divmod(cell, GRID))
    found[top : top + CELL_SIZE, left : left + CELL_SIZE] = masks[scene, cell] > 0.5
    return found


@lru_cache(maxsize=4)
def _masks(seed: int, scenes: int) -> NDArray[np.float32]:
    rng, drawn, _ = _drawn(seed, scenes)
    return object_masks(rng, drawn)


def evaluation_set(seed: Natural, scenes: Count = 300, noise: float = DEFAULT_NOISE) -> EvaluationSet:
    """Draw independent scenes of two to four objects with their pictures and questions.

    Up to two absent objects are asked about per scene and split, with as many present ones:

    - ``random``: any absent objects;
    - ``popular``: the absent objects that the training text speaks of most;
    - ``adversarial``: absent partners of present objects;
    - ``dialogue``: the same, after an earlier turn has asked for the partner and had the answer yes (for
      questions about present objects: the partner where it is there, otherwise another present object).

    Parameters
    ----------
    seed : int
        Seed of everything in the set. Training draws from other generators, so any seed is fresh.
    scenes : int
        Number of scenes.
    noise : float
        Standard deviation of the pixel noise as a fraction of 255.

    Returns
    -------
    EvaluationSet
        The set; one (seed, scenes, noise) always gives the same.

    Raises
    ------
    ValueError
        If ``scenes`` is not positive, ``seed`` is negative, or ``noise`` is not from 0 to 4.
    TypeError
        For arguments of another type.
    """
    check_arguments(evaluation_set, seed=seed, scenes=scenes, noise=noise)
    rng, drawn, questions = _drawn(seed, scenes)
    pixels = render(rng, drawn, noise=noise, opacity=OPACITY)
    images = tuple(Image.fromarray(p) for p in pixels)
    # a generator of its own: what is asked beside must not change the closed questions of a seed
    beside = np.random.default_rng((seed, 1))
    asked = open_questions(beside, drawn)
    probing, erased = probes(beside, drawn, images, noise)
    return EvaluationSet(seed, noise, drawn, images, questions, asked, probing, erased)
