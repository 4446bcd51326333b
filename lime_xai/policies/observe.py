"""Observe: record relevance, change nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lime_xai.edit_settings import EditSettings
from lime_xai.editor import KVEditor
from lime_xai.names import unknown_name
from lime_xai.step import DecodingStep
from lime_xai.trace import StepTrace


@dataclass(frozen=True)
class Observe:
    """Record the perceptual share of every token's relevance in the trace; the logits stay as they are.

    Parameters
    ----------
    method : str
        LRP composite.
    scope : {"cache", "sequence"}
        Slot relevance over the cache, or full propagation over the sequence.

    Raises
    ------
    ValueError
        For an unknown method or scope.
    """

    method: str = "attnlrp"
    scope: str = "cache"

    def __post_init__(self) -> None:
        if self.scope not in ("cache", "sequence"):
            raise unknown_name("scope", self.scope, ("cache", "sequence"))
        self._settings()

    def _settings(self) -> EditSettings:
        return EditSettings(method=self.method, scope=self.scope, steps=0, direction="backward")  # type: ignore[arg-type]

    @property
    def idle(self) -> bool:
        """Never: the trace is the point."""
        return False

    @property
    def needs_history(self) -> bool:
        """Whether the whole sequence is re-forwarded."""
        return self.scope == "sequence"

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits unchanged."""
        result = KVEditor(self._settings()).edit(step)
        token = step.plain.argmax(-1)
        step.state["trace"] = StepTrace(
            step.index, token, token, share_before=result.share_before, share_after=result.share_after
        )
        return step.logits
