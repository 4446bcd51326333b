"""What perturbed positions are replaced by, or that they are deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lime_xai.errors import unknown_name
from lime_xai.model.layouts.layout import Grid, Layout
from lime_xai.model.prompt import Prompt

from .deletion import check_deletable, logits_without
from .problem import Problem

SILENCE = "silence"
"""What the model makes of a silent sound of the same length (``lime_xai.model.silence``)."""

REPLACEMENTS = ("mean", "blur", "zero", SILENCE)
"""The mean embedding of the same modality in the same prompt; the blurred image or sound; zeros; silence."""

DELETION = "deletion"
"""Positions are taken out of the prompt (``lime_xai.attribution.deletion``)."""

PERTURBATIONS = (DELETION, *REPLACEMENTS)
"""Everything that can be done to a perturbed position."""

BLUR = 0.25
"""Width of the blur: standard deviation as a fraction of an image's side, or of a sound's length."""


def replacement(problem: Problem, kind: str = "mean") -> tuple[Tensor, ...]:
    """Return inputs like ``problem.inputs`` in which every position holds its replacement.

    Parameters
    ----------
    problem : Problem
        The row.
    kind : {"mean", "blur", "zero", "silence"}
        ``mean``: the mean embedding of the position's modality in this prompt. ``blur``: perceptual embeddings blurred
        over each tile or video frame, along their order where they have none (sounds, unknown layouts); tokens of an
        image in no tile, and text, as for ``mean``. ``zero``: zeros. ``silence``: at the positions of a sound, what
        the processor and the encoder make of zeros of the same length, all sounds of the prompt silent at once; images
        and text, which have no silence, as for ``mean``. It is encoded once per prompt.

    Raises
    ------
    ValueError
        For an unknown kind, and for silence as ``check_perturbation``.
    """
    if kind not in REPLACEMENTS:
        raise unknown_name("replacement", kind, REPLACEMENTS)
    embeddings, *deep = problem.inputs
    if kind == "zero":
        return tuple(torch.zeros_like(tensor) for tensor in problem.inputs)
    found = embeddings.clone()
    text = problem.attended.clone()
    text[problem.calls[0].length :] = False  # the answer is no part of the prompt
    for mask in problem.modalities.values():
        text &= ~mask
    for mask in (text, *problem.modalities.values()):
        found[0, mask] = embeddings[0, mask].mean(0)
    if kind == SILENCE:
        heard = problem.modalities["audio"].nonzero()[:, 0]
        found[0, heard] = problem.prompt.silent.recording().calls[0].row(problem.row).embeddings[0, heard]
    others = [features.mean(1, keepdim=True).expand_as(features).clone() for features in deep]
    if kind == "blur":
        for positions, grid in smooth_parts(problem.layouts):
            part = torch.tensor(positions, device=embeddings.device)
            found[0, part] = _blurred(embeddings[0, part], grid)
            inside = torch.isin(part, problem.visual)
            if bool(inside.all()):
                place = torch.searchsorted(problem.visual, part)
                for blurred, features in zip(others, deep, strict=True):
                    blurred[0, place] = _blurred(features[0, place], grid)
    return found, *others


def substitute_of(problem: Problem, kind: str) -> tuple[Tensor, ...] | None:
    """Return what ``replacement`` returns, or None for ``deletion``, which puts nothing in place of a position.

    Raises
    ------
    ValueError
        For an unknown kind, or a row from which nothing can be deleted.
    """
    check_perturbation(kind, problem.prompt)
    if kind != DELETION:
        return replacement(problem, kind)
    check_deletable(problem)
    return None


def check_perturbation(kind: str, prompt: Prompt | None = None) -> None:
    """Refuse an unknown kind of perturbation, and silence for a prompt whose sounds cannot be silenced; nothing runs.

    Raises
    ------
    ValueError
        With the nearest known one; for silence, if the prompt has no sounds or no processor, or it is not known how to
        make its sounds again.
    """
    if kind not in PERTURBATIONS:
        raise unknown_name("replacement", kind, PERTURBATIONS)
    if kind == SILENCE and prompt is not None:
        _ = prompt.silent


def perturbed_logits(problem: Problem, kept: Tensor, substitute: tuple[Tensor, ...] | None) -> Tensor:
    """Return the logits ``[R, G, V]`` of a row with only some of its positions, ``kept`` ``[R, T]``.

    Parameters
    ----------
    problem : Problem
        The row.
    kept : Tensor
        ``[R, T]`` bool: positions that stay as they are.
    substitute : tuple of Tensor or None
        From ``substitute_of``.
    """
    if substitute is None:
        return logits_without(problem, kept)
    return problem.logits(*perturbed(problem, kept, substitute))


def perturbed_values(problem: Problem, kept: Tensor, substitute: tuple[Tensor, ...] | None) -> Tensor:
    """Return the explained values ``[R, G]`` of the same."""
    if substitute is None:
        return problem.of_targets(logits_without(problem, kept))
    return problem.values(*perturbed(problem, kept, substitute))


def perturbed(problem: Problem, kept: Tensor, substitute: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return inputs of ``R`` rows in which positions are replaced.

    Parameters
    ----------
    problem : Problem
        The row.
    kept : Tensor
        ``[R, T]`` bool: positions that stay as they are.
    substitute : tuple of Tensor
        From ``replacement``.
    """
    embeddings, *deep = problem.inputs
    result = [torch.where(kept[..., None], embeddings, substitute[0])]
    seen = kept[:, problem.visual, None]
    result += [torch.where(seen, old, new) for old, new in zip(deep, substitute[1:], strict=True)]
    return tuple(result)


def smooth_parts(layouts: Sequence[Layout]) -> Iterator[tuple[tuple[int, ...], Grid | None]]:
    """Yield the positions within which neighbours are known, and their grid: tiles and frames; None: an order only."""
    for layout in layouts:
        if layout.tiles:
            for tile in layout.tiles:
                yield tile.positions, tile.grid
        else:
            yield layout.positions, None


def _blurred(features: Tensor, grid: Grid | None) -> Tensor:
    """Return features ``[N, d]`` blurred over their grid, or along their order."""
    if grid is None:
        return _kernel(features.shape[0], features) @ features
    down, across = (_kernel(side, features) for side in grid)
    return torch.einsum("ij,jkd,lk->ild", down, torch.unflatten(features, 0, grid), across).flatten(0, 1)


def _kernel(length: int, like: Tensor) -> Tensor:
    """Return the row-normalised Gaussian ``[length, length]``."""
    place = torch.arange(length, device=like.device, dtype=torch.float32)
    weight = (-0.5 * ((place[:, None] - place) / (BLUR * length)) ** 2).exp()
    return (weight / weight.sum(-1, keepdim=True)).to(like.dtype)
