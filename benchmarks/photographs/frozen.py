"""Weights that are not trained, held in another precision while the rest is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen_in(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Hold the weights of frozen linear maps in another precision for a while; autocast would convert them every step.

    Parameters
    ----------
    model : Module
        Its weights have their own values and precision again afterwards.
    dtype : torch.dtype
        The precision.
    """
    linear = (module for module in model.modules() if isinstance(module, nn.Linear))
    kept = {module.weight: module.weight.data for module in linear if not module.weight.requires_grad}
    try:
        for weight, exact in kept.items():
            weight.data = exact.to(dtype)
        yield
    finally:
        for weight, exact in kept.items():
            weight.data = exact
