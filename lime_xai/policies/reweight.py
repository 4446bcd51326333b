"""Reweight: add the contribution of perception to the logits once more, without any optimisation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import ContributionNeed, Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.modalities import Modalities, in_order
from lime_xai.stream.contributions import ContributionDirection, RelevanceForm, check_contributions
from lime_xai.values.checking import Fraction, NotNegative

from .calibration import Calibration
from .registry import register_policy


@register_policy("reweight")
@dataclass(frozen=True)
class Reweight(Policy):
    r"""Decode from ``z + c (z_perceptual - b)``, kept to plausible tokens.

    ``z_perceptual`` is the contribution of perceptual tokens to every logit (AttnLRP in forward mode); the relevance
    stream computes it in the decode step itself. ``b`` is its mean over unlabelled prompts. Without ``b`` every answer
    moves the same way, because perception contributes more to "yes" than to "no" in any prompt.

    Parameters
    ----------
    strength : float
        ``c``; 0 leaves generation untouched.
    calibration : Calibration, optional
        Gives ``b``; None: zero.
    relevance : {"direct", "full"}
        What the newest token reads directly from perceptual slots, or the contribution propagated from perceptual
        embeddings through all layers. The latter makes the prompt cost more and keeps a second cache.
    plausibility : float
        Tokens with probability below this fraction of the largest are excluded; 0: none.
    direction : {"forward", "backward", "auto"}
        How ``z_perceptual`` is computed: by the stream, for models that pass the adjoint check, or by differentiating
        a backward pass, which exists for the direct form and is two to five times slower. Both give the same. ``auto``
        uses the stream where it is possible, and warns where it is not.
    modalities : tuple of str, optional
        Whose contribution; None: that of all modalities of the prompt.

    Raises
    ------
    ValueError
        For an unknown form or direction, a negative strength, a plausibility outside [0, 1), a calibration of another
        form or of other modalities, or the full form in another direction than forward.
    """

    strength: NotNegative = 1.0
    calibration: Calibration | None = None
    relevance: RelevanceForm = "direct"
    plausibility: Fraction = 0.1
    direction: ContributionDirection = "forward"
    modalities: Modalities = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_contributions(self.relevance, self.direction)
        if self.calibration is not None and self.calibration.relevance != self.relevance:
            raise ValueError(
                f"The calibration is of relevance {self.calibration.relevance!r}, the policy of {self.relevance!r}; "
                "calibrate with the same."
            )
        if self.calibration is not None and in_order(self.calibration.modalities) != in_order(self.modalities):
            raise ValueError(
                f"The calibration is of modalities {self.calibration.modalities}, the policy of {self.modalities} "
                "(None: all of the prompt); calibrate with the same."
            )

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that the calibration was not measured on."""
        if self.calibration is not None:
            self.calibration.check(model)

    @property
    def idle(self) -> bool:
        """Whether nothing is added."""
        return self.strength == 0

    @property
    def needs(self) -> Needs:
        """The contributions of perceptual tokens."""
        need = ContributionNeed(self.relevance, self.direction, self.modalities)
        return Needs(contributions=need, plausibility=self.plausibility)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the reweighted logits."""
        if step.contributions is None:
            raise RuntimeError("The contributions of perceptual tokens were not computed in this step.")
        contributions = step.contributions.to(step.plain.dtype)
        if self.calibration is not None:
            mean = step.state.get("mean")
            if mean is None:
                mean = step.state["mean"] = self.calibration.mean_contribution.to(contributions)
            contributions = contributions - mean
        return step.shifted(step.plain + self.strength * contributions)
