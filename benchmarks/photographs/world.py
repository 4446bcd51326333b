"""Photographs as a world: the harness of ``lime_xai.worlds`` asks it for scenes, pictures, erasure and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import InternVLForConditionalGeneration

from lime_xai.evaluation.policies.registry import tuned_file
from lime_xai.worlds import register_world
from lime_xai.worlds.shared.chat import Chat, Message
from lime_xai.worlds.shared.criteria import UNTAUGHT
from lime_xai.worlds.shared.language import EOS
from lime_xai.worlds.shared.world import World

from .catalogue import Catalogue, catalogue
from .criteria import CRITERIA
from .language import PhotoLanguage, language_of, read_priors, single_tokens
from .model import END, PLACEHOLDER, START
from .packages import found
from .placed import PhotoScene, emptied, erased
from .scenes import DIFFICULTIES, Difficulty, draw, masks, noisy, render, tokens_of

EVALUATED: Final = "moderate"
"""Difficulty of evaluation pictures, chosen on the pilot seed with the first model.

Between ``medium``, that of training, with which captions missed the F1 that the criteria demand, and larger objects,
with which more random questions were answered rightly than they allow."""
_GREY: Final = (128, 128, 128)


class PhotoChat(Chat):
    """SmolLM2's chat, with a picture before the first question; earlier answers end in a full stop, as in training."""

    def messages(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """Return chat messages about one picture or sound, as ``Chat.messages``."""
        return super().messages(question, _sentences(earlier))

    def prompt(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> str:
        """Return what the chat template makes of ``messages(question, earlier)``, up to the answer."""
        text, mark = "", self.mark
        for asked, answer in _sentences(earlier):
            text += f"{START}user\n{mark}{asked}{END}\n{START}assistant\n{answer}{END}\n"
            mark = ""
        return f"{text}{START}user\n{mark}{question}{END}\n{START}assistant\n"


def _sentences(earlier: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return earlier turns whose answers end in a full stop."""
    return [(asked, f"{answer}.") for asked, answer in earlier]


class SpokenWorld(World):
    """A world whose language model is SmolLM2: names and answers are single tokens of its tokenizer."""

    def name_tokens(self, processor: Any) -> tuple[int, ...]:
        """Return the token id of each class's name inside a caption, in the order of the classes."""
        return tuple(single_tokens(processor.tokenizer, [f" {name}" for name in self.language.classes]))

    def unknown_names(self, processor: Any) -> list[str]:
        """Return the names of classes that are more than one token of a processor's tokenizer."""
        words = processor.tokenizer
        return [
            name for name in self.language.classes if len(words(f" {name}", add_special_tokens=False)["input_ids"]) != 1
        ]

    def answer_tokens(self, processor: Any, words: Sequence[str]) -> list[int]:
        """Return the token id that each word has as the first one of an answer."""
        return single_tokens(processor.tokenizer, words)

    def continued(self, processor: Any, prompt: str, tokens: Sequence[int]) -> str:
        """Return a prompt that the first tokens of an answer follow, as the processor's ``text``."""
        return prompt + str(processor.tokenizer.decode(list(tokens)))

    def captions(self, processor: Any, sequences: Any) -> list[str]:
        """Return generated token ids [B, T] as captions, ending in ``</s>`` where the model ended them."""
        written = []
        for text in processor.batch_decode(sequences, skip_special_tokens=False):
            body, end, _ = text.partition(END)
            written.append(f"{body.strip()} {EOS}" if end else body.strip())
        return written


class PhotoRecipe(TypedDict):
    """What training writes of a model of photographs."""

    seed: int


class PhotographWorld(SpokenWorld):
    """Pictures of 224 x 224 pixels with two to five photographed objects.

    Parameters
    ----------
    stamps : Catalogue
        The objects.
    language : PhotoLanguage
        What is said about them.
    models : Path
        Folder of assembled models, by name.
    difficulty : Difficulty
        Of evaluation pictures.
    """

    name = "photographs"
    description = "photographed objects; InternVL's class with DINOv2-S and SmolLM2, no habit trained in"
    medium, thing, matter = "picture", "object", "pixels"
    chat = PhotoChat("image", PLACEHOLDER)
    open_kinds = ("colour", "side", "count")
    criteria = CRITERIA
    folder = Path(__file__).parent
    extra_advice = "Assemble them: python -m benchmarks.photographs assemble NAME"
    model_class = InternVLForConditionalGeneration
    recipe = PhotoRecipe
    question_rows, caption_rows = 20, 20

    def __init__(
        self, stamps: Catalogue, language: PhotoLanguage, models: Path, difficulty: Difficulty = DIFFICULTIES[EVALUATED]
    ) -> None:
        self.stamps, self.language, self.extra_folder = stamps, language, models
        self.difficulty, self.default_noise = difficulty, difficulty.noise

    @property
    def tuning_advice(self) -> str:
        """How policies get settings for its models; `lime-xai world` does not know this world."""
        return f"--tuned {tuned_file('scene')} uses those chosen on the pictograms."

    def draw(self, rng: np.random.Generator) -> PhotoScene:
        """Draw a scene to evaluate on: two to five objects, independent of each other."""
        return draw(rng, self.stamps, self.difficulty)

    def render(self, rng: np.random.Generator, scenes: Sequence[PhotoScene], noise: float) -> list[Image.Image]:
        """Return one picture per scene."""
        return [self._picture(scene, noise, rng) for scene in scenes]

    def erase(
        self, medium: Image.Image, scene: PhotoScene, obj: int, *, noise: float, rng: np.random.Generator
    ) -> Image.Image:
        """Return a picture without one object: what is behind it shows, with noise drawn anew; other pixels stay."""
        return self._changed(medium, scene, erased(scene, obj), noise, rng)

    def emptied(self, medium: Image.Image, scene: PhotoScene, *, noise: float, rng: np.random.Generator) -> Image.Image:
        """Return a picture with its background alone."""
        return self._changed(medium, scene, emptied(scene), noise, rng)

    def nothing(self, medium: Image.Image) -> Image.Image:
        """Return a grey picture."""
        return Image.new("RGB", medium.size, _GREY)

    def region(self, scene: PhotoScene, obj: int) -> tuple[int, ...]:
        """Return the image tokens that show an object (ValueError if it is not there)."""
        return tokens_of(self.mask(scene, obj))

    def mask(self, scene: PhotoScene, obj: int) -> NDArray[np.bool_]:
        """Return the visible pixels of an object, bool of shape [224, 224] (ValueError if it is not there)."""
        found: NDArray[np.bool_] = masks(scene, self.stamps)[scene.index_of(obj)]
        return found

    def batch(self, processor: Any, media: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        """Return what the processor makes of pictures and prompts, one of each per row, padded."""
        return processor(images=list(media), text=list(texts), return_tensors="pt", padding=True)

    def kind(self, recipe: Mapping[str, Any]) -> str:
        """Return the kind of its models: no habit was trained in."""
        return UNTAUGHT

    def _picture(self, scene: PhotoScene, noise: float, rng: np.random.Generator) -> Image.Image:
        picture = render(scene, self.stamps)
        return noisy(picture, noise, rng) if noise else picture

    def _changed(
        self, medium: Image.Image, scene: PhotoScene, other: PhotoScene, noise: float, rng: np.random.Generator
    ) -> Image.Image:
        """Return a picture of a scene with the pixels in which another scene differs taken from that one."""
        clean, wanted = (np.asarray(render(one, self.stamps)) for one in (scene, other))
        new = np.asarray(self._picture(other, noise, rng))
        differs = (clean != wanted).any(-1, keepdims=True)
        return Image.fromarray(np.where(differs, new, np.asarray(medium)))


def open_world(folder: Path, difficulty: str = EVALUATED) -> PhotographWorld:
    """Return the photographs with the parts in a folder, and make them known by name to ``lime_xai.worlds``.

    A report holds the world's name, and resumes from one of the same: so pictures of another difficulty than
    ``EVALUATED`` are a world of another name, ``photographs-hard`` for example.

    Parameters
    ----------
    folder : Path
        What ``python -m benchmarks.photographs parts`` filled; its ``models`` holds assembled models.
    difficulty : str
        A key of ``scenes.DIFFICULTIES``.

    Raises
    ------
    FileNotFoundError
        If the parts are not there.
    """
    stamps = catalogue(found(folder).stamps)
    world = PhotographWorld(stamps, language_of(read_priors()), folder / "models", DIFFICULTIES[difficulty])
    if difficulty != EVALUATED:
        world.name = f"{world.name}-{difficulty}"
    register_world(world)
    return world
