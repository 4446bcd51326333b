"""The scene world to train on: a real LLaVA of one million parameters, or of five, and its vision tower."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lime_xai.worlds.scene.images import render, token_cells
from lime_xai.worlds.scene.objects import CLASSES, COLOURS, IMAGE_SIZE, IMAGE_TOKENS, PATCH_SIZE, SIDES
from lime_xai.worlds.scene.scenes import (
    EMPTY,
    HABITUAL_SHARE,
    Scene,
    as_arrays,
    independent_scene,
    paired_scene,
    themed_scene,
)
from lime_xai.worlds.scene.text import IMAGE, LANGUAGE, VOCABULARY, build_processor
from lime_xai.worlds.shared.language import partner

from .corpus import Style
from .documents import IGNORED
from .habits import Habits
from .plan import Plan
from .stages import PerceptionStage
from .subject import Size, Subject

TRAINING_NOISE = (0.0, 0.35)
TRAINING_OPACITY = (0.35, 1.0)


SIZES: Final[Mapping[str, Size]] = MappingProxyType(
    {
        "1m": Size(96, 256, 3, 128, 320, 4, 4, 2),
        "5m": Size(128, 384, 4, 256, 640, 6, 8, 4),
    }
)
"""Sizes of models by name: parameters in millions."""


def build_config(size: str = "1m") -> LlavaConfig:
    """Return the configuration of a model.

    Parameters
    ----------
    size : str
        A key of ``SIZES``; the shipped model is a ``"1m"``: CLIP tower 3 x 96, Llama decoder 4 x 128.

    Raises
    ------
    KeyError
        If there is no such size.
    """
    dims = SIZES[size]
    vision = CLIPVisionConfig(
        hidden_size=dims.tower_width,
        intermediate_size=dims.tower_inner,
        num_hidden_layers=dims.tower_layers,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=dims.tower_width,
    )
    text = LlamaConfig(head_dim=dims.width // dims.heads, rms_norm_eps=1e-5, **dims.decoder_settings(VOCABULARY))
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=VOCABULARY[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )


class SceneSubject(Subject):
    """The scene world."""

    style = Style(LANGUAGE, {"caption": 0.27, "attributes": 0.22, "inventory": 0.08, "count": 0.05})
    slots = (VOCABULARY[IMAGE],) * IMAGE_TOKENS
    placeholder = VOCABULARY[IMAGE]
    sizes = SIZES

    def new_model(self, size: str) -> LlavaForConditionalGeneration:
        """Return a model with weights drawn from torch's global generator."""
        model: LlavaForConditionalGeneration = LlavaForConditionalGeneration(build_config(size))
        return model

    def build_processor(self) -> Any:
        """Return the processor that is saved beside the model."""
        return build_processor()

    def tower(self, model: Any) -> nn.Module:
        """Return the CLIP tower."""
        tower: nn.Module = model.model.vision_tower
        return tower

    def projector(self, model: Any) -> nn.Module:
        """Return what maps its features to the width of the decoder."""
        projector: nn.Module = model.model.multi_modal_projector
        return projector

    def perceive(self, rng: np.random.Generator, truths: Sequence[Any]) -> Tensor:
        """Draw pictures of scenes, uint8 of shape [B, 72, 72, 3]."""
        return torch.from_numpy(render(rng, truths, noise=TRAINING_NOISE, opacity=TRAINING_OPACITY))

    def features(self, model: Any, perceived: Tensor) -> Tensor:
        """Return the tower's patch features of pictures, shape [B, 36, D]."""
        scaled = perceived.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        features: Tensor = model.model.vision_tower(pixel_values=scaled).last_hidden_state[:, 1:]
        return features


SUBJECT: Final = SceneSubject()


@dataclass(frozen=True)
class ScenePlan(Plan):
    """Settings of the scene world; the defaults are those of the shipped model.

    Attributes
    ----------
    vision_steps, vision_batch, vision_rate : int, int, float
        Of the vision stage: optimiser steps, images per step, highest learning rate.
    image_cooccurrence : float
        Where the habit of seeing partners comes from, 0 to 1: this share of the pictures shows pairs, and the habits
        of the text are weakened by as much. 0: from the text alone; 1: from the pictures alone.
    alignment_hidden : float
        Probability that one of two partners in a paired picture of the alignment is hidden: told of and not drawn.
        Without it pictures of pairs teach little, for a model that sees every cell needs no partner to go by.

    Raises
    ------
    ValueError
        If ``image_cooccurrence`` is no share, or the size is unknown.
    """

    sizes = SIZES
    vision_steps: int = 4000
    vision_batch: int = 48
    vision_rate: float = 1.5e-3
    image_cooccurrence: float = 0.0
    alignment_hidden: float = 0.22

    def __post_init__(self) -> None:
        if not 0 <= self.image_cooccurrence <= 1:
            raise ValueError(f"image_cooccurrence is {self.image_cooccurrence}; expected a share between 0 and 1")
        super().__post_init__()

    def independent(self, rng: np.random.Generator) -> Scene:
        """Draw what tag words stand in for."""
        return independent_scene(rng)

    def pictured_scene(self, rng: np.random.Generator) -> Scene:
        """Draw the scene of a training picture: a paired one with probability ``image_cooccurrence``."""
        paired = self.image_cooccurrence > 0 and rng.random() < self.image_cooccurrence
        return paired_scene(rng) if paired else independent_scene(rng)

    def aligned(self, rng: np.random.Generator) -> tuple[Scene, Scene]:
        """Draw what the text of an alignment picture tells of, and what the picture shows of it."""
        told = self.pictured_scene(rng)
        shown = told
        if self.image_cooccurrence > 0:
            for first in (obj for obj in told.present if obj % 2 == 0 and partner(obj) in told.present):
                if rng.random() < self.alignment_hidden:
                    shown = shown.without((first, partner(first))[int(rng.integers(2))])
        return told, shown

    def spoken(self, rng: np.random.Generator) -> Scene:
        """Draw the scene that text without a context speaks of: themed unless partners are left to pictures.

        Habits of colour and side are the text's in any case.
        """
        return (
            independent_scene(rng, habitual=HABITUAL_SHARE)
            if rng.random() < self.image_cooccurrence
            else themed_scene(rng)
        )

    @property
    def habits_of_text(self) -> Habits:
        """What text without images does."""
        return self.text_habits.weakened(1 - self.image_cooccurrence)

    @property
    def habits_of_alignment(self) -> Habits:
        """What text about images does."""
        return self.alignment_habits.weakened(1 - self.image_cooccurrence)


class VisionStage(PerceptionStage):
    """Every patch names the class, the colour and the side of its cell."""

    name = "vision"
    outputs = len(CLASSES) + 1 + len(COLOURS) + len(SIDES)
    plan: ScenePlan
    _cells = token_cells()

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        scenes = [self.plan.pictured_scene(rng) for _ in range(self.plan.vision_batch)]
        pixels = self.subject.perceive(rng, scenes)
        classes, colours = as_arrays(scenes)
        empty = len(CLASSES)
        wanted = torch.from_numpy(np.where(classes == EMPTY, empty, classes)[:, self._cells]).flatten()
        shades = torch.from_numpy(np.where(colours == EMPTY, IGNORED, colours)[:, self._cells]).flatten()
        scores: Any = self.scores(pixels).flatten(0, 1)
        named, coloured, placed = scores.split((empty + 1, len(COLOURS), len(SIDES)), dim=1)
        sides = torch.from_numpy(np.tile(self._cells % len(SIDES), len(scenes)))
        loss = functional.cross_entropy(named, wanted)
        loss = loss + 0.5 * functional.cross_entropy(coloured, shades, ignore_index=IGNORED)
        loss = loss + 0.2 * functional.cross_entropy(placed, sides)
        seen = wanted != empty
        right = (named[seen].argmax(-1) == wanted[seen]).float().mean()
        return loss, {"objects right": right.item()}
