"""The base of attribution methods that work row by row, and helpers that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from lime_xai.attribution.groups import Groups, groups_of
from lime_xai.attribution.problem import Problem, problems
from lime_xai.attribution.targets import IGNORED
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.differentiable import check_gradient
from lime_xai.model.prompt import Prompt

from .task import AttributionMethod, AttributionTask, Explanation

LIMIT = 10_000
"""Forward rows that one attribution may cost, unless a user allows more."""


class RowMethod(AttributionMethod, Protocol):
    """A method that explains one row of a prompt at a time, as a function of the decoder's inputs.

    Subclasses are frozen dataclasses with a ``name``; they define ``passes`` and ``relevance``.
    """

    @property
    def limit(self) -> int | None:
        """Most forward rows per explained token; None: as many as it takes."""
        return None

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return the forward rows of the whole sequence that ``relevance`` costs for one explained token."""
        ...

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return the relevance of each position ``[T]`` for explained token ``column``; None: for all of them."""
        ...

    def relevance_and_delta(self, problem: Problem, groups: Groups, column: int | None) -> tuple[Tensor, Tensor | None]:
        """Return the relevance, and by how much its sum misses what it has by definition (a scalar).

        None for methods whose relevance has no such sum, or has it exactly.
        """
        return self.relevance(problem, groups, column), None

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuse a prompt that the method cannot explain with its settings, before anything is computed."""

    def explain(self, task: AttributionTask) -> Explanation:
        """Return the relevance of every row and explained token.

        1. Check the prompt, and record the decoder's arguments for prompt and answer, and the logits of the unchanged
           model.
        2. Choose the target token by these logits if none was given.
        3. Cut the batch into rows, and each row into groups.
        4. Call ``relevance`` for every row and explained token.

        Raises
        ------
        ValueError
            As ``check_prompt``; for groups that do not fit, and if some row costs more than the method's limit, before
            its first pass.
        """
        self.check_prompt(task.prompt)
        recording = task.prompt.recording(task.target.continuation, logits=True)
        if recording.logits is None:
            raise RuntimeError("The prompt was recorded without logits.")
        goal = task.target.chosen(recording.logits)
        rows = list(problems(task.prompt, recording, goal))
        groups = groups_of(rows, task.groups, task.labels(recording))
        relevance, delta = self.explain_rows(rows, groups, per_token=not task.single, progress=task.progress)
        values = goal.values(recording.logits).float()
        return Explanation(relevance, values.sum(-1) if task.single else values, goal, recording, delta)

    def explain_rows(
        self, rows: Sequence[Problem], groups: Sequence[Groups], per_token: bool, progress: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the relevance of ``B`` rows, ``[B, G, T]`` or ``[B, T]`` float32, and how far its sum is off.

        The latter, ``[B, G]`` or ``[B]``, as ``relevance_and_delta`` says.

        Parameters
        ----------
        rows : sequence of Problem
            ``B`` of them.
        groups : sequence of Groups
            One each.
        per_token : bool
            One attribution per explained token, or one of their sum.
        progress : bool
            Whether to show a bar on standard error.

        Raises
        ------
        ValueError
            Before any forward pass, if some row costs more than the method's limit.
        """
        for row, found in zip(rows, groups, strict=True):
            check_cost(self, row, found)
        wanted: list[int | None] = [*range(len(rows[0].ids))] if per_token else [None]
        total = sum(self.passes(row, found) for row, found in zip(rows, groups, strict=True)) * len(wanted)
        result, deltas = [], []
        with _bar(self.name, total, progress) as advance:
            for row, found in zip(rows, groups, strict=True):
                watched = _Watched(**{item.name: getattr(row, item.name) for item in fields(row)}, advance=advance)
                parts = [_relevance(self, watched, found, column) for column in wanted]
                result.append(torch.stack([relevance for relevance, _ in parts]))
                deltas.append([delta for _, delta in parts])
        stacked, off = torch.stack(result).float(), _stacked(deltas)
        return (stacked, off) if per_token else (stacked[:, 0], None if off is None else off[:, 0])


def check_cost(method: RowMethod, problem: Problem, groups: Groups) -> None:
    """Refuse an attribution that costs more forward rows than its limit.

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
    """Return the numbers of the explained tokens for ``column``, without those after an answer's end."""
    wanted: Sequence[int] = range(len(problem.ids)) if column is None else [column]
    return [index for index in wanted if int(problem.ids[index]) != IGNORED]


def explained(problem: Problem, column: int | None) -> Callable[..., Tensor]:
    """Return the function of a row's inputs that is attributed: ``R`` rows of them to ``[R]``."""

    def value(*inputs: Tensor) -> Tensor:
        found = problem.values(*inputs)
        return found.sum(-1) if column is None else found[:, column]

    return value


def differentiable_inputs(problem: Problem) -> tuple[Tensor, ...]:
    """Return the inputs of a row as tensors that require a gradient.

    Raises
    ------
    NotImplementedError
        If gradients of the model are not the derivatives of what it computes.
    """
    check_gradient(problem.replayer, problem.calls[0])
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


@dataclass(frozen=True, eq=False)
class _Watched(Problem):
    """A problem that counts the rows that it runs, for a progress bar."""

    advance: Callable[[int], None]

    def run(self, calls: Sequence[DecoderCall]) -> Tensor:
        found = super().run(calls)
        self.advance(found.shape[0])
        return found


def _relevance(method: RowMethod, problem: Problem, groups: Groups, column: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the relevance ``[T]`` of one explained token, zero where an answer has ended, and how far it is off."""
    if not columns(problem, column):
        return torch.zeros(len(problem.input_ids), dtype=torch.float32, device=problem.input_ids.device), None
    relevance, delta = method.relevance_and_delta(problem, groups, column)
    return relevance.detach(), delta


def _stacked(deltas: Sequence[Sequence[Tensor | None]]) -> Tensor | None:
    """Return ``[B, G]`` float32, 0 where an answer has ended; None if the method knows none."""
    if all(delta is None for row in deltas for delta in row):
        return None
    return torch.tensor(
        [[0.0 if delta is None else float(delta) for delta in row] for row in deltas], dtype=torch.float32
    )


@contextmanager
def _bar(name: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Context with a progress bar; yields what counts forward rows."""
    if not shown:
        yield lambda rows: None
        return
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda rows: progress.advance(task, rows)
        progress.update(task, completed=total)
