"""Contributions of groups by the relevance stream: no backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from lime_rules import LRP_METHODS
from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.gradients import at_least_float32
from lime_xai.stream.adjoint_check import verified_engine
from lime_xai.stream.contributions import RelevanceForm
from lime_xai.stream.routes import follow
from lime_xai.values.checking import Count, Known

from .base import LIMIT, RowMethod, columns
from .registry import register_method


@register_method
@dataclass(frozen=True)
class StreamRelevance(RowMethod):
    """The relevance stream (``lime_xai.routes``), with one tangent per group.

    In the full form, the relevance of a group is the sum over it of an LRP attribution with the same composite. In the
    direct form, it is what the position from which a token is read takes directly from the group's cached keys and
    values. Positions of no group have relevance 0, so that ``Attribution.residual`` includes theirs. ``column=None``:
    the sum over tokens.

    Parameters
    ----------
    form : {"full", "direct"}
        Of the contributions.
    composite : {"attnlrp", "cplrp", "gradient_input"}
        Its rules.
    rows_per_pass : int
        Groups per pass.
    limit : int or None
        Most forward rows.
    """

    form: RelevanceForm = "full"
    composite: Annotated[str, Known(LRP_METHODS)] = "attnlrp"
    rows_per_pass: Count = 32
    limit: Count | None = LIMIT
    name: ClassVar[str] = "stream"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return one row per group, one more per chunk of groups, and in the direct form a plain pass per chunk.

        In the direct form, rows of groups are as long as the answer only.
        """
        chunks = -(-len(groups) // self.rows_per_pass)
        return len(groups) + chunks * (1 if self.form == "full" else 2)

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float; zero outside groups.

        Raises
        ------
        NotImplementedError
            If the model fails the adjoint check, or has no stream.
        """
        engine = verified_engine(problem.replayer, self.form, self.composite)
        calls = list(problem.calls) if self.form == "full" else one_by_one(problem.calls)
        member = torch.arange(len(groups), device=groups.ids.device)[:, None] == groups.ids
        prompt = member[None, :, : problem.calls[0].length]
        wanted = columns(problem, column)
        values = []
        with torch.no_grad(), engine.attached():
            for chunk in torch.split(prompt, self.rows_per_pass, 1):
                _, contributions, _ = follow(engine, engine.start(chunk), calls)
                values.append(problem.of_targets(at_least_float32(contributions[:, 0]))[:, wanted].sum(-1))
        return groups.spread(torch.cat(values))


def one_by_one(calls: tuple[DecoderCall, ...]) -> list[DecoderCall]:
    """Return the calls after the prompt as calls of one token each: direct tangents start at the cached slots."""
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
