"""Whether relevance stays under noise, and goes when the model's weights do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .case import Case
from .correlation import spearman

NOISE = 0.02
"""Expected norm of the noise of a position relative to that of its embedding."""
DRAWS = 5
"""Draws of noise."""
DEPTHS = 8
"""Depths that a cascade stops at, at most: evenly spread, the last one being all layers."""


def sensitivity(case: Case) -> float:
    r"""Return the largest relative change of relevance, :math:`\max_d \lVert R_d - R\rVert / \lVert R\rVert`.

    Source: max-sensitivity, Yeh et al. 2019. NaN if there is no relevance.
    """
    if case.noisy is None:
        raise ValueError("sensitivity needs relevance under noise; use compare_attributions, or give Case a noisy=.")
    change = (case.noisy() - case.relevance).double().norm(dim=-1)
    norm = float(case.relevance.double().norm())
    return float(change.max()) / norm if norm > 0 else math.nan


def randomisation(case: Case) -> float:
    """Return Spearman's correlation of absolute group relevance before and after randomising, mean over depths.

    NaN for a relevance that is the same for all groups. Source: the cascading randomisation of Adebayo et al. 2018.
    """
    if case.randomised is None:
        raise ValueError(
            "randomisation needs relevance of other weights; use compare_attributions, or give Case a randomised=."
        )
    after = case.groups.sums(case.randomised().to(case.groups.ids.device)).double().cpu().abs()
    before = case.grouped.abs()
    if bool((before == before[0]).all()):
        return math.nan  # what says nothing cannot pass by saying nothing
    return sum(spearman(before, one) for one in after) / len(after)


def draw_noise(inputs: Sequence[Tensor], attended: Tensor, seed: int) -> list[Tensor]:
    """Return Gaussian noise like the decoder's inputs: of ``NOISE`` times each position's norm; none on padding.

    Norms of positions differ by orders of magnitude between modalities, so that a common noise would drown words.

    Parameters
    ----------
    inputs : sequence of Tensor
        Embeddings ``[B, T, d]``, then deep visual features ``[N, d]``.
    attended : Tensor
        ``[B, T]``.
    seed : int
        One seed gives one noise.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for index, tensor in enumerate(inputs):
        exact = tensor.float().cpu()
        deviation = NOISE * exact.square().mean(-1, keepdim=True).sqrt()
        noise = deviation * torch.randn(exact.shape, generator=generator)
        found.append((noise * attended.cpu()[..., None] if index == 0 else noise).to(tensor))
    return found


@contextmanager
def noisy(decoder: nn.Module, noise: Sequence[Tensor]) -> Iterator[None]:
    """Context in which the decoder reads a prompt with noise added, whoever calls it.

    Parameters
    ----------
    decoder : nn.Module
        The text decoder.
    noise : sequence of Tensor
        From ``draw_noise``; added to calls of that many rows and positions.
    """
    first, *deep = noise

    def add(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is None:
            embeddings = module.get_input_embeddings()(kwargs["input_ids"])
        if embeddings.shape != first.shape:
            return args, kwargs
        changed = {**kwargs, "input_ids": None, "inputs_embeds": embeddings + first}
        if deep:
            held = kwargs["deepstack_visual_embeds"]
            changed["deepstack_visual_embeds"] = [old + new for old, new in zip(held, deep, strict=True)]
        return args, changed

    handle = decoder.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def decoder_layers(decoder: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a decoder, first to last.

    Raises
    ------
    ValueError
        If no list of modules has as many entries as the config says.
    """
    count = int(decoder.config.get_text_config().num_hidden_layers)
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(decoder).__name__} keeps its {count} layers in no ModuleList; drop 'randomisation'.")


def cascade_depths(count: int) -> list[int]:
    """Return the numbers of randomised layers that are looked at, of ``count``: all of them, or ``DEPTHS``."""
    steps = min(count, DEPTHS)
    return [-(-count * step // steps) for step in range(1, steps + 1)]


@contextmanager
def cascade(layers: nn.ModuleList, seed: int) -> Iterator[Callable[[int], None]]:
    """Context that gives a function which randomises the last ``count`` layers; weights are restored on the way out.

    Every parameter is drawn from a normal distribution with its own mean and standard deviation, so that norms keep
    their scale. Originals are kept on the CPU and copied back, bit for bit, also after an exception.

    Parameters
    ----------
    layers : nn.ModuleList
        First to last.
    seed : int
        One seed gives one set of weights, whatever the order of depths.

    Raises
    ------
    ValueError
        If a layer is quantised.
    """
    for parameter in layers.parameters():
        if not parameter.is_floating_point():
            raise ValueError(
                f"A decoder layer has weights of {parameter.dtype}; load the model unquantised, or drop "
                "'randomisation'."
            )
    saved: dict[int, list[tuple[nn.Parameter, Tensor]]] = {}

    def deepen(count: int) -> None:
        for index in range(len(layers) - count, len(layers)):
            if index not in saved:
                saved[index] = [(p, p.detach().to("cpu", copy=True)) for p in layers[index].parameters()]
                _redraw(saved[index], torch.Generator().manual_seed(seed * len(layers) + index))

    try:
        yield deepen
    finally:
        with torch.no_grad():
            for parameter, original in (pair for pairs in saved.values() for pair in pairs):
                parameter.copy_(original)


def _redraw(pairs: Sequence[tuple[nn.Parameter, Tensor]], generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter, original in pairs:
            exact = original.float()
            drawn = torch.randn(exact.shape, generator=generator) * exact.std(correction=0) + exact.mean()
            parameter.copy_(drawn)
