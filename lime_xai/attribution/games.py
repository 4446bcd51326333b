"""Shapley values of games that are small enough to look at every coalition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

Game = Callable[[Tensor], Tensor]
"""Values ``[R]`` of coalitions ``[R, n]`` bool."""


def exact_shapley_values(game: Game, count: int) -> Tensor:
    r"""Return the Shapley value of each of ``count`` players, ``[n]`` float64, from all :math:`2^n` coalitions.

    .. math:: \phi_i = \frac1n \sum_{S \not\ni i} \binom{n-1}{|S|}^{-1} \big(v(S \cup i) - v(S)\big)

    They add up to :math:`v(N) - v(\emptyset)`. Source: Shapley 1953.

    Parameters
    ----------
    game : callable
        Called once.
    count : int
        Number ``n`` of players.
    """
    # coalition number c holds player i if bit n - 1 - i of c is set
    kept = torch.tensor(list(itertools.product([False, True], repeat=count)))
    values = game(kept).double().cpu()
    shares = torch.tensor([1 / (count * math.comb(count - 1, size)) for size in range(count)], dtype=torch.float64)
    found = []
    for player in range(count):
        without = (~kept[:, player]).nonzero()[:, 0]
        gain = values[without + 2 ** (count - 1 - player)] - values[without]
        found.append((shares[kept[without].sum(1)] * gain).sum())
    return torch.stack(found)
