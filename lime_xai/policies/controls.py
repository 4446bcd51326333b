"""Controls: what any policy that computes something must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lime_xai.cache import slots, with_slots
from lime_xai.names import check_plausibility
from lime_xai.step import DecodingStep


@dataclass(frozen=True)
class UniformGain:
    """Multiply the cached values of all perceptual slots by ``1 + gain``, everywhere alike.

    Parameters
    ----------
    gain : float
        0 leaves generation untouched.
    """

    gain: float = 0.8

    @property
    def idle(self) -> bool:
        """Whether the gain is zero."""
        return self.gain == 0

    @property
    def needs_history(self) -> bool:
        """Only the cache is used."""
        return False

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits over the scaled values."""
        past = step.attended.shape[1] - 1
        scaled = {}
        for layer, (keys, values) in slots(step.past).items():
            mask = step.perceptual[:, past - keys.shape[2] : past].to(values.device, values.dtype)
            scaled[layer] = keys, values * (1 + self.gain * mask[:, None, :, None])
        return step.shifted(step.logits_with(with_slots(step.past, scaled)))


@dataclass(frozen=True)
class Plausible:
    """Exclude tokens far less probable than the best one: the mask that other policies use, alone.

    Parameters
    ----------
    plausibility : float
        Fraction of the largest probability; 0 leaves generation untouched.

    Raises
    ------
    ValueError
        For a plausibility outside [0, 1).
    """

    plausibility: float = 0.1

    def __post_init__(self) -> None:
        check_plausibility(self.plausibility)

    @property
    def idle(self) -> bool:
        """Whether nothing is excluded."""
        return self.plausibility == 0

    @property
    def needs_history(self) -> bool:
        """Only the logits are used."""
        return False

    def step(self, step: DecodingStep) -> Tensor:
        """Return the masked logits."""
        return step.plausible(step.logits, self.plausibility)


@dataclass(frozen=True)
class LogitShift:
    """Add constants to logits, such as a shift of "yes": moves thresholds, sees nothing.

    Parameters
    ----------
    shifts : mapping of int to float
        Token id to what is added to its logit.

    Raises
    ------
    ValueError
        During decoding, for a token id outside the vocabulary.
    """

    shifts: Mapping[int, float] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing is shifted."""
        return not any(self.shifts.values())

    @property
    def needs_history(self) -> bool:
        """Only the logits are used."""
        return False

    def step(self, step: DecodingStep) -> Tensor:
        """Return the shifted logits."""
        size = step.logits.shape[-1]
        bad = [token for token in self.shifts if not 0 <= int(token) < size]
        if bad:
            raise ValueError(f"Token ids {bad} are out of range; the vocabulary has {size} entries.")
        logits = step.logits.clone()
        for token, shift in self.shifts.items():
            logits[:, int(token)] += shift
        return logits
