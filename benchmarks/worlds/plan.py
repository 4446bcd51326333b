"""The settings of a training run that every world has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lime_xai.worlds.shared.language import Truth

from .habits import Habits
from .subject import Size


@dataclass(frozen=True)
class Plan(ABC):
    """Steps, batch sizes, learning rates and habits; with the seed they decide the weights.

    Attributes
    ----------
    text_steps, alignment_steps : int
        Optimiser steps per stage.
    text_batch, alignment_batch : int
        Documents per step.
    alignment_text_share : float
        Share of text-only documents in alignment, which keep the text habits alive.
    text_rate, alignment_projector_rate, alignment_decoder_rate : float
        Highest learning rates; the last two are those of alignment.
    text_tagged : float
        Share of text-only documents that open with tag words, the stand-in for an image or a sound.
    text_habits, alignment_habits : Habits
        What the text of either stage does.
    size : str
        Of the model, a key of ``sizes``.

    Raises
    ------
    ValueError
        If the size is unknown.
    """

    sizes: ClassVar[Mapping[str, Size]]

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
    size: str = "1m"

    def __post_init__(self) -> None:
        if self.size not in self.sizes:
            raise ValueError(f"unknown size {self.size!r}; expected one of {', '.join(self.sizes)}")

    @abstractmethod
    def independent(self, rng: np.random.Generator) -> Truth:
        """Draw what tag words stand in for."""

    @abstractmethod
    def spoken(self, rng: np.random.Generator) -> Truth:
        """Draw what text without a context speaks of."""

    @abstractmethod
    def aligned(self, rng: np.random.Generator) -> tuple[Truth, Truth]:
        """Draw what the text of an alignment document tells of, and what the picture or the sound holds of it."""

    @property
    def habits_of_text(self) -> Habits:
        """What text without images or sounds does."""
        return self.text_habits

    @property
    def habits_of_alignment(self) -> Habits:
        """What text about images or sounds does."""
        return self.alignment_habits
