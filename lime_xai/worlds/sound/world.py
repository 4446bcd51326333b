"""The sound world."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from transformers import Qwen2AudioForConditionalGeneration

from lime_xai.worlds.shared.criteria import LANGUAGE_PRIOR
from lime_xai.worlds.shared.language import Truth, partner
from lime_xai.worlds.shared.probes import OpenQuestion
from lime_xai.worlds.shared.world import World

from .clips import Clip, event_tokens, independent_clip, render, silence
from .criteria import CRITERIA
from .events import CLASSES, SAMPLING_RATE
from .synthesis import TRAINING_VARIANTS, VARIANTS
from .text import CHAT, FIRST_QUESTION, LANGUAGE, choice_question

DEFAULT_NOISE: Final = 0.03
"""Root mean square of the noise of evaluation clips; training clips have at most 0.02."""
EVALUATION_VARIANTS: Final = range(TRAINING_VARIANTS, VARIANTS)
"""Variants of events that no training clip holds."""

Samples = NDArray[np.float32]


class SoundRecipe(TypedDict):
    """What training writes of a model of the sound world."""

    seed: int


def four_options(rng: np.random.Generator, clip: Truth) -> tuple[list[int], int]:
    """Draw four classes of which one sounds, and return them with it.

    Its partner is another of the four, if that does not sound.
    """
    right = clip.present[int(rng.integers(len(clip.present)))]
    others = rng.permutation([o for o in clip.absent if o != partner(right)]).tolist()
    wrong = [partner(right), *others] if partner(right) in clip.absent else others
    return rng.permutation([right, *wrong[:3]]).tolist(), right


class SoundWorld(World):
    """Clips of four seconds with two to four events; noise is from 0 to 1."""

    name = "sound"
    description = "events in clips of four seconds; a tiny Qwen2-Audio with partner, popularity and agreeing priors"
    medium, thing, matter = "sound", "event", "samples"
    language = LANGUAGE
    chat = CHAT
    default_noise = DEFAULT_NOISE
    open_kinds = ("pitch", "time", "count", "first", "choice")
    criteria = CRITERIA
    folder = Path(__file__).parent
    extra_folder = World.extra_folder / "sound"
    model_class = Qwen2AudioForConditionalGeneration
    recipe = SoundRecipe

    def draw(self, rng: np.random.Generator) -> Clip:
        """Draw a clip to evaluate on: two to four events, independent of each other, in variants new to the model."""
        return independent_clip(rng, smallest=2, variants=EVALUATION_VARIANTS)

    def render(self, rng: np.random.Generator, scenes: Sequence[Clip], noise: float) -> list[Samples]:
        """Return the samples of each clip at 16 kHz, float32 of shape [64000]."""
        return list(render(rng, scenes, noise=noise))

    def erase(self, medium: Samples, scene: Clip, obj: int, *, noise: float, rng: np.random.Generator) -> Samples:
        """Return a clip without one event: noise and other events stay as they are, and ``rng`` is not used."""
        return silence(medium, scene, obj)

    def nothing(self, medium: Samples) -> Samples:
        """Return digital silence."""
        return np.zeros_like(medium)

    def region(self, scene: Clip, obj: int) -> tuple[int, ...]:
        """Return the audio tokens in which an event sounds."""
        return event_tokens(scene.event_of(obj))

    def further_questions(self, rng: np.random.Generator, index: int, scene: Clip) -> list[OpenQuestion]:
        """Draw the questions what comes first, and which of four sounds."""
        options, right = four_options(rng, scene)
        names = tuple(CLASSES[o] for o in options)
        return [
            OpenQuestion(index, "first", self.prompt(FIRST_QUESTION), CLASSES[scene.present[0]], CLASSES),
            OpenQuestion(index, "choice", self.prompt(choice_question(options)), CLASSES[right], names),
        ]

    def batch(self, processor: Any, media: Sequence[Samples], texts: Sequence[str]) -> Any:
        """Return what the processor makes of clips and prompts, one of each per row, padded."""
        return processor(
            audio=list(media), text=list(texts), sampling_rate=SAMPLING_RATE, return_tensors="pt", padding=True
        )

    def kind(self, recipe: Mapping[str, Any]) -> str:
        """Return that the habit is one of the text: training clips are independent."""
        return LANGUAGE_PRIOR


WORLD: Final = SoundWorld()
