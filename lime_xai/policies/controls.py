"""Controls: policies that compute no relevance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.cache import slots, with_slots
from lime_xai.model.modalities import Modalities
from lime_xai.values.checking import Fraction

from .registry import register_policy


@register_policy("uniform_gain")
@dataclass(frozen=True)
class UniformGain(Policy):
    """Multiply the cached values of all perceptual slots by ``1 + gain``, everywhere alike.

    Parameters
    ----------
    gain : float
        0 leaves generation untouched.
    modalities : tuple of str, optional
        Whose slots; None: those of all modalities of the prompt.
    """

    gain: float = 0.8
    modalities: Modalities = None

    @property
    def idle(self) -> bool:
        """Whether the gain is zero."""
        return self.gain == 0

    @property
    def needs(self) -> Needs:
        """The cache before every token."""
        return Needs(past=True, groups=(self.modalities,))

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits over the scaled values."""
        past, group = step.positions.length - 1, step.group(self.modalities)
        scaled = {}
        for layer, (keys, values) in slots(step.past).items():
            mask = group[:, past - keys.shape[2] : past].to(values.device, values.dtype)
            scaled[layer] = keys, values * (1 + self.gain * mask[:, None, :, None])
        return step.shifted(step.logits_with(with_slots(step.past, scaled)))


@register_policy("plausible")
@dataclass(frozen=True)
class Plausible(Policy):
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

    plausibility: Fraction = 0.1

    @property
    def idle(self) -> bool:
        """Whether nothing is excluded."""
        return self.plausibility == 0

    @property
    def needs(self) -> Needs:
        """The mask."""
        return Needs(plausibility=self.plausibility)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits unchanged; the session excludes tokens."""
        return step.logits


@register_policy("logit_shift")
@dataclass(frozen=True)
class LogitShift(Policy):
    """Add constants to logits, such as a shift of "yes": it moves a threshold and uses neither image nor sound.

    Parameters
    ----------
    shifts : mapping of int to float
        Token id to what is added to its logit.

    Raises
    ------
    ValueError
        When steering begins, for a token id outside the vocabulary of the model.
    """

    shifts: Mapping[int, float] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing is shifted."""
        return not any(self.shifts.values())

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse token ids outside the model's vocabulary."""
        size = int(model.config.get_text_config().vocab_size)
        bad = [token for token in self.shifts if not 0 <= int(token) < size]
        if bad:
            raise ValueError(f"Token ids {bad} are out of range; the vocabulary has {size} entries.")

    def step(self, step: DecodingStep) -> Tensor:
        """Return the shifted logits."""
        logits = step.logits.clone()
        for token, shift in self.shifts.items():
            logits[:, int(token)] += shift
        return logits
