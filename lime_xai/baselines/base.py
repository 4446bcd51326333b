"""What attribution methods that are not LRP have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lime_xai.groups import Groups
from lime_xai.names import unknown_name
from lime_xai.problem import Problem
from lime_xai.replacement import REPLACEMENTS
from lime_xai.targets import IGNORED

LIMIT = 10_000
"""Forward rows that one attribution may cost, unless a user allows more."""


@runtime_checkable
class Baseline(Protocol):
    """An attribution method that asks a row of a prompt as a function of its embeddings.

    Attributes
    ----------
    name : str
        Key in ``BASELINES``, and the ``method`` of what ``attribute`` returns.
    limit : int or None
        Most forward rows per explained token; None: as many as it takes.
    """

    @property
    def name(self) -> str:
        """What ``attribute`` calls it."""
        ...

    @property
    def limit(self) -> int | None:
        """Most forward rows per explained token."""
        ...

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the forward rows of the whole sequence that ``relevance`` costs for one explained token."""
        ...

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return the relevance of each position ``[T]`` for explained token ``column``; None: for all of them."""
        ...


def check_counts(**counts: int | None) -> None:
    """Refuse settings that are less than one; None is allowed.

    Raises
    ------
    ValueError
        Naming the setting.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; expected at least one.")


def check_replacement(kind: str) -> None:
    """Refuse an unknown replacement.

    Raises
    ------
    ValueError
        With the nearest known one.
    """
    if kind not in REPLACEMENTS:
        raise unknown_name("replacement", kind, REPLACEMENTS)


def check_cost(method: Baseline, problem: Problem, groups: Groups) -> None:
    """Refuse an attribution that costs more forward rows than its limit allows.

    Raises
    ------
    ValueError
        With the cost, the number of groups and what lowers it.
    """
    cost = method.passes(problem, groups)
    if method.limit is not None and cost > method.limit:
        raise ValueError(
            f"{method.name} would run {cost} forward rows over {len(groups)} groups per explained token, its limit "
            f"is {method.limit}; use coarser groups (group_tokens(..., most=)), fewer samples or steps, or a higher "
            "limit."
        )


def columns(problem: Problem, column: int | None) -> list[int]:
    """Return the numbers of the explained tokens that ``column`` means; without those behind an answer's end."""
    wanted: Sequence[int] = range(len(problem.ids)) if column is None else [column]
    return [index for index in wanted if int(problem.ids[index]) != IGNORED]


def explained(problem: Problem, column: int | None) -> Callable[..., Tensor]:
    """Return the function of a row's inputs that is attributed: ``R`` rows of them to ``[R]``."""

    def value(*inputs: Tensor) -> Tensor:
        found = problem.values(*inputs)
        return found.sum(-1) if column is None else found[:, column]

    return value


def leaves(problem: Problem) -> tuple[Tensor, ...]:
    """Return the inputs of a row as tensors that ask for a gradient."""
    return tuple(tensor.detach().requires_grad_() for tensor in problem.inputs)


def per_position(problem: Problem, attributions: Sequence[Tensor]) -> Tensor:
    """Return attributions like ``problem.inputs`` summed over channels, ``[T]`` in at least float32.

    Deep visual features count for the position that they belong to.
    """
    first, *deep = (
        item.detach()[0].sum(-1, dtype=torch.promote_types(item.dtype, torch.float32)) for item in attributions
    )
    for features in deep:
        first = first.index_add(0, problem.visual, features)
    return first


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which torch and NumPy draw from a seed; both global generators are as before afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - Captum draws from the global generator
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
