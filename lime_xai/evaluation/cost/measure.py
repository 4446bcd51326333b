"""Measuring the cost of policies in turn, on one model and one prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import PreTrainedModel

from lime_xai.evaluation.benchmarks.reproduction import plain_sampling

from .alternating import Generation, Times, alternate, in_turn, timed
from .generations import generation
from .paper import CostRow
from .peak import peak_bytes

FEWEST = 3
"""Tokens of an answer at least: the first is apart, and quartiles need two more."""

_TRIED = 2
"""Tokens of the answer that is timed before anything is measured."""


def sampled(model: PreTrainedModel, row: CostRow) -> AbstractContextManager[None]:
    """Context in which a model draws tokens as a row says."""
    return plain_sampling(model) if row.sample else nullcontext()


def run_of(row: CostRow, inputs: Mapping[str, Any], tokens: int) -> Generation:
    """Return the generation of a row."""
    generate = generation(inputs, row.policy, tokens, row.sample)

    def run(model: PreTrainedModel, per_token: Any) -> None:
        with sampled(model, row):
            generate(model, per_token)

    return run


def tried(model: PreTrainedModel, rows: Sequence[CostRow], inputs: Mapping[str, Any]) -> dict[str, Times]:
    """Return the times of a short answer of each row: what the estimate is made of.

    The first answer includes what is done once per model, so that the estimate is rather too long.
    """
    return {row.name: timed(model, run_of(row, inputs, _TRIED)) for row in rows}


def expected_seconds(short: Times, tokens: int) -> float:
    """Return how long an answer takes, judging by a short one."""
    return short.first + (tokens - 1) * short.tokens[-1]


def measured_times(
    model: PreTrainedModel, rows: Sequence[CostRow], inputs: Mapping[str, Any], tokens: int
) -> dict[str, Times]:
    """Return the times of an answer of each row.

    On the CPU the rows take turns token by token, so that a busy machine slows all of them. On a GPU whole answers take
    turns, because the host's launches limit a token there.
    """
    by_name = {row.name: row for row in rows}

    def prepare(name: str, twin: PreTrainedModel) -> None:
        run_of(by_name[name], inputs, _TRIED)(twin, lambda: None)

    runs = {row.name: run_of(row, inputs, tokens) for row in rows}
    if model.device.type == "cpu":
        return alternate(model, runs, torch.get_num_threads(), prepare)
    return in_turn(model, runs, prepare)


def measured_peak(model: PreTrainedModel, row: CostRow, inputs: Mapping[str, Any], tokens: int) -> int:
    """Return the peak memory of an answer of a row, in bytes, as ``peak_bytes``."""
    run = run_of(row, inputs, tokens)
    return peak_bytes(model.device, lambda: run(model, lambda: None))
