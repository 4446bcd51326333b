"""The argument of a metric: one explained token of one prompt, its perturbation, and the relevance of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import perturbed_logits
from lime_xai.attribution.targets import IGNORED
from lime_xai.model.modalities import union

from .shapley import shapley_values


@dataclass(frozen=True, eq=False)
class TokenTask:
    """One explained token of one prompt and how it is perturbed: what all methods share.

    Attributes
    ----------
    problem : Problem
        With a single explained token; the others of an answer are -100.
    groups : Groups
        What is perturbed together.
    substitute : tuple of Tensor or None
        From ``lime_xai.attribution.replacement.substitute_of``; None: positions are deleted.
    truth : Tensor or None
        ``[T]`` bool: the perceptual positions that show, or sound, the object of the question.
    labels : tuple of str or None
        ``[T]`` tokens.
    rows_per_pass : int
        Perturbed rows that run at once.
    seed : int
        Of what a metric draws.
    """

    problem: Problem
    groups: Groups
    substitute: tuple[Tensor, ...] | None
    truth: Tensor | None = None
    labels: tuple[str, ...] | None = None
    rows_per_pass: int = 32
    seed: int = 0

    @cached_property
    def perceptual(self) -> Tensor:
        """``[T]`` bool: attended positions that hold images or sounds."""
        return union(self.problem.modalities, self.problem.attended) & self.problem.attended

    @cached_property
    def located(self) -> Tensor:
        """``[T]`` bool: the perceptual positions but those that stand for no part of an image or video.

        Newline tokens and class tokens of a known layout lie nowhere, so that they are neither in a region nor outside.
        """
        found = self.perceptual.clone()
        for layout in self.problem.layouts:
            if layout.tiles:
                found[list(layout.unplaced)] = False
        return found if self.truth is None else found | (self.truth & self.perceptual)

    @cached_property
    def value(self) -> float:
        """What is explained, with nothing removed."""
        return float(self.evaluate(torch.ones(1, len(self.groups), dtype=torch.bool))[0])

    @cached_property
    def shapley(self) -> Tensor:
        """``[n]`` float64: Shapley values of the groups for the explained value."""
        return shapley_values(lambda kept: self.evaluate(kept)[0], len(self.groups), self.seed)

    def evaluate(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the explained value and the token's probability with only some groups kept.

        Parameters
        ----------
        kept : Tensor
            ``[R, n]`` bool.

        Returns
        -------
        tuple of Tensor
            ``[R]`` float64 each, on the CPU: the explained value, and the probability of the explained token among
            all tokens.
        """
        index = int((self.problem.ids != IGNORED).nonzero()[0])
        token = int(self.problem.ids[index])
        values, probabilities = [], []
        with torch.no_grad():
            for part in kept.to(self.groups.ids.device).split(self.rows_per_pass):  # type: ignore[no-untyped-call]
                found = perturbed_logits(self.problem, self.groups.positions(part), self.substitute)
                logits = found[:, index].cpu().double()
                against = 0.0 if self.problem.against is None else logits[:, int(self.problem.against)]
                values.append(logits[:, token] - against)
                probabilities.append(logits.softmax(-1)[:, token])
        return torch.cat(values), torch.cat(probabilities)


@dataclass(frozen=True)
class Cost:
    """What one attribution took.

    Attributes
    ----------
    seconds, forward_seconds : float
        Of the attribution of one token, and of one forward pass of the decoder over one prompt.
    memory : float
        Additional peak memory in MiB; NaN where the device does not measure it.
    """

    seconds: float
    forward_seconds: float
    memory: float


@dataclass(frozen=True, eq=False)
class Scored:
    """The relevance of one method for a row.

    Attributes
    ----------
    task : TokenTask
        What is explained.
    relevance : Tensor
        ``[T]``.
    reference : Tensor or None
        ``[T]``: relevance of the first method.
    cost : Cost or None
        Of this relevance.
    noisy, randomised : callable or None
        Return ``[D, T]``: relevance of the same method under draws of noise, and after more and more layers of the
        decoder were randomised.
    """

    task: TokenTask
    relevance: Tensor
    reference: Tensor | None = None
    cost: Cost | None = None
    noisy: Callable[[], Tensor] | None = None
    randomised: Callable[[], Tensor] | None = None

    @property
    def problem(self) -> Problem:
        """What is explained."""
        return self.task.problem

    @property
    def groups(self) -> Groups:
        """What is perturbed together."""
        return self.task.groups

    @property
    def truth(self) -> Tensor:
        """``[T]`` bool: the true region.

        Raises
        ------
        ValueError
            If the row has none.
        """
        if self.task.truth is None:
            raise ValueError("This metric needs a true region; pass truth=, or drop it from metrics=.")
        return self.task.truth

    @cached_property
    def grouped(self) -> Tensor:
        """``[n]`` float64, on the CPU: relevance of each group."""
        return self.groups.sums(self.relevance.to(self.groups.ids.device)).double().cpu()

    @cached_property
    def without_most(self) -> tuple[Tensor, Tensor]:
        """Value and probability, ``[n + 1]`` each, after 0, 1, ... most relevant groups were removed."""
        return self._along(places(self.grouped, most=True), removing=True)

    @cached_property
    def without_least(self) -> tuple[Tensor, Tensor]:
        """The same, least relevant groups first."""
        return self._along(places(self.grouped, most=False), removing=True)

    @cached_property
    def with_most(self) -> tuple[Tensor, Tensor]:
        """Value and probability, ``[n + 1]`` each, with only the 0, 1, ... most relevant groups."""
        return self._along(places(self.grouped, most=True), removing=False)

    def _along(self, place: Tensor, removing: bool) -> tuple[Tensor, Tensor]:
        steps = torch.arange(len(place) + 1)[:, None]
        kept = place >= steps if removing else place < steps
        return self.task.evaluate(kept)


def places(relevance: Tensor, most: bool) -> Tensor:
    """Return the place ``[n]`` of each group in the order of relevance; ties stay in reading order either way."""
    order = torch.argsort(relevance, descending=most, stable=True)
    found = torch.empty_like(order)
    found[order] = torch.arange(len(order))
    return found
