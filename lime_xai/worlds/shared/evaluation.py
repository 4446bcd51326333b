"""Evaluation sets: fresh scenes, their media, closed questions in four splits, caption requests, and probes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .language import Language, Truth
from .probes import OpenQuestion, Probe, probes

if TYPE_CHECKING:
    from .chat import Message
    from .world import World

SPLITS: Final = ("random", "popular", "adversarial", "dialogue")
_PER_SCENE = 2


@dataclass(frozen=True)
class Question:
    """A closed question about a scene.

    Attributes
    ----------
    scene : int
        Index into the evaluation set's scenes and media.
    split : str
        One of ``SPLITS``.
    obj : int
        Class index of what is asked about.
    label : bool
        Whether it is there: True if the right answer is yes.
    context : int or None
        Class of an earlier turn, truly answered with yes; only in the dialogue split.
    world : World
        Whose words ask.
    """

    scene: int
    split: str
    obj: int
    label: bool
    context: int | None
    world: World = field(repr=False)

    @property
    def _asked(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        ask = self.world.language.exists_question
        return ask(self.obj), () if self.context is None else ((ask(self.context), self.world.language.yes),)

    @property
    def messages(self) -> list[Message]:
        """Chat messages for ``processor.apply_chat_template``."""
        return self.world.messages(*self._asked)

    @property
    def prompt(self) -> str:
        """What the chat template makes of ``messages``: the processor's ``text``."""
        return self.world.prompt(*self._asked)


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """What a policy is measured on.

    Attributes
    ----------
    world : World
        Whose scenes they are.
    seed, noise : int, float
        What made the set.
    scenes : tuple of Truth
        What there is to perceive.
    media : tuple
        One picture (PIL, RGB) or one clip (samples, float32 of shape [N]) per scene.
    questions : tuple of Question
        Closed questions of all splits, in each as many with yes as with no.
    open_questions : tuple of OpenQuestion
        One of each of the world's ``open_kinds`` per scene.
    probes : tuple of Probe
        True words about one thing per scene.
    erased : tuple
        The media without the thing of the probes.
    """

    world: World
    seed: int
    noise: float
    scenes: tuple[Any, ...]
    media: tuple[Any, ...]
    questions: tuple[Question, ...]
    open_questions: tuple[OpenQuestion, ...]
    probes: tuple[Probe, ...]
    erased: tuple[Any, ...]

    @property
    def images(self) -> tuple[Any, ...]:
        """The media of a world of images.

        Raises
        ------
        ValueError
            If the world is of another modality.
        """
        return self._media_of("image", "images")

    @property
    def clips(self) -> tuple[NDArray[np.float32], ...]:
        """The media of a world of sounds (ValueError if the world is of another modality)."""
        return self._media_of("audio", "clips")

    def _media_of(self, modality: str, name: str) -> tuple[Any, ...]:
        if self.world.modality != modality:
            raise ValueError(
                f"the {self.world.name} world has no {name}, its modality is {self.world.modality}; "
                "`media` are those of any world"
            )
        return self.media

    def background(self, medium: Any) -> Any:
        """Return one of ``media`` with everything in it erased and its noise left; for ``erased`` that of its scene.

        Raises
        ------
        ValueError
            For a medium that is not of this set.
        """
        for index, scene in enumerate(self.scenes):
            if medium is self.media[index] or medium is self.erased[index]:
                found, rng = self.media[index], np.random.default_rng((self.seed, index))
                return self.world.emptied(found, scene, noise=self.noise, rng=rng)
        raise ValueError("The medium is none of this evaluation set.")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that is shown and asked, and of the right answers: what is said belongs to this set alone."""
        found = hashlib.sha256()
        asked = [(q.scene, q.split, q.obj, q.label, q.prompt) for q in self.questions]
        beside = [*map(astuple, self.open_questions), *map(astuple, self.probes)]
        found.update(repr((self.caption_prompt, self.detail_prompt, asked, beside)).encode())
        for medium in (*self.media, *self.erased):
            values = np.asarray(medium)
            found.update(repr((values.shape, values.dtype.str)).encode())
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()

    @property
    def caption_messages(self) -> list[Message]:
        """Chat messages that ask for a caption of any of the media."""
        return self.world.messages(self.world.language.caption_request)

    @property
    def caption_prompt(self) -> str:
        """The request for a caption of any of the media, as the processor's ``text``."""
        return self.world.prompt(self.world.language.caption_request)

    @property
    def detail_prompt(self) -> str:
        """The request for a caption of two sentences."""
        return self.world.prompt(self.world.language.detail_request)

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

    def asked(self, kind: str) -> tuple[OpenQuestion, ...]:
        """Return the open questions of a kind."""
        return tuple(question for question in self.open_questions if question.kind == kind)

    def probed(self, kind: str) -> tuple[Probe, ...]:
        """Return the probes of a kind."""
        return tuple(probe for probe in self.probes if probe.kind == kind)


def lone_objects(scene: Truth, language: Language) -> tuple[int, ...]:
    """Return the classes of a scene whose partner is absent."""
    return tuple(o for o in scene.present if language.partner(o) not in scene.present)


def _shuffled(rng: np.random.Generator, objects: Sequence[int]) -> list[int]:
    return [objects[i] for i in rng.permutation(len(objects)).tolist()]


def _random(rng: np.random.Generator, scene: Truth, language: Language) -> list[int]:
    return _shuffled(rng, scene.absent)


def _popular(rng: np.random.Generator, scene: Truth, language: Language) -> list[int]:
    # a stable sort after shuffling breaks the ties within a pair at random
    return sorted(_shuffled(rng, scene.absent), key=lambda o: -language.popularity[o])


def _partners(rng: np.random.Generator, scene: Truth, language: Language) -> list[int]:
    return [language.partner(o) for o in _shuffled(rng, lone_objects(scene, language))]


_ABSENT: Final[dict[str, Callable[[np.random.Generator, Truth, Language], list[int]]]] = {
    "random": _random,
    "popular": _popular,
    "adversarial": _partners,
    "dialogue": _partners,
}


def _context(rng: np.random.Generator, scene: Truth, language: Language, obj: int) -> int:
    """Return the class of the earlier turn: the partner if it is there, otherwise another present one."""
    if (other := language.partner(obj)) in scene.present:
        return other
    return _shuffled(rng, [o for o in scene.present if o != obj])[0]


def _scene_questions(world: World, rng: np.random.Generator, scene: Truth, index: int) -> Iterator[Question]:
    for split in SPLITS:
        absent = _ABSENT[split](rng, scene, world.language)[:_PER_SCENE]
        present = _shuffled(rng, scene.present)[: len(absent)]
        for obj in (*absent, *present):
            context = _context(rng, scene, world.language, obj) if split == "dialogue" else None
            yield Question(index, split, obj, obj in scene.present, context, world)


def draw_scenes(
    world: World, seed: int, scenes: int
) -> tuple[np.random.Generator, tuple[Any, ...], tuple[Question, ...]]:
    """Return scenes and questions of a seed, and the generator in the state in which media are rendered."""
    rng = np.random.default_rng(seed)
    drawn = tuple(world.draw(rng) for _ in range(scenes))
    return rng, drawn, tuple(q for i, scene in enumerate(drawn) for q in _scene_questions(world, rng, scene, i))


def draw_set(world: World, seed: int, scenes: int, noise: float) -> EvaluationSet:
    """Draw an evaluation set; ``World.evaluation_set`` says how, and checks the arguments."""
    rng, drawn, questions = draw_scenes(world, seed, scenes)
    media = tuple(world.render(rng, drawn, noise))
    # a generator of its own: what is asked beside must not change the closed questions of a seed
    beside = np.random.default_rng((seed, 1))
    asked = world.open_questions(beside, drawn)
    probing, erased = probes(world, beside, drawn, media, noise)
    return EvaluationSet(world, seed, noise, drawn, media, questions, asked, probing, erased)
