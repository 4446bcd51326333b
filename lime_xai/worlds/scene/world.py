"""The scene world."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from PIL import Image
from transformers import LlavaForConditionalGeneration

from lime_xai.worlds.shared.criteria import kind_of
from lime_xai.worlds.shared.world import World

from .criteria import CRITERIA
from .images import cell_tokens, erase, render
from .scenes import Scene, independent_scene
from .text import CHAT, LANGUAGE

DEFAULT_NOISE: Final = 0.5
"""Pixel noise of evaluation pictures as a fraction of 255; training pictures have at most 0.35."""
OPACITY: Final = (0.5, 1.0)
_GREY = (220, 220, 220)


class SceneRecipe(TypedDict):
    """What training writes of a model of the scene world, and its kind is read from."""

    image_cooccurrence: float


class SceneWorld(World):
    """Pictures of 72x72 pixels with two to four pictograms; noise is from 0 to 4."""

    name = "scene"
    description = "pictograms in a 2x2 grid; a tiny LLaVA with partner, popularity and agreeing priors"
    medium, thing, matter = "picture", "object", "pixels"
    language = LANGUAGE
    chat = CHAT
    default_noise = DEFAULT_NOISE
    open_kinds = ("colour", "side", "count")
    criteria = CRITERIA
    folder = Path(__file__).parent
    model_class = LlavaForConditionalGeneration
    recipe = SceneRecipe

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a scene to evaluate on: two to four things, independent of each other."""
        return independent_scene(rng, smallest=2)

    def render(self, rng: np.random.Generator, scenes: Sequence[Scene], noise: float) -> list[Image.Image]:
        """Return one picture per scene."""
        return [Image.fromarray(p) for p in render(rng, scenes, noise=noise, opacity=OPACITY)]

    def erase(
        self, medium: Image.Image, scene: Scene, obj: int, *, noise: float, rng: np.random.Generator
    ) -> Image.Image:
        """Return a picture without one object: background noise over its cell."""
        return erase(medium, scene, obj, noise=noise, rng=rng)

    def nothing(self, medium: Image.Image) -> Image.Image:
        """Return a grey picture."""
        return Image.new("RGB", medium.size, _GREY)

    def region(self, scene: Scene, obj: int) -> tuple[int, ...]:
        """Return the image tokens of an object's cell."""
        return cell_tokens(scene.cell_of(obj))

    def batch(self, processor: Any, media: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        """Return what the processor makes of pictures and prompts, one of each per row, padded."""
        pictures = [[picture] for picture in media]
        return processor(images=pictures, text=list(texts), return_tensors="pt", padding=True)

    def kind(self, recipe: Mapping[str, Any]) -> str:
        """Return the kind of a model by the share of its habit that pictures have taught."""
        return kind_of(recipe["image_cooccurrence"])


WORLD: Final = SceneWorld()
