"""A method of this package on every row of a batch, for every explained token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lime_xai.groups import Groups, group_tokens
from lime_xai.problem import Problem

from .base import Baseline, check_cost, columns

GroupsLike = Groups | Sequence[Groups] | None


@dataclass(frozen=True, eq=False)
class _Watched(Problem):
    """A problem that says how many rows it has run."""

    advance: Callable[[int], None]

    def logits(self, *inputs: Tensor) -> Tensor:
        found = super().logits(*inputs)
        self.advance(found.shape[0])
        return found


def groups_of(
    rows: Sequence[Problem], given: GroupsLike = None, labels: Sequence[Sequence[str]] | None = None
) -> list[Groups]:
    """Return the groups of every row: those that were given, or image cells, stretches of sound and words.

    Parameters
    ----------
    rows : sequence of Problem
        One per row.
    given : Groups or sequence of Groups, optional
        For all rows, or one each; of ``T`` positions, or of the prompt's alone.
    labels : sequence of sequence of str, optional
        Tokens per row, ``[T]`` each, so that tokens of a word join.

    Raises
    ------
    ValueError
        For another number of rows or positions.
    """
    if given is None:
        tokens = [None] * len(rows) if labels is None else labels
        return [group_tokens(row, found) for row, found in zip(rows, tokens, strict=True)]
    chosen = [given] * len(rows) if isinstance(given, Groups) else list(given)
    if len(chosen) != len(rows):
        raise ValueError(
            f"groups has {len(chosen)} entries, the batch {len(rows)} rows; give one per row, or one for all."
        )
    return [_fitted(groups, row) for groups, row in zip(chosen, rows, strict=True)]


def _fitted(groups: Groups, problem: Problem) -> Groups:
    """Return groups of the whole sequence; tokens of the answer belong to none."""
    total, prompt = len(problem.input_ids), problem.calls[0].length
    if len(groups.ids) not in (total, prompt):
        raise ValueError(
            f"groups has {len(groups.ids)} positions, the prompt {prompt} and with its answer {total}; give one entry "
            "for each."
        )
    if len(groups) == 0:
        raise ValueError("groups holds no group; give at least one.")
    extra = total - len(groups.ids)
    ids = torch.nn.functional.pad(groups.ids.to(problem.input_ids.device), (0, extra), value=-1)
    ids = ids.masked_fill(~problem.attended, -1)
    ids[prompt:] = -1
    found = Groups(ids, groups.names)
    if not bool((found.sizes > 0).all()):
        empty = [name for name, size in zip(found.names, found.sizes.tolist(), strict=True) if not size]
        raise ValueError(f"The groups {empty} hold no attended position of the prompt; leave them out for this row.")
    return found


def explain_rows(
    method: Baseline, rows: Sequence[Problem], groups: Sequence[Groups], per_token: bool, progress: bool = False
) -> Tensor:
    """Return the relevance of every row.

    Parameters
    ----------
    method : Baseline
        Of this package, or of your own.
    rows : sequence of Problem
        ``B`` of them.
    groups : sequence of Groups
        One each.
    per_token : bool
        One attribution per explained token, or one of them all.
    progress : bool
        Whether to show a bar on standard error.

    Returns
    -------
    Tensor
        ``[B, G, T]`` or ``[B, T]`` float32.

    Raises
    ------
    ValueError
        Before any forward pass, if some row costs more than the method's limit.
    """
    for row, found in zip(rows, groups, strict=True):
        check_cost(method, row, found)
    wanted: list[int | None] = [*range(len(rows[0].ids))] if per_token else [None]
    total = sum(method.passes(row, found) for row, found in zip(rows, groups, strict=True)) * len(wanted)
    result = []
    with _bar(method.name, total, progress) as advance:
        for row, found in zip(rows, groups, strict=True):
            watched = _Watched(**{item.name: getattr(row, item.name) for item in fields(row)}, advance=advance)
            result.append(torch.stack([_relevance(method, watched, found, column) for column in wanted]))
    stacked = torch.stack(result).float()
    return stacked if per_token else stacked[:, 0]


def _relevance(method: Baseline, problem: Problem, groups: Groups, column: int | None) -> Tensor:
    """Return the relevance ``[T]`` of one explained token; zero where an answer has ended."""
    if not columns(problem, column):
        return torch.zeros(len(problem.input_ids), device=problem.input_ids.device)
    return method.relevance(problem, groups, column).detach()


@contextmanager
def _bar(name: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Context with a progress bar; yields what counts forward rows."""
    if not shown:
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda rows: progress.advance(task, rows)
        progress.update(task, completed=total)
