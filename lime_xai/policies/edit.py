"""Edit: optimise deltas of cached keys and values before every token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..editor import EditSettings, KVEditor
from ..objective import RelevanceObjective
from ..step import DecodingStep
from ..trace import StepTrace


@dataclass(frozen=True)
class Edit(EditSettings):
    """The method: lower the relevance objective by editing the cache, then pick the token.

    All fields are those of ``EditSettings``. The default optimises one gain per layer, head and modality on the
    cached values, for two steps; ``Edit.paper()`` is the paper's form.

    Examples
    --------
    >>> Edit(steps=1).learning_rate
    0.5
    >>> Edit.paper().scope
    'sequence'
    """

    @classmethod
    def paper(cls, scope: str = "sequence", learning_rate: float = 3e-4) -> Edit:
        """Return the paper's setting: free deltas on all keys and values, contrastive, seven Adam steps.

        Parameters
        ----------
        scope : {"sequence", "cache"}
            ``sequence`` is the paper's; ``cache`` does the same over a one-token graph.
        learning_rate : float
            3e-4 is the paper's for LLaVA-1.5-7B; models of another size need their own.
        """
        return cls(
            objective=RelevanceObjective(form="contrastive", target="argmax"),
            scope=scope,  # type: ignore[arg-type]
            deltas="free",
            edit="both",
            positions="all",
            steps=7,
            learning_rate=learning_rate,
            include_bos=True,
        )

    @property
    def idle(self) -> bool:
        """Whether there are no steps to take."""
        return self.steps == 0

    @property
    def needs_history(self) -> bool:
        """Whether the whole sequence is re-forwarded."""
        return self.scope == "sequence"

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits after the edit; the kept cache is not changed."""
        result = KVEditor(self).edit(step)
        logits = step.shifted(result.logits)
        step.state["trace"] = StepTrace(
            step.index,
            step.plain.argmax(-1),
            logits.argmax(-1),
            result.losses,
            result.divergences,
            result.share_before,
            result.share_after,
        )
        return logits
