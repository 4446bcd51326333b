"""What groups are owed, read off the relevance stream: no backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lime_rules import LRP_METHODS
from lime_xai.calls import DecoderCall
from lime_xai.groups import Groups
from lime_xai.names import unknown_name
from lime_xai.passes import precise
from lime_xai.problem import Problem
from lime_xai.routes import follow
from lime_xai.streaming import STREAM_FORMS, StreamForm
from lime_xai.trust import trusted_engine

from .base import LIMIT, check_counts, columns


@dataclass(frozen=True)
class StreamRelevance:
    """The relevance stream (``lime_xai.routes``), with one tangent per group.

    In the exact form, ``input``, a group gets what an LRP attribution with the same composite sums over it; in the form
    ``slot``, what the position that a token is read from takes directly from the group's cached keys and values.
    Positions of no group get nothing, so ``Attribution.residual`` counts what they hold too. ``column=None``: the sum
    over tokens.

    Parameters
    ----------
    form : {"input", "slot"}
        Of the stream.
    composite : {"attnlrp", "cplrp", "gradient_input"}
        Its rules.
    rows_per_pass : int
        Groups per pass.
    limit : int or None
        Most forward rows.
    """

    form: StreamForm = "input"
    composite: str = "attnlrp"
    rows_per_pass: int = 32
    limit: int | None = LIMIT
    name: ClassVar[str] = "stream"

    def __post_init__(self) -> None:
        check_counts(rows_per_pass=self.rows_per_pass, limit=self.limit)
        if self.form not in STREAM_FORMS:
            raise unknown_name("form", self.form, STREAM_FORMS)
        if self.composite not in LRP_METHODS:
            raise unknown_name("composite", self.composite, LRP_METHODS)

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return one row per group and one beside each chunk of them; slots need a plain pass per chunk besides.

        In the slot form, rows of groups are as long as the answer only.
        """
        chunks = -(-len(groups) // self.rows_per_pass)
        return len(groups) + chunks * (1 if self.form == "input" else 2)

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups.

        Raises
        ------
        NotImplementedError
            If the stream cannot be trusted on the model.
        """
        engine = trusted_engine(problem.replayer, self.form, self.composite)
        calls = list(problem.calls) if self.form == "input" else one_by_one(problem.calls)
        member = torch.arange(len(groups), device=groups.ids.device)[:, None] == groups.ids
        prompt = member[None, :, : problem.calls[0].length]
        wanted = columns(problem, column)
        values = []
        with torch.no_grad(), engine.attached():
            for chunk in torch.split(prompt, self.rows_per_pass, 1):
                _, owed, _ = follow(engine, engine.start(chunk), calls)
                values.append(problem.of_targets(precise(owed[:, 0]))[:, wanted].sum(-1))
        return groups.spread(torch.cat(values))


def one_by_one(calls: tuple[DecoderCall, ...]) -> list[DecoderCall]:
    """Return calls behind the prompt as calls of one token each: a slot belongs to whoever was there before."""
    result = [calls[0]]
    for call in calls[1:]:
        result += [_step(call, index) for index in range(call.length)]
    return result


def _step(call: DecoderCall, index: int) -> DecoderCall:
    """Return the call of one token of a merged call; its mask, if any, says which positions are attended."""
    kwargs: dict[str, Any] = dict(call.kwargs)
    if isinstance(kwargs.get("position_ids"), Tensor) and call.length > 1:
        kwargs["position_ids"] = kwargs["position_ids"][..., index : index + 1]
    mask = kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and call.length > 1:
        kwargs["attention_mask"] = mask[:, : mask.shape[1] - call.length + 1 + index]
    return DecoderCall(call.embeddings[:, index : index + 1], kwargs)
