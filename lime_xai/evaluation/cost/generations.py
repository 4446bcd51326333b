"""A generation, plain or under a policy, as ``alternating.py`` runs it, and its times as ratios to the plain one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from lime_xai.decoding.policy import Policy
from lime_xai.generation.steer import steering

from .alternating import Generation, Times

PLAIN = "plain"
"""Name of the model alone among generations."""


class _PerToken(StoppingCriteria):
    """Call a function after every token; stop nothing."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.tell()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def generation(inputs: Mapping[str, Any], policy: Policy | None, tokens: int, sample: bool = False) -> Generation:
    """Return what ``alternate`` runs: an answer of exactly ``tokens`` tokens, plain or under a policy.

    Parameters
    ----------
    inputs : mapping
        What the processor returned.
    policy : Policy or None
        None: the model alone.
    tokens : int
        Length of the answer; no token ends it earlier.
    sample : bool
        Whether tokens are drawn.
    """

    def run(model: Any, per_token: Callable[[], None]) -> None:
        told = StoppingCriteriaList([_PerToken(per_token)])
        asked = {"max_new_tokens": tokens, "do_sample": sample, "eos_token_id": None, "stopping_criteria": told}
        if policy is None:
            model.generate(**inputs, **asked)
        else:
            with steering(model, policy):
                model.generate(**inputs, **asked)

    return run


@dataclass(frozen=True)
class Ratios:
    """Times of a generation in those of the plain one.

    Attributes
    ----------
    median, low, high : float
        Of the ratios of a token to the plain token of the same round, the first token left out; low and high are
        quartiles.
    first : float
        Of the first token, which includes the prompt.
    whole : float
        Of all tokens together.
    rounds : int
        Number of ratios.
    """

    median: float
    low: float
    high: float
    first: float
    whole: float
    rounds: int

    @classmethod
    def of(cls, own: Times, plain: Times) -> Ratios:
        """Return the ratios of two generations of equally many tokens, three at least."""
        found = [one / base for one, base in zip(own.tokens, plain.tokens, strict=True)]
        low, middle, high = statistics.quantiles(found, n=4)
        return cls(middle, low, high, own.first / plain.first, own.whole / plain.whole, len(found))
