"""Observe: record relevance, change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from lime_rules import LRP_METHODS
from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.decoding.trace import StepTrace
from lime_xai.editing.editor import KVEditor
from lime_xai.editing.objective import ObjectiveTarget, RelevanceObjective
from lime_xai.editing.settings import EditSettings
from lime_xai.model.modalities import Modalities
from lime_xai.values.checking import Known

from .registry import register_policy


@register_policy("observe")
@dataclass(frozen=True)
class Observe(Policy):
    """Record the relevance of every token in the trace, with its perceptual share; the logits stay as they are.

    It is the share of absolute relevance.

    Parameters
    ----------
    method : str
        LRP composite.
    scope : {"cache", "sequence"}
        Relevance of the direct form over the cache, or full propagation over the sequence.
    modalities : tuple of str, optional
        Whose share; None: that of all modalities of the prompt.
    target : {"argmax", "margin", "expected"}
        The scalar whose relevance is taken, as in ``RelevanceObjective``.

    Raises
    ------
    ValueError
        For an unknown method, scope or target.
    """

    method: Annotated[str, Known(LRP_METHODS)] = "attnlrp"
    scope: Literal["cache", "sequence"] = "cache"
    modalities: Modalities = None
    target: ObjectiveTarget = "expected"

    def _settings(self) -> EditSettings:
        return EditSettings(
            RelevanceObjective(form="difference", target=self.target),
            method=self.method,
            scope=self.scope,
            steps=0,
            direction="backward",
            modalities=self.modalities,
        )

    @property
    def needs(self) -> Needs:
        """The cache, and the history in sequence scope."""
        return Needs(past=True, history=self.scope == "sequence", gradients=True, groups=(self.modalities,))

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits unchanged."""
        result = KVEditor(self._settings()).edit(step)
        token = step.plain.argmax(-1)
        step.state["trace"] = StepTrace(
            step.index,
            token,
            token,
            share_before=result.share_before,
            share_after=result.share_after,
            shares=result.shares,
            relevance_before=result.relevance_before,
            relevance_after=result.relevance_after,
        )
        return step.logits
