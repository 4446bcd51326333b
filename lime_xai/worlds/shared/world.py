"""What a world is: a generator of inputs with known truth, questions about them, erasure, and a model of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from lime_xai.values.checking import Count, Natural, check_arguments

from .chat import Chat, Message
from .criteria import Criterion
from .evaluation import EvaluationSet, draw_set
from .language import EOS, PAD, Language, Truth, object_tokens
from .loading import load_model
from .probes import OpenQuestion, attribute_question, count_question

BUNDLED: Final = "bundled"
"""Name of the model that is shipped with a world."""
_REPOSITORY: Final = Path(__file__).parents[3]


class World(ABC):
    """A world; everything that evaluates is written for any of them.

    A scene is what one input shows or lets hear: a ``lime_xai.worlds.shared.language.Truth``. A medium is that input
    as a person has it, a picture or samples, before the processor.

    Attributes
    ----------
    name : str
        Name in the registry.
    description : str
        One line.
    medium, thing, matter : str
        Words for one input, for what is in it, and for what erasing takes away: picture, object, pixels.
    language : Language
        Its words.
    chat : Chat
        How its conversations are written.
    default_noise : float
        Noise of its evaluation sets by default.
    open_kinds : tuple of str
        Kinds of its open questions.
    criteria : tuple of Criterion
        What its models are measured against.
    folder : Path
        Of ``protocol.json`` and of the shipped model.
    extra_folder : Path
        Where a checkout keeps the weights that the wheel leaves out.
    extra_advice : str
        How to get them.
    model_class : type
        Class of its models in transformers.
    recipe : type
        TypedDict of what ``recipe.json``, which training writes, must hold.
    question_rows, caption_rows : int
        Questions, and captions, that one call of ``generate`` answers.
    """

    name: str
    description: ClassVar[str]
    medium: ClassVar[str]
    thing: ClassVar[str]
    matter: ClassVar[str]
    language: Language
    chat: ClassVar[Chat]
    default_noise: float
    open_kinds: ClassVar[tuple[str, ...]]
    criteria: ClassVar[tuple[Criterion, ...]]
    folder: ClassVar[Path]
    extra_folder: Path = _REPOSITORY / "benchmarks" / "models"
    extra_advice: ClassVar[str] = "Clone the repository, or train them: python -m benchmarks.worlds.training --help"
    model_class: ClassVar[Any]
    recipe: ClassVar[Any]
    question_rows: ClassVar[int] = 100
    caption_rows: ClassVar[int] = 50

    @property
    def tuning_advice(self) -> str:
        """How policies get settings for its models; a sentence of the notice that says they have none."""
        return f"`lime-xai world --world {self.name} --tune FILE` chooses some, --tuned FILE uses them."

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Truth:
        """Draw a scene to evaluate on: two to four things, independent of each other."""

    @abstractmethod
    def render(self, rng: np.random.Generator, scenes: Sequence[Any], noise: float) -> Sequence[Any]:
        """Return one medium per scene."""

    @abstractmethod
    def erase(self, medium: Any, scene: Any, obj: int, *, noise: float, rng: np.random.Generator) -> Any:
        """Return a medium without one thing, with the noise that it has (ValueError if the thing is not there)."""

    @abstractmethod
    def nothing(self, medium: Any) -> Any:
        """Return a medium of the same size in which there is nothing."""

    @abstractmethod
    def region(self, scene: Any, obj: int) -> tuple[int, ...]:
        """Return the perceptual tokens of a thing, counted from the first one of its medium (ValueError if absent)."""

    @abstractmethod
    def batch(self, processor: Any, media: Sequence[Any], texts: Sequence[str]) -> Any:
        """Return what the processor makes of media and prompts, one of each per row, padded."""

    @abstractmethod
    def kind(self, recipe: Mapping[str, Any]) -> str:
        """Return the kind of a model, a key of ``KIND_NAMES``, by its ``recipe.json``."""

    def name_tokens(self, processor: Any) -> tuple[int, ...]:
        """Return the token id of each class's name inside a caption, in the order of the classes."""
        return object_tokens(processor, self.language)

    def unknown_names(self, processor: Any) -> list[str]:
        """Return the names of classes that are no token of a processor's tokenizer."""
        return [name for name in self.language.classes if name not in processor.tokenizer.get_vocab()]

    def answer_tokens(self, processor: Any, words: Sequence[str]) -> list[int]:
        """Return the token id that each word has as the first one of an answer."""
        found: list[int] = processor.tokenizer.convert_tokens_to_ids(list(words))
        return found

    def caption_tokens(self, processor: Any, caption: str) -> list[int]:
        """Return the token ids of a caption that ``captions`` returned, without its end."""
        found: list[int] = processor.tokenizer(caption.replace(EOS, "").strip())["input_ids"]
        return found

    def continued(self, processor: Any, prompt: str, tokens: Sequence[int]) -> str:
        """Return a prompt that the first tokens of an answer follow, as the processor's ``text``."""
        return " ".join([prompt, *processor.tokenizer.convert_ids_to_tokens(list(tokens))])

    def captions(self, processor: Any, sequences: Any) -> list[str]:
        """Return generated token ids [B, T] as captions, ending in ``</s>`` where the model ended them."""
        found = []
        for text in processor.batch_decode(sequences, skip_special_tokens=False):
            body, end, _ = text.partition(EOS)
            found.append(" ".join(f"{body.replace(PAD, '')} {end}".split()))
        return found

    def emptied(self, medium: Any, scene: Any, *, noise: float, rng: np.random.Generator) -> Any:
        """Return a medium of a scene with everything in it erased, with the noise that it has."""
        for obj in scene.present:
            medium = self.erase(medium, scene, obj, noise=noise, rng=rng)
        return medium

    def open_questions(self, rng: np.random.Generator, scenes: Sequence[Any]) -> tuple[OpenQuestion, ...]:
        """Draw one question of each of ``open_kinds`` per scene: attributes, number, and ``further_questions``."""
        made: list[OpenQuestion] = []
        for index, scene in enumerate(scenes):
            attributes = self.language.attributes
            asked = (scene.present[int(i)] for i in rng.integers(len(scene.present), size=len(attributes)))
            about = zip(attributes, asked, strict=True)
            asked_about = [attribute_question(self, index, scene, attribute, obj) for attribute, obj in about]
            made += [question for question in asked_about if question is not None]
            made.append(count_question(self, index, scene))
            made += self.further_questions(rng, index, scene)
        return tuple(made)

    def further_questions(self, rng: np.random.Generator, index: int, scene: Any) -> list[OpenQuestion]:
        """Draw open questions about the scene of this number that only this world has; by default none."""
        return []

    def messages(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """Return chat messages about one medium, as ``Chat.messages``."""
        return self.chat.messages(question, earlier)

    def prompt(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> str:
        """Return a prompt about one medium, as ``Chat.prompt``."""
        return self.chat.prompt(question, earlier)

    @property
    def modality(self) -> str:
        """What the model perceives: ``"image"`` or ``"audio"``."""
        return self.chat.modality

    @property
    def probe_kinds(self) -> tuple[str, ...]:
        """Kinds of its probes: a name, yes, and the attributes."""
        return ("name", "yes", *(attribute.name for attribute in self.language.attributes))

    @property
    def shipped(self) -> Path:
        """Folder of the shipped model."""
        return self.folder / "model"

    def evaluation_set(self, seed: Natural, scenes: Count = 300, noise: float | None = None) -> EvaluationSet:
        """Draw scenes with their media and questions.

        Up to two absent things are asked about per scene and split, with as many present ones:

        - ``random``: any absent ones;
        - ``popular``: the absent ones that the training text speaks of most;
        - ``adversarial``: absent partners of present ones;
        - ``dialogue``: the same, after an earlier turn has asked for the partner and had the answer yes (for
          questions about present ones: the partner where it is there, otherwise another present one).

        Parameters
        ----------
        seed : int
            Seed of everything in the set. Training draws from other generators, so any seed is fresh.
        scenes : int
            Number of scenes.
        noise : float, optional
            Standard deviation of the noise as a fraction of full scale; by default ``default_noise``.

        Returns
        -------
        EvaluationSet
            The set; one (seed, scenes, noise) always gives the same.

        Raises
        ------
        ValueError
            If ``scenes`` is not positive, ``seed`` is negative, or ``noise`` is out of the world's range.
        TypeError
            For arguments of another type.
        """
        check_arguments(World.evaluation_set, seed=seed, scenes=scenes, noise=noise)
        return draw_set(self, seed, scenes, self.default_noise if noise is None else noise)

    def load_model(self, folder: str | Path | None = None) -> tuple[Any, Any]:
        """Load a model and its processor from a folder, without any network access.

        Parameters
        ----------
        folder : str or Path, optional
            What ``python -m benchmarks.worlds.training`` wrote; by default the shipped model.

        Returns
        -------
        (PreTrainedModel, ProcessorMixin)
            The model in evaluation mode, float32 on the CPU whatever it is stored in, and its processor.

        Raises
        ------
        TypeError
            If ``folder`` is no path.
        FileNotFoundError
            If the folder holds no finished model, or none is shipped.
        ValueError
            If its tokenizer does not know the world's names, or its weights are damaged.
        """
        check_arguments(World.load_model, folder=folder)
        return load_model(self, folder)
