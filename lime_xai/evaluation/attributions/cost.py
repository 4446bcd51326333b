"""Conservation residual, agreement with the reference method, and cost of an attribution."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lime_xai.model.prompt import Prompt

from .scored import Cost, Scored
from .statistics import rank_correlation

MIB = 2**20
FORWARD_PASSES = 3
"""Forward passes that are timed; their median counts."""


def residual(scored: Scored) -> float:
    r"""Return :math:`|\sum_i R_i - f| / |f|` for the explained value :math:`f`; NaN where it is zero."""
    value = scored.task.value
    return abs(float(scored.relevance.double().sum()) - value) / abs(value) if value else math.nan


def agreement(scored: Scored) -> float:
    """Return Spearman's correlation of the relevance of groups with that of the first method."""
    if scored.reference is None:
        raise ValueError(
            "agreement needs the first method's relevance; use compare_attributions, or give Scored a reference=."
        )
    other = scored.groups.sums(scored.reference.to(scored.groups.ids.device)).double().cpu()
    return rank_correlation(scored.grouped, other)


def seconds(scored: Scored) -> float:
    """Return wall-clock seconds of the attribution of a recorded prompt."""
    return _cost(scored).seconds


def passes(scored: Scored) -> float:
    """Return the time of the attribution over that of one forward pass of the decoder over the same prompt."""
    return _cost(scored).seconds / _cost(scored).forward_seconds


def memory(scored: Scored) -> float:
    """Return the additional peak memory of the attribution in MiB; NaN off CUDA, where no allocator reports it."""
    return _cost(scored).memory


def _cost(scored: Scored) -> Cost:
    if scored.cost is None:
        raise ValueError("The attribution was not timed; use compare_attributions, or give Scored a cost=.")
    return scored.cost


def timed(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float, float]:
    """Return what a call returns, its wall-clock seconds, and its additional peak memory in MiB (NaN off CUDA)."""
    cuda = device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    start = time.perf_counter()
    result = call()
    if cuda:
        torch.cuda.synchronize(device)
    spent = time.perf_counter() - start
    peak = (torch.cuda.max_memory_allocated(device) - before) / MIB if cuda else math.nan
    return result, spent, peak


def forward_seconds(prompt: Prompt) -> float:
    """Return the median time of one forward pass of the decoder over a recorded prompt, after one to warm up.

    Towers run neither here nor in a timed attribution: the prompt is recorded before.
    """
    call, replayer = prompt.recording().calls[0], prompt.replayer

    def run() -> Tensor:
        with torch.no_grad():
            return replayer.run(call, call.embeddings, None)

    run()
    return statistics.median(timed(run, prompt.model.device)[1] for _ in range(FORWARD_PASSES))
