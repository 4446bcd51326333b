"""A row as a function of which groups are present, for methods that perturb groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import REPLACEMENTS, perturbed, replacement
from lime_xai.values.checking import Count, Known

from .base import LIMIT, RowMethod, explained


def switched(
    problem: Problem, groups: Groups, kind: str, value: Callable[..., Tensor]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return a function of switches, ``[R, n]`` to ``[R]``, and the switches of the row as it is, ``[1, n]`` ones.

    A group whose switch is 0 is replaced at all its positions, deep visual features included; positions of no group
    are kept. A method that perturbs switches computes what it would compute on embeddings with groups as its feature
    mask, without tensors of the embeddings' size for its own bookkeeping.

    Parameters
    ----------
    problem : Problem
        The row.
    groups : Groups
        ``n`` of them.
    kind : str
        Replacement.
    value : callable
        ``R`` rows of inputs to ``[R]``.
    """
    substitute = replacement(problem, kind)

    def function(switches: Tensor) -> Tensor:
        return value(*perturbed(problem, groups.positions(switches > 0.5), substitute))

    return function, torch.ones(1, len(groups), dtype=torch.float32, device=problem.input_ids.device)


@dataclass(frozen=True)
class Perturbation(RowMethod):
    """Settings of methods that replace groups of positions.

    Parameters
    ----------
    replacement : {"mean", "blur", "zero"}
        What a group is replaced by (``lime_xai.attribution.replacement``).
    rows_per_pass : int
        Perturbed prompts per forward pass.
    limit : int or None
        Most forward rows per explained token.
    """

    replacement: Annotated[str, Known(REPLACEMENTS)] = "mean"
    rows_per_pass: Count = 16
    limit: Count | None = LIMIT

    def function(
        self, problem: Problem, groups: Groups, column: int | None
    ) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Return the explained value as a function of switches, and the switches that are all on."""
        return switched(problem, groups, self.replacement, explained(problem, column))
