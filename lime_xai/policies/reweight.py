"""Reweight: count what is owed to perception once more, without any optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import Module

from lime_xai.calibration import Calibration
from lime_xai.names import check_plausibility, check_strength
from lime_xai.owing import OwingDirection, check_owing
from lime_xai.step import DecodingStep


@dataclass(frozen=True)
class Reweight:
    r"""Decode from ``z + c (z_perceptual - b)``, kept to plausible tokens.

    ``z_perceptual`` is the part of every logit that is owed to perceptual tokens (AttnLRP in forward direction), which
    the relevance stream gives in the decoding step itself; ``b`` its mean over unlabelled prompts, without which every
    answer moves the same way ("yes" is owed to what is seen, "no" is not).

    Parameters
    ----------
    strength : float
        ``c``; 0 leaves generation untouched.
    calibration : Calibration, optional
        Gives ``b``; None: zero.
    relevance : {"slot", "input"}
        Perceptual slots of the cache own themselves, or, exactly, whatever perceptual embeddings have led to. The
        latter makes the prompt cost more and keeps a second cache.
    plausibility : float
        Tokens with probability below this fraction of the largest are excluded; 0: none.
    direction : {"forward", "backward", "auto"}
        How ``z_perceptual`` is found: by the stream, which a model must be trusted with, or by differentiating a
        backward pass, in slot form and two to five times slower; both give the same. ``auto`` takes the stream where it
        can, and warns where it cannot.

    Raises
    ------
    ValueError
        For an unknown form or direction, a negative strength, a plausibility outside [0, 1), a calibration of another
        form, or the exact form in another direction than forward.
    """

    strength: float = 1.0
    calibration: Calibration | None = None
    relevance: Literal["slot", "input"] = "slot"
    plausibility: float = 0.1
    direction: OwingDirection = "forward"

    needs_past = False

    def __post_init__(self) -> None:
        check_owing(self.relevance, self.direction)
        check_strength(self.strength)
        check_plausibility(self.plausibility)
        if self.calibration is not None and self.calibration.relevance != self.relevance:
            raise ValueError(
                f"The calibration is of relevance {self.calibration.relevance!r}, the policy of {self.relevance!r}; "
                "calibrate with the same."
            )

    def check_model(self, model: Module) -> None:
        """Refuse a model that the calibration was not measured on."""
        if self.calibration is not None:
            self.calibration.check(model)

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

    @property
    def stream_direction(self) -> OwingDirection:
        """How to find what the stream would."""
        return self.direction

    def step(self, step: DecodingStep) -> Tensor:
        """Return the reweighted logits."""
        if step.owed is None:
            raise RuntimeError("The relevance stream did not run in this step.")
        owed = step.owed.to(step.plain.dtype)
        if self.calibration is not None:
            baseline = step.state.get("baseline")
            if baseline is None:
                baseline = step.state["baseline"] = self.calibration.baseline.to(owed)
            owed = owed - baseline
        return step.plausible(step.shifted(step.plain + self.strength * owed), self.plausibility)
