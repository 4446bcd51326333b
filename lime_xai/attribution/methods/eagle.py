"""Greedy search for the groups that suffice for a token and that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import perturbed_logits, perturbed_values
from lime_xai.values.checking import Count

from .base import columns
from .perturbation import Perturbation, switched
from .registry import register_method


@register_method
@dataclass(frozen=True)
class Eagle(Perturbation):
    r"""Groups added one by one to a set, always the one that raises the objective most (after EAGLE, arXiv 2509.22496).

    .. math:: F(S) = p(S) + p(\text{all}) - p(\text{all} \setminus S)

    where :math:`p(S)` is the probability of the explained token (for a margin, of the first token among the two; for
    several tokens, the mean) if all groups outside ``S`` are replaced: what suffices, plus what is lost without it.
    Relevance of a group is what it added to ``F`` when it was chosen; where a later group added more than an earlier
    one, both get their mean (the closest sequence that does not increase), so that relevance follows the order of
    choice. It sums to ``F`` of the chosen groups minus ``F`` of none, in probability: ``Attribution.residual`` means
    nothing. Where the probability is close to one with and without a group, gains are small and the order says little.

    Only the idea of the objective and the greedy search are the paper's; regions are ``Groups``, and the scores above
    are this library's own.

    Parameters
    ----------
    most : int or None
        Groups that are chosen; the others get zero. None: all.
    """

    most: Count | None = None
    name: ClassVar[str] = "eagle"

    def _steps(self, groups: Groups) -> int:
        return len(groups) if self.most is None else min(self.most, len(groups))

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return two rows per candidate and step, and two for all groups and none."""
        return 2 + sum(2 * (len(groups) - step) for step in range(self._steps(groups)))

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups."""
        function, switches = switched(
            problem,
            groups,
            self.replacement,
            lambda kept, substitute: probability(problem, column, kept, substitute),
        )

        def rows(kept: Tensor) -> Tensor:
            return self.values(function, kept.to(switches))

        with torch.no_grad():
            order, gains = greedy(rows, len(groups), self._steps(groups))
        values = torch.zeros(len(groups), dtype=torch.float32, device=switches.device)
        values[order] = torch.from_numpy(isotonic_regression(gains, increasing=False).x.copy()).to(values)
        return groups.spread(values)


def probability(problem: Problem, column: int | None, kept: Tensor, substitute: tuple[Tensor, ...] | None) -> Tensor:
    """Return the probability of what is explained, ``[R]``: the mean over tokens, for a margin of one among two."""
    if problem.against is None:
        logits = perturbed_logits(problem, kept, substitute)
        wanted = problem.ids.clamp(min=0).expand(logits.shape[0], -1)[..., None]
        found = logits.softmax(-1).gather(-1, wanted)[..., 0]
    else:
        found = perturbed_values(problem, kept, substitute).sigmoid()
    return found[:, columns(problem, column)].mean(-1)


def greedy(rows: Callable[[Tensor], Tensor], count: int, steps: int) -> tuple[list[int], list[float]]:
    """Choose groups one by one.

    Parameters
    ----------
    rows : callable
        Kept groups ``[R, count]`` to probabilities ``[R]``.
    count, steps : int
        Groups there are, and that are chosen.

    Returns
    -------
    order : list of int
        Chosen groups.
    gains : list of float
        What each added to the objective.
    """
    whole, nothing = rows(torch.tensor([[True] * count, [False] * count])).tolist()
    chosen = torch.zeros(count, dtype=torch.bool)
    order: list[int] = []
    gains: list[float] = []
    before = nothing
    for _ in range(steps):
        left = (~chosen).nonzero()[:, 0]
        candidates = chosen | torch.eye(count, dtype=torch.bool)[left]
        with_only, without = rows(torch.cat([candidates, ~candidates])).chunk(2)
        objective = (with_only + whole - without).tolist()
        best = max(range(len(left)), key=objective.__getitem__)
        order.append(int(left[best]))
        gains.append(objective[best] - before)
        before = objective[best]
        chosen[order[-1]] = True
    return order, gains
