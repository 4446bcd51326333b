"""What an attribution conserves, whom it agrees with, and what it costs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .case import Case, Cost
from .correlation import spearman

MIB = 2**20
FORWARD_PASSES = 3
"""Forward passes that are timed; their median counts."""


def residual(case: Case) -> float:
    r"""Return :math:`|\sum_i R_i - f| / |f|` for the explained value :math:`f`; NaN where it is zero."""
    value = case.row.value
    return abs(float(case.relevance.double().sum()) - value) / abs(value) if value else math.nan


def agreement(case: Case) -> float:
    """Return Spearman's correlation of the relevance of groups with that of the first method."""
    if case.reference is None:
        raise ValueError(
            "agreement needs the first method's relevance; use compare_attributions, or give Case a reference=."
        )
    other = case.groups.sums(case.reference.to(case.groups.ids.device)).double().cpu()
    return spearman(case.grouped, other)


def seconds(case: Case) -> float:
    """Return wall-clock seconds of the attribution, recording of the prompt included."""
    return _cost(case).seconds


def passes(case: Case) -> float:
    """Return the time of the attribution over that of one forward pass over the same inputs in the same run."""
    return _cost(case).seconds / _cost(case).forward_seconds


def memory(case: Case) -> float:
    """Return the additional peak memory of the attribution in MiB; NaN off CUDA, where no allocator reports it."""
    return _cost(case).memory


def _cost(case: Case) -> Cost:
    if case.cost is None:
        raise ValueError("The case was not timed; use compare_attributions, or give Case a cost=.")
    return case.cost


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


def forward_seconds(model: PreTrainedModel, inputs: Mapping[str, Any]) -> float:
    """Return the median time of one forward pass of the whole model, towers included, after one to warm up."""

    def run() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(**inputs, use_cache=False).logits
        return logits

    run()
    return statistics.median(timed(run, model.device)[1] for _ in range(FORWARD_PASSES))
