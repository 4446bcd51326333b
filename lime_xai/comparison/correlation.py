"""Rank correlation."""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation of two vectors ``[n]``; equal values share their mean rank.

    Zero where one of them is constant: it ranks nothing, so it agrees with nothing.
    """
    ranks = [_ranks(vector) for vector in (first, second)]
    one, other = (rank - rank.mean() for rank in ranks)
    scale = float(((one @ one) * (other @ other)).sqrt())
    return float(one @ other) / scale if scale > 0 else 0.0


def _ranks(vector: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(vector.double(), return_inverse=True, return_counts=True)
    middle = counts.cumsum(0) - (counts - 1) / 2
    found: Tensor = middle[inverse].double()
    return found
