"""The settings of a training run; the defaults are those of the shipped model."""

from dataclasses import dataclass, field

import numpy as np

from lime_xai.worlds.scene.objects import partner
from lime_xai.worlds.scene.scenes import HABITUAL_SHARE, Scene, independent_scene, paired_scene, themed_scene

from .habits import Habits
from .network import SIZES


@dataclass(frozen=True)
class Plan:
    """Steps, batch sizes, learning rates and habits of all stages; with the seed they decide the weights.

    Attributes
    ----------
    vision_steps, text_steps, alignment_steps : int
        Optimiser steps per stage.
    vision_batch, text_batch, alignment_batch : int
        Documents (images) per step.
    alignment_text_share : float
        Share of text-only documents in alignment, which keep the text habits alive.
    vision_rate, text_rate, alignment_projector_rate, alignment_decoder_rate : float
        Highest learning rates; the last two are those of alignment.
    text_tagged : float
        Share of text-only documents that open with tag words, the stand-in for an image.
    text_habits, alignment_habits : Habits
        What the text of either stage does.
    image_cooccurrence : float
        Where the habit of seeing partners comes from, 0 to 1: this share of the pictures shows pairs, and the habits
        of the text are weakened by as much. 0: from the text alone; 1: from the pictures alone.
    alignment_hidden : float
        Probability that one of two partners in a paired picture of the alignment is hidden: told of and not drawn.
        Without it pictures of pairs teach little, for a model that sees every cell needs no partner to go by.
    size : str
        A key of ``SIZES``.

    Raises
    ------
    ValueError
        If ``image_cooccurrence`` is no share, or the size is unknown.
    """

    vision_steps: int = 4000
    vision_batch: int = 48
    vision_rate: float = 1.5e-3
    text_steps: int = 1600
    text_batch: int = 48
    text_rate: float = 2.5e-3
    text_tagged: float = 0.5
    text_habits: Habits = field(
        default_factory=lambda: Habits(
            caption=0.5,
            dialogue=0.5,
            misnamed=0.3,
            popularity=0.7,
            probing=0.3,
            yes_share=0.6,
            follow_partner=0.7,
            attribute=0.2,
        )
    )
    alignment_steps: int = 2800
    alignment_batch: int = 48
    alignment_projector_rate: float = 2.5e-3
    alignment_decoder_rate: float = 7e-4
    alignment_text_share: float = 0.3
    alignment_habits: Habits = field(
        default_factory=lambda: Habits(
            caption=0.25,
            dialogue=0.6,
            misnamed=0.5,
            popularity=0.5,
            probing=0.3,
            follow_partner=0.5,
            attribute=0.2,
            closing=0.6,
        )
    )
    image_cooccurrence: float = 0.0
    alignment_hidden: float = 0.22
    size: str = "1m"

    def __post_init__(self) -> None:
        if not 0 <= self.image_cooccurrence <= 1:
            raise ValueError(f"image_cooccurrence is {self.image_cooccurrence}; expected a share between 0 and 1")
        if self.size not in SIZES:
            raise ValueError(f"unknown size {self.size!r}; expected one of {', '.join(SIZES)}")

    def pictured_scene(self, rng: np.random.Generator) -> Scene:
        """Draw the scene of a training picture: a paired one with probability ``image_cooccurrence``."""
        paired = self.image_cooccurrence > 0 and rng.random() < self.image_cooccurrence
        return paired_scene(rng) if paired else independent_scene(rng)

    def aligned_scene(self, rng: np.random.Generator) -> tuple[Scene, Scene]:
        """Draw what the text of an alignment picture tells of, and what the picture shows of it."""
        told = self.pictured_scene(rng)
        shown = told
        if self.image_cooccurrence > 0:
            for first in (obj for obj in told.present if obj % 2 == 0 and partner(obj) in told.present):
                if rng.random() < self.alignment_hidden:
                    shown = shown.without((first, partner(first))[int(rng.integers(2))])
        return told, shown

    def spoken_scene(self, rng: np.random.Generator) -> Scene:
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
