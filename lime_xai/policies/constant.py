"""Constant: mean gains of a calibration, written into the cache once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.cache import slots, with_slots
from lime_xai.model.modalities import Modalities
from lime_xai.model.positions import Positions

from .calibration import Calibration
from .registry import register_policy


@register_policy()
@dataclass(frozen=True)
class Constant(Policy):
    """Multiply cached values by ``1 + scale * gain`` per layer, head and modality, once, after the prompt.

    After that, decode steps cost as much as without a policy. It is the control for policies that compute something at
    every token.

    Parameters
    ----------
    calibration : Calibration
        With gains (``calibrate(model, prompts)``).
    scale : float
        0 leaves generation untouched.
    modalities : tuple of str, optional
        Whose slots; None: those of all modalities of the prompt.

    Raises
    ------
    ValueError
        If the calibration has no gains; when steering begins, if it has none for a modality of the prompt.
    """

    calibration: Calibration
    scale: float = 1.0
    modalities: Modalities = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.calibration.gains:
            raise ValueError(
                f"The calibration {self.calibration.path or ''} has no gains; measure it with "
                "calibrate(model, prompts, gains=True)."
            )

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that the calibration was not measured on."""
        self.calibration.check(model)

    def check_positions(self, positions: Positions) -> None:
        """Refuse a prompt with a modality that the calibration has no gains for."""
        lacking = [name for name in self._names(positions) if name not in self.calibration.gains]
        if lacking:
            raise ValueError(
                f"The calibration has gains for {sorted(self.calibration.gains)}, the prompt holds {lacking[0]!r}; "
                "calibrate on prompts with it, or name the modalities to scale: Constant(modalities=...)."
            )

    def _names(self, positions: Positions) -> list[str]:
        """Return the modalities whose slots are scaled."""
        return [name for name in positions.modalities if self.modalities is None or name in self.modalities]

    @property
    def idle(self) -> bool:
        """Whether all factors are one."""
        return self.scale == 0

    @property
    def needs(self) -> Needs:
        """The prompt's cache, to exchange it."""
        return Needs(rewrites_cache=True, groups=(self.modalities,))

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits over the scaled values; after the first token these are the model's own."""
        if step.index:
            return step.logits
        past = step.positions.length - 1
        scaled = {}
        for layer, (keys, values) in slots(step.past).items():
            factor: Tensor | float = 1.0
            for name in self._names(step.positions):
                gain, mask = self.calibration.gains[name], step.modalities[name]
                held = mask[:, past - keys.shape[2] : past].to(values.device, torch.float32)
                by_head = self.scale * gain[layer].to(values.device)
                factor = factor + by_head[None, :, None, None] * held[:, None, :, None]
            # In float32, because bfloat16 has no number between 1 and 1.008.
            scaled[layer] = keys, (values * factor).to(values.dtype)
        return step.shifted(step.keep(with_slots(step.past, scaled)))
