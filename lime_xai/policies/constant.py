"""Constant: gains that relevance chose on other prompts, written into the cache once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Module

from lime_xai.cache import slots, with_slots
from lime_xai.calibration import Calibration
from lime_xai.step import DecodingStep


@dataclass(frozen=True)
class Constant:
    """Multiply cached values by ``1 + scale * gain`` per layer, head and modality, once, behind the prompt.

    After that every step costs what it cost without. The control for every policy that computes something per token.

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

    needs_past = False
    rewrites_cache = True

    def __post_init__(self) -> None:
        if not self.calibration.gains:
            raise ValueError("The calibration has no gains; measure it with calibrate(model, prompts, gains=True).")

    def check_model(self, model: Module) -> None:
        """Refuse a model that the calibration was not measured on."""
        self.calibration.check(model)

    @property
    def idle(self) -> bool:
        """Whether all factors are one."""
        return self.scale == 0

    @property
    def needs_history(self) -> bool:
        """Never."""
        return False

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits over the scaled values; behind the first token these are the model's own."""
        if step.index:
            return step.logits
        past = step.attended.shape[1] - 1
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
            # in float32: near 1, bfloat16 knows no factor between 1 and 1.008
            scaled[layer] = keys, (values * factor).to(values.dtype)
        return step.shifted(step.keep(with_slots(step.past, scaled)))
