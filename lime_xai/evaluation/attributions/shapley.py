"""Shapley values of the players of a game, over all coalitions or over drawn orders."""

from __future__ import annotations

import torch
from torch import Tensor

from lime_xai.attribution.games import Game, exact_shapley_values

EXACT = 8
"""Games of at most this many players are summed over all coalitions."""
PERMUTATIONS = 16
"""Orders that larger games are averaged over: half of them drawn, the others their reverses."""


def shapley_values(game: Game, count: int, seed: int) -> Tensor:
    r"""Return the Shapley value of each of ``count`` players, ``[n]`` float64.

    .. math:: \phi_i = \frac1n \sum_{S \not\ni i} \binom{n-1}{|S|}^{-1} \big(v(S \cup i) - v(S)\big)

    At most ``EXACT`` players: over all coalitions. More: the mean over ``PERMUTATIONS`` orders of what a player adds on
    joining those before it. Either way the values add up to :math:`v(N) - v(\emptyset)`.

    Source: Shapley 1953; sampling by Castro et al. 2009, reversed orders after Mitchell et al. 2022.

    Parameters
    ----------
    game : callable
        Called once.
    count : int
        Number ``n`` of players.
    seed : int
        Of the orders.
    """
    return exact_shapley_values(game, count) if count <= EXACT else _sampled(game, count, seed)


def _sampled(game: Game, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(count, generator=generator) for _ in range(PERMUTATIONS // 2)]
    place = torch.stack([order for one in drawn for order in (one, one.flip(0))]).argsort(-1)
    kept = place[:, None] < torch.arange(count + 1)[:, None]
    values = game(kept.flatten(0, 1)).double()
    added = values.reshape(PERMUTATIONS, count + 1).diff(dim=-1)
    found: Tensor = added.gather(1, place).mean(0)
    return found
