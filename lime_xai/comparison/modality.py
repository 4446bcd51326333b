"""How much of an answer is owed to what is seen or heard."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .case import Case


def perceptual_share(case: Case) -> float:
    """Return the share of absolute relevance on perceptual positions; NaN if there is no relevance."""
    return _share(case.relevance.cpu().double().abs(), case.row.perceptual.cpu())


def mm_shap(case: Case) -> float:
    """Return the share of absolute Shapley values of groups that perceptual groups have.

    It belongs to the model and the prompt, whatever the method: what ``perceptual_share`` can be held against.

    Source: Parcalabescu and Frank 2023.
    """
    groups = case.groups
    perceptual = torch.zeros(len(groups), dtype=torch.bool)
    perceptual[groups.ids[(groups.ids >= 0) & case.row.perceptual].cpu()] = True
    return _share(case.row.shapley.abs(), perceptual)


def _share(weight: Tensor, members: Tensor) -> float:
    total = float(weight.sum())
    return float(weight[members].sum()) / total if total > 0 else math.nan
