"""The share of an answer that perceptual tokens contribute."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .scored import Scored


def perceptual_share(scored: Scored) -> float:
    """Return the share of absolute relevance on perceptual positions; NaN if there is no relevance."""
    return _share(scored.relevance.cpu().double().abs(), scored.task.perceptual.cpu())


def mm_shap(scored: Scored) -> float:
    """Return the share of absolute Shapley values of groups that perceptual groups have.

    It belongs to the model and the prompt, not to the method: it is what ``perceptual_share`` can be held against.

    Source: Parcalabescu and Frank 2023.
    """
    groups = scored.groups
    perceptual = torch.zeros(len(groups), dtype=torch.bool)
    perceptual[groups.ids[(groups.ids >= 0) & scored.task.perceptual].cpu()] = True
    return _share(scored.task.shapley.abs(), perceptual)


def _share(weight: Tensor, members: Tensor) -> float:
    total = float(weight.sum())
    return float(weight[members].sum()) / total if total > 0 else math.nan
