"""Robustness: relevance should not change under noise, and should change with the model's weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lime_xai.model.decoder_call import DecoderCall

from .scored import Scored
from .statistics import rank_correlation

NOISE = 0.02
"""Expected norm of the noise of a position relative to that of its embedding."""
DRAWS = 5
"""Draws of noise."""
DEPTHS = 8
"""Depths that a cascade stops at, at most: evenly spread, the last one being all layers."""


def sensitivity(scored: Scored) -> float:
    r"""Return the largest relative change of relevance, :math:`\max_d \lVert R_d - R\rVert / \lVert R\rVert`.

    Source: max-sensitivity, Yeh et al. 2019. NaN if there is no relevance.
    """
    if scored.noisy is None:
        raise ValueError("sensitivity needs relevance under noise; use compare_attributions, or give Scored a noisy=.")
    change = (scored.noisy() - scored.relevance).double().norm(dim=-1)
    norm = float(scored.relevance.double().norm())
    return float(change.max()) / norm if norm > 0 else math.nan


def randomisation(scored: Scored) -> float:
    """Return Spearman's correlation of absolute group relevance before and after randomising, mean over depths.

    NaN for a relevance that is the same for all groups. Source: the cascading randomisation of Adebayo et al. 2018.
    """
    if scored.randomised is None:
        raise ValueError(
            "randomisation needs relevance of other weights; use compare_attributions, or give Scored a randomised=."
        )
    after = scored.groups.sums(scored.randomised().to(scored.groups.ids.device)).double().cpu().abs()
    before = scored.grouped.abs()
    if bool((before == before[0]).all()):
        return math.nan  # a constant relevance must not pass the test by being constant
    return sum(rank_correlation(before, one) for one in after) / len(after)


def draw_noise(inputs: Sequence[Tensor], attended: Tensor, seed: int) -> list[Tensor]:
    """Return Gaussian noise like the decoder's inputs: of ``NOISE`` times each position's norm; none on padding.

    Norms of positions differ by orders of magnitude between modalities; one common noise would be larger than the
    embeddings of words.

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
        noise = deviation * torch.randn(exact.shape, generator=generator, dtype=torch.float32)
        found.append((noise * attended.cpu()[..., None] if index == 0 else noise).to(tensor))
    return found


def with_noise(call: DecoderCall, noise: Sequence[Tensor]) -> DecoderCall:
    """Return a prompt's decoder call with noise from ``draw_noise`` added to its inputs."""
    first, *deep = noise
    changed = [features + new for features, new in zip(call.deep_features, deep, strict=True)]
    return call.with_inputs(call.embeddings + first, changed)


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
        One seed gives one set of weights, in any order of depths.

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
            drawn = (
                torch.randn(exact.shape, generator=generator, dtype=torch.float32) * exact.std(correction=0)
                + exact.mean()
            )
            parameter.copy_(drawn)
