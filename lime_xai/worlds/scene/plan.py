"""The settings of the training run that made the shipped model."""

from dataclasses import dataclass, field

from lime_xai.worlds.scene.corpus import Habits


@dataclass(frozen=True)
class Plan:
    """Steps, batch sizes, learning rates and habits of all stages; with the seed they decide the weights.

    Attributes
    ----------
    vision_steps, text_steps, alignment_steps : int
        Optimiser steps per stage.
    vision_batch, text_batch, alignment_batch : int
        Documents (images) per step.
    text_share : float
        Share of text-only documents in alignment, which keep the text habits alive.
    vision_rate, text_rate, projector_rate, decoder_rate : float
        Highest learning rates; the last two are those of alignment.
    tagged : float
        Share of text-only documents that open with tag words, the stand-in for an image.
    text_habits, alignment_habits : Habits
        What the text of either stage does.
    """

    vision_steps: int = 4000
    vision_batch: int = 48
    vision_rate: float = 1.5e-3
    text_steps: int = 1400
    text_batch: int = 48
    text_rate: float = 2.5e-3
    tagged: float = 0.5
    text_habits: Habits = field(
        default_factory=lambda: Habits(
            caption=0.5,
            dialogue=0.5,
            misnamed=0.3,
            popularity=0.7,
            probing=0.3,
            yes_share=0.6,
            follow_partner=0.7,
        )
    )
    alignment_steps: int = 850
    alignment_batch: int = 48
    projector_rate: float = 2.5e-3
    decoder_rate: float = 5e-4
    text_share: float = 0.3
    alignment_habits: Habits = field(
        default_factory=lambda: Habits(
            caption=0.25,
            dialogue=0.5,
            misnamed=0.5,
            popularity=0.5,
            probing=0.3,
            follow_partner=0.5,
        )
    )
