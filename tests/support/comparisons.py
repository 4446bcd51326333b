"""Rows of a comparison without a model, and examples of tiny models."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st

from lime_xai.attribution.groups import Groups
from lime_xai.evaluation.attributions.example import Example
from lime_xai.evaluation.attributions.recorded import Settings, record_example
from lime_xai.evaluation.attributions.registry import METRICS
from lime_xai.evaluation.attributions.scored import Scored, TokenTask

from .families import FAMILIES, batch

RELEVANCE = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12)
SETTINGS = Settings(processor=None, replacements=("mean",), rows_per_pass=5, seed=3)


@dataclass(frozen=True, eq=False)
class GameTask(TokenTask):
    """A row whose model is a function of the groups that are kept."""

    seen: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def perceptual(self):
        return self.seen

    @property
    def located(self):
        return self.seen

    def evaluate(self, kept):
        weights = torch.randn(kept.shape[1], generator=torch.Generator().manual_seed(7)).double()
        pairs = kept.double()[:, :-1] * kept.double()[:, 1:]
        value = kept.double() @ weights + 0.7 * pairs.sum(1)
        return value, value.sigmoid()


def game_case(relevance, truth=None, seen=None, **kwargs):
    """A case over as many groups of one position as there is relevance."""
    relevance = torch.as_tensor(relevance)
    count = len(relevance)
    groups = Groups(torch.arange(count), tuple(map(str, range(count))))
    seen = torch.ones(count, dtype=torch.bool) if seen is None else torch.as_tensor(seen)
    truth = None if truth is None else torch.as_tensor(truth)
    return Scored(GameTask(None, groups, (), truth, seen=seen), relevance, **kwargs)


def prepared(name, target=5, settings=SETTINGS, rows=1):
    """One example of a family, ready."""
    model, inputs, _ = batch(name, rows)
    return record_example(model, Example(inputs, target), settings)


def example(name, target=5, row=0, **kwargs):
    """An example of a family; call ``FAMILIES[name].build()`` for its model."""
    family = FAMILIES[name]
    model, _, _ = family.build()
    return Example(family.inputs(model, row), target, **kwargs)


def measure(name, case):
    """The value of a metric."""
    return METRICS[name].measure(case)
