"""Edit: optimise deltas of cached keys and values before every token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Needs, Policy, StreamNeed
from lime_xai.decoding.step import DecodingStep
from lime_xai.decoding.trace import StepTrace
from lime_xai.editing.editor import KVEditor
from lime_xai.editing.fused_first_pass import FusedFirstPass
from lime_xai.editing.objective import RelevanceObjective
from lime_xai.editing.settings import EditSettings
from lime_xai.values.checking import Fraction

from .registry import register_policy, register_preset


@register_policy("edit")
@dataclass(frozen=True)
class Edit(EditSettings, Policy):
    """The method: lower the relevance objective by editing the cache, then pick the token.

    The default optimises one gain per layer, head and modality on the cached values, for two steps;
    ``Edit.paper()`` is the paper's form.

    Parameters
    ----------
    plausibility : float
        Tokens whose probability without the edit is below this fraction of the largest are excluded; 0: none.
    objective, method, scope, deltas, edit, positions, layers, steps, learning_rate
        As in ``EditSettings``.
    second_order, include_bos, direction, plateau, kl_budget, modalities
        As in ``EditSettings``.

    Raises
    ------
    ValueError
        As ``EditSettings``; for a plausibility outside [0, 1).

    Examples
    --------
    >>> from lime_xai import Edit
    >>> Edit(steps=1).learning_rate
    0.5
    >>> Edit.paper().scope
    'sequence'
    """

    plausibility: Fraction = 0.1

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
            plausibility=0.0,
        )

    @property
    def idle(self) -> bool:
        """Whether there are no steps to take."""
        return self.steps == 0

    @property
    def needs(self) -> Needs:
        """The cache; the history in sequence scope; in forward direction a stream, and a first pass."""
        method = self.forward_method
        first_pass = partial(FusedFirstPass, self)
        stream = () if method is None else (StreamNeed(method, self.direction == "forward", first_pass),)
        return Needs(
            past=True,
            history=self.scope == "sequence",
            streams=stream,
            gradients=True,
            plausibility=self.plausibility,
            groups=self.groups,
        )

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a decoder that lacks some of the layers to edit."""
        self.check_layers(int(model.config.get_text_config().num_hidden_layers))

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
            result.shares,
            result.relevance_before,
            result.relevance_after,
        )
        return logits


register_preset("paper", Edit.paper)
