"""A row as a function of which groups are present, for methods that perturb groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import (
    DELETION,
    PERTURBATIONS,
    check_perturbation,
    perturbed_values,
    substitute_of,
)
from lime_xai.model.prompt import Prompt
from lime_xai.values.checking import Count, Known

from .base import LIMIT, RowMethod


def switched(
    problem: Problem, groups: Groups, kind: str, value: Callable[[Tensor, tuple[Tensor, ...] | None], Tensor]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return a function of switches, ``[R, n]`` to ``[R]``, and the switches of the row as it is, ``[1, n]`` ones.

    A group whose switch is 0 is replaced or deleted at all its positions, deep visual features included; positions of
    no group are kept. A method that perturbs switches computes what it would compute on embeddings with groups as its
    feature mask, without tensors of the embeddings' size for its own bookkeeping.

    Parameters
    ----------
    problem : Problem
        The row.
    groups : Groups
        ``n`` of them.
    kind : str
        In ``PERTURBATIONS``.
    value : callable
        Takes kept positions ``[R, T]`` and what replaces the others, returns ``[R]``.

    Raises
    ------
    ValueError
        If positions cannot be deleted from this row, or a group holds the last one.
    """
    substitute = substitute_of(problem, kind)
    last = problem.calls[0].length - 1
    if kind == DELETION and int(groups.ids[last]) >= 0:
        raise ValueError(
            f"The group {groups.names[int(groups.ids[last])]!r} holds the last position of the prompt, from which the "
            "answer is read: it cannot be deleted. Leave this position out of the groups, or use a replacement."
        )

    def function(switches: Tensor) -> Tensor:
        return value(groups.positions(switches > 0.5), substitute)

    return function, torch.ones(1, len(groups), dtype=torch.float32, device=problem.input_ids.device)


@dataclass(frozen=True)
class Perturbation(RowMethod):
    """Settings of methods that replace or delete groups of positions.

    Parameters
    ----------
    replacement : {"mean", "blur", "zero", "silence", "deletion"}
        What a group is replaced by (``lime_xai.attribution.replacement``), or that it is deleted. ``mean`` is the
        default: every model takes it, and on pictures it orders methods most as localisation does. Prefer ``deletion``
        for text, where the mean of word embeddings is no word (docs, Comparing attributions).
    rows_per_pass : int
        Perturbed prompts per forward pass.
    limit : int or None
        Most forward rows per explained token.
    """

    replacement: Annotated[str, Known(PERTURBATIONS)] = "mean"
    rows_per_pass: Count = 16
    limit: Count | None = LIMIT

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that does not have the replacement (ValueError)."""
        check_perturbation(self.replacement, prompt)

    def function(
        self, problem: Problem, groups: Groups, column: int | None
    ) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Return the explained value as a function of switches, and the switches that are all on."""

        def value(kept: Tensor, substitute: tuple[Tensor, ...] | None) -> Tensor:
            found = perturbed_values(problem, kept, substitute)
            return found.sum(-1) if column is None else found[:, column]

        return switched(problem, groups, self.replacement, value)

    def values(self, function: Callable[[Tensor], Tensor], kept: Tensor) -> Tensor:
        """Return values ``[R]`` of sets of groups ``[R, n]``, ``rows_per_pass`` at a time."""
        return torch.cat([function(part) for part in torch.split(kept, self.rows_per_pass)])
