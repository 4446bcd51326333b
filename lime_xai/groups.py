"""Groups of positions that are perturbed together: image cells, stretches of sound, words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .problem import Problem

MOST = 36
"""Groups that one image or sound is cut into at most: a grid of 6 x 6."""

_WORD_STARTS = ("\u2581", "\u0120", "\u010a")
"""How tokenizers mark a token that begins a word: sentencepiece's space, byte-level space and newline."""


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of some positions of a row.

    Attributes
    ----------
    ids : Tensor
        ``[T]`` long: number of each position's group, counted from 0; -1: in no group, never perturbed.
    names : tuple of str
        What each group is.
    """

    ids: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> Tensor:
        """``[n]``: positions per group."""
        return torch.bincount(self.ids[self.ids >= 0], minlength=len(self))

    def sums(self, relevance: Tensor) -> Tensor:
        """Return the relevance of each group, ``[..., n]`` from ``[..., T]``."""
        member = self.ids >= 0
        found = torch.zeros(*relevance.shape[:-1], len(self), dtype=relevance.dtype, device=relevance.device)
        return found.index_add(-1, self.ids[member], relevance[..., member])

    def spread(self, values: Tensor) -> Tensor:
        """Return what each position has if groups share evenly, ``[..., T]`` from ``[..., n]``; 0 outside."""
        shares = values / self.sizes.clamp(min=1).to(values)
        return shares[..., self.ids.clamp(min=0)] * (self.ids >= 0)

    def positions(self, kept: Tensor) -> Tensor:
        """Return which positions remain, ``[R, T]`` bool, if the groups ``kept`` ``[R, n]`` do; all others do."""
        return kept[:, self.ids.clamp(min=0)] | (self.ids < 0)


def group_tokens(problem: Problem, labels: Sequence[str] | None = None, most: int = MOST) -> Groups:
    """Group the players of a row: square cells of an image, stretches of sound or of an image of another shape, words.

    Parameters
    ----------
    problem : Problem
        The row.
    labels : sequence of str, optional
        ``[T]`` tokens as the tokenizer writes them; tokens of one word join. Without them, and with tokenizers that do
        not mark words, every text token is a group.
    most : int
        Groups per image or sound.

    Returns
    -------
    Groups
        In the order of their first position.

    Raises
    ------
    ValueError
        If no position can be perturbed, or ``most`` is less than one.
    """
    if most < 1:
        raise ValueError(f"most is {most}; an image needs at least one group.")
    players = problem.players
    if not bool(players.any()):
        raise ValueError("The prompt has no position that may be perturbed: only markers and its last token.")
    marked = labels is not None and any(label.startswith(_WORD_STARTS) for label in labels)
    ids = torch.full_like(problem.input_ids, -1, dtype=torch.long)
    names: list[str] = []
    position = 0
    kinds = _kinds(problem)
    while position < len(kinds):
        stop = position + 1
        if not bool(players[position]):
            position = stop
            continue
        if kinds[position] == "text":
            while marked and labels is not None and _continues(kinds, players, labels, stop):
                stop += 1
            ids[position:stop] = len(names)
            names.append("".join(labels[position:stop]) if labels is not None else f"text {position}")
        else:
            while stop < len(kinds) and kinds[stop] == kinds[position] and bool(players[stop]):
                stop += 1
            side = problem.side(stop - position) if kinds[position] == "image" else None
            cells = _cells(stop - position, side, most).to(ids.device)
            ids[position:stop] = len(names) + cells
            names += [f"{kinds[position]} {cell}" for cell in range(int(cells.max()) + 1)]
        position = stop
    return Groups(ids, tuple(names))


def _kinds(problem: Problem) -> list[str]:
    """Return the modality of each position."""
    kinds = ["text"] * len(problem.input_ids)
    for name, mask in problem.modalities.items():
        for position in mask.nonzero()[:, 0].tolist():
            kinds[position] = name
    return kinds


def _continues(kinds: list[str], players: Tensor, labels: Sequence[str], position: int) -> bool:
    """Whether the token at ``position`` belongs to the word before it."""
    if position >= len(kinds) or kinds[position] != "text" or not bool(players[position]):
        return False
    label = labels[position].removeprefix("##")
    return not label.startswith(_WORD_STARTS) and label[:1].isalnum() and labels[position - 1][-1:].isalnum()


def _cells(count: int, side: int | None, most: int) -> Tensor:
    """Return the number of each token's cell, ``[count]``: of a square, or a stretch if there is none."""
    if side is None:
        return torch.arange(count) // -(-count // most)
    edge = -(-side // max(1, math.isqrt(most)))
    across = -(-side // edge)
    line = torch.arange(side) // edge
    return (line[:, None] * across + line).flatten()
