"""Constant: mean gains of a calibration, written into the cache once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.cache import slots, with_slots

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

    Raises
    ------
    ValueError
        If the calibration has no gains.
    """

    calibration: Calibration
    scale: float = 1.0

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

    @property
    def idle(self) -> bool:
        """Whether all factors are one."""
        return self.scale == 0

    @property
    def needs(self) -> Needs:
        """The prompt's cache, to exchange it."""
        return Needs(rewrites_cache=True)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits over the scaled values; after the first token these are the model's own."""
        if step.index:
            return step.logits
        past = step.positions.length - 1
        scaled = {}
        for layer, (keys, values) in slots(step.past).items():
            factor: Tensor | float = 1.0
            for name, mask in step.modalities.items():
                gain = self.calibration.gains.get(name)
                if gain is None:
                    raise ValueError(
                        f"The calibration has gains for {sorted(self.calibration.gains)}, the prompt holds {name!r}; "
                        "calibrate on prompts with it."
                    )
                held = mask[:, past - keys.shape[2] : past].to(values.device, torch.float32)
                by_head = self.scale * gain[layer].to(values.device)
                factor = factor + by_head[None, :, None, None] * held[:, None, :, None]
            # In float32, because bfloat16 has no number between 1 and 1.008.
            scaled[layer] = keys, (values * factor).to(values.dtype)
        return step.shifted(step.keep(with_slots(step.past, scaled)))
