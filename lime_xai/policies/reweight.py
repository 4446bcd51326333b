"""Reweight: count what is owed to perception once more, without any optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lime_xai.names import unknown_name
from lime_xai.step import DecodingStep
from lime_xai.streaming import STREAM_FORMS


@dataclass(frozen=True)
class Reweight:
    r"""Decode from ``z + c z_perceptual``, kept to plausible tokens.

    ``z_perceptual`` is the part of every logit that is owed to perceptual tokens (AttnLRP in forward direction), which
    the relevance stream gives in the decoding step itself.

    Parameters
    ----------
    strength : float
        ``c``; 0 leaves generation untouched.
    relevance : {"slot", "input"}
        Perceptual slots of the cache own themselves, or, exactly, whatever perceptual embeddings have led to. The
        latter makes the prompt cost more and keeps a second cache.
    plausibility : float
        Tokens with probability below this fraction of the largest are excluded; 0: none.

    Raises
    ------
    ValueError
        For an unknown form, a negative strength or a plausibility outside [0, 1).
    """

    strength: float = 1.0
    relevance: Literal["slot", "input"] = "slot"
    plausibility: float = 0.1

    needs_past = False

    def __post_init__(self) -> None:
        if self.relevance not in STREAM_FORMS:
            raise unknown_name("relevance", self.relevance, STREAM_FORMS)
        if not self.strength >= 0:
            raise ValueError(f"strength is {self.strength}; expected zero or more.")
        if not 0 <= self.plausibility < 1:
            raise ValueError(f"plausibility is {self.plausibility}; expected at least 0 and less than 1.")

    @property
    def idle(self) -> bool:
        """Whether nothing is added."""
        return self.strength == 0

    @property
    def needs_history(self) -> bool:
        """Never."""
        return False

    @property
    def stream(self) -> Literal["slot", "input"]:
        """The form of the relevance stream to run."""
        return self.relevance

    def step(self, step: DecodingStep) -> Tensor:
        """Return the reweighted logits."""
        if step.owed is None:
            raise RuntimeError("The relevance stream did not run in this step.")
        owed = step.owed.to(step.plain.dtype)
        return step.plausible(step.shifted(step.plain + self.strength * owed), self.plausibility)
