"""Groups of positions: image cells, stretches of sound, words, or groups of a user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lime_xai.model.arguments import check_values, holds_whole_numbers
from lime_xai.model.layouts.layout import Layout, Tile
from lime_xai.model.records import Content
from lime_xai.values.checking import check_fields, shown

from .problem import Problem

MOST = 36
"""Largest number of groups of one image, video or sound: a grid of 6 x 6."""

_WORD_STARTS = ("\u2581", "\u0120", "\u010a")
"""Marks of tokenizers for a token that begins a word: sentencepiece's space, byte-level space and newline."""


@dataclass(frozen=True, eq=False, repr=False)
class Groups(Content):
    """A partition of some positions of a row.

    Attributes
    ----------
    ids : Tensor
        ``[T]`` long: number of each position's group, counted from 0; -1: in no group, never perturbed.
    names : tuple of str
        Of the groups.

    Raises
    ------
    TypeError
        For values of another type.
    ValueError
        For ids that are no whole numbers ``[T]``, or that have no name.
    """

    ids: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ids.dim() != 1 or not holds_whole_numbers(self.ids):
            raise ValueError(
                f"ids is {self.ids.dtype} of shape {tuple(self.ids.shape)}; expected whole numbers, one per position."
            )
        check_values("ids", self.ids)
        bad = self.ids[(self.ids < -1) | (self.ids >= len(self.names))]
        if bad.numel():
            raise ValueError(
                f"ids holds {sorted(set(bad.tolist()))[:5]}, names {len(self.names)} names; expected numbers from -1 "
                f"to {len(self.names) - 1}."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> Tensor:
        """``[n]``: positions per group."""
        return torch.bincount(self.ids[self.ids >= 0], minlength=len(self))

    def sums(self, relevance: Tensor) -> Tensor:
        """Return the relevance of each group, ``[..., n]`` from ``[..., T]``.

        Raises
        ------
        TypeError, ValueError
            For something else than relevance of these positions.
        """
        _check_last("relevance", relevance, len(self.ids))
        member = self.ids >= 0
        found = torch.zeros(*relevance.shape[:-1], len(self), dtype=relevance.dtype, device=relevance.device)
        return found.index_add(-1, self.ids[member], relevance[..., member])

    def spread(self, values: Tensor) -> Tensor:
        """Return values ``[..., n]`` of groups divided evenly over their positions, ``[..., T]``; 0 outside.

        Raises
        ------
        TypeError, ValueError
            For something else than values of these groups.
        """
        _check_last("values", values, len(self))
        if not len(self):
            return values.new_zeros(*values.shape[:-1], len(self.ids))
        shares = values / self.sizes.clamp(min=1).to(values)
        return shares[..., self.ids.clamp(min=0)] * (self.ids >= 0)

    def positions(self, kept: Tensor) -> Tensor:
        """Return the unperturbed positions ``[R, T]`` bool for kept groups ``[R, n]``; those of no group are kept.

        Raises
        ------
        TypeError, ValueError
            For something else than groups of these.
        """
        _check_last("kept", kept, len(self))
        if not len(self):
            return torch.ones(*kept.shape[:-1], len(self.ids), dtype=torch.bool, device=kept.device)
        return kept[:, self.ids.clamp(min=0)] | (self.ids < 0)


def _check_last(name: str, values: object, size: int) -> None:
    """Refuse values whose last dimension has another size."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} is {shown(values)}; expected a tensor whose last dimension is {size}.")
    if values.dim() == 0 or values.shape[-1] != size:
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected {size} in the last dimension.")


def group_tokens(problem: Problem, labels: Sequence[str] | None = None, most: int = MOST) -> Groups:
    """Group the perturbable positions of a row: words, cells of images, and stretches where only the order is known.

    Cells are square blocks of tokens of one tile or video frame; a sound, and whatever has no known layout, is cut into
    stretches. Tokens of an image in no tile (newline tokens, class tokens) are one group.

    Parameters
    ----------
    problem : Problem
        The row.
    labels : sequence of str, optional
        ``[T]`` tokens as the tokenizer writes them; tokens of one word join. Without them, and with tokenizers that do
        not mark words, every text token is a group.
    most : int
        Groups per image, video or sound, not counting that of tokens in no tile; one per tile or frame at least.

    Returns
    -------
    Groups
        In the order of the first position of each word, image, video or sound.

    Raises
    ------
    ValueError
        If no position can be perturbed, or ``most`` is less than one.
    """
    if most < 1:
        raise ValueError(f"most is {most}; an image needs at least one group.")
    perturbable = problem.perturbable
    if not bool(perturbable.any()):
        raise ValueError("The prompt has no position that may be perturbed: only markers and its last token.")
    marked = labels is not None and any(label.startswith(_WORD_STARTS) for label in labels)
    ids = torch.full_like(problem.input_ids, -1, dtype=torch.long)
    names: list[str] = []
    layouts = {layout.positions[0]: layout for layout in problem.layouts}
    numbers = _numbers(problem.layouts)
    kinds = _kinds(problem)
    position = 0
    while position < len(kinds):
        stop = position + 1
        if position in layouts:
            for name, members in _cells(layouts[position], most):
                part = torch.tensor(members, device=ids.device)
                part = part[perturbable[part]]
                ids[part] = len(names)
                names += [f"{numbers[position]} {name}"] * min(1, len(part))
        elif kinds[position] == "text" and bool(perturbable[position]):
            while marked and labels is not None and _continues(kinds, perturbable, labels, stop):
                stop += 1
            ids[position:stop] = len(names)
            names.append("".join(labels[position:stop]) if labels is not None else f"text {position}")
        position = stop
    return Groups(ids, tuple(names))


def groups_of(
    rows: Sequence[Problem],
    given: Groups | Sequence[Groups] | None = None,
    labels: Sequence[Sequence[str]] | None = None,
) -> list[Groups]:
    """Return the groups of every row: those that were given, or by default those of ``group_tokens``.

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


def _kinds(problem: Problem) -> list[str]:
    """Return the modality of each position."""
    kinds = ["text"] * len(problem.input_ids)
    for name, mask in problem.modalities.items():
        for position in mask.nonzero()[:, 0].tolist():
            kinds[position] = name
    return kinds


def _continues(kinds: list[str], perturbable: Tensor, labels: Sequence[str], position: int) -> bool:
    """Whether the token at ``position`` belongs to the word before it."""
    if position >= len(kinds) or kinds[position] != "text" or not bool(perturbable[position]):
        return False
    label = labels[position].removeprefix("##")
    return not label.startswith(_WORD_STARTS) and label[:1].isalnum() and labels[position - 1][-1:].isalnum()


def _numbers(layouts: Sequence[Layout]) -> dict[int, str]:
    """Return the name of each layout by its first position: its modality, numbered where there are several."""
    found = {}
    for modality in {layout.modality for layout in layouts}:
        same = [layout for layout in layouts if layout.modality == modality]
        for number, layout in enumerate(same):
            found[layout.positions[0]] = modality if len(same) == 1 else f"{modality} {number}"
    return found


def _cells(layout: Layout, most: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and positions of the cells of an image, video or sound."""
    tiles = layout.tiles
    if not tiles:
        return _named_cells("", layout.positions, _stretches(len(layout.positions), most))
    found = []
    for number, tile in enumerate(tiles):
        prefix = "" if len(tiles) == 1 else f"{number}."
        found += _named_cells(prefix, tile.positions, _blocks(tile, max(1, most // len(tiles))))
    if layout.unplaced:
        found.append(("rest", layout.unplaced))
    return found


def _named_cells(prefix: str, positions: Sequence[int], cells: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    places = torch.tensor(positions)
    return [(f"{prefix}{cell}", tuple(places[cells == cell].tolist())) for cell in range(int(cells.max()) + 1)]


def _stretches(count: int, most: int) -> Tensor:
    """Return the number of each token's stretch, ``[count]``."""
    return torch.arange(count) // -(-count // most)


def _blocks(tile: Tile, most: int) -> Tensor:
    """Return the number of each token's square block, ``[rows * columns]``."""
    edge = -(-max(tile.grid) // max(1, math.isqrt(most)))
    across = -(-tile.columns // edge)
    rows, columns = torch.arange(tile.rows) // edge, torch.arange(tile.columns) // edge
    return (rows[:, None] * across + columns).flatten()
