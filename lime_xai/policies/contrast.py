"""Contrast: contrastive decoding against a branch that perceives less, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lime_xai.branches.branch import BranchKind, BranchName
from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.modalities import Modalities
from lime_xai.values.checking import Fraction, NotNegative, Range, Seed

from .registry import register_policy

VCD_NOISE = 0.92
"""Variance of the noise after 999 diffusion steps, the setting of visual contrastive decoding."""


@register_policy("contrast")
@dataclass(frozen=True)
class Contrast(Policy):
    r"""Contrastive decoding: ``(1 + c) z - c z_branch``, kept to plausible tokens.

    ``blind``: the prompt without placeholders and their markers (``lime_xai.model.layouts.markers``; read the prompt
    with a processor, which names them), positions rebuilt, in a cache of its own.
    ``slot``: the newest token does not attend to perceptual slots of the model's cache; its text slots still depend on
    what was perceived. ``noise``: image and audio features mixed with Gaussian noise, in a cache of its own. Visual
    contrastive decoding (Leng et al., CVPR 2024) adds the noise to pixels; here it is added to the decoder's input
    features, so that it works for any modality and the tower does not run again. ``counterfactual``: other pictures or
    sounds, given to ``steer`` as ``counterfactual=``, in a cache of its own. With silence this is audio-aware decoding
    (AAD, Hsu et al., 2025: a strength of .5 to 1, and a prompt that asks to focus on the audio). With a sound from
    which one event is taken out, it amplifies that event.

    The branch decodes in the same batch as the model, so that each weight is read once per token.

    Parameters
    ----------
    branch : {"blind", "slot", "noise", "counterfactual"}
        What the model is contrasted with.
    strength : float
        ``c``; 0 leaves generation untouched.
    plausibility : float
        Tokens with probability below this fraction of the largest are excluded; 0: none.
    noise : float
        For ``noise``: share of each channel's variance that is noise, above 0 and at most 1.
    seed : int
        For ``noise``; the same noise for every row.
    batched : bool
        False: the branch always decodes in separate calls, as it does for models with recurrent layers or attention
        sinks, and beside a policy that runs the relevance stream.
    modalities : tuple of str, optional
        What the branch perceives less of, ``("audio",)`` for example: a picture beside it stays as it is, in
        ``counterfactual`` too. None: all that is perceived.

    Raises
    ------
    ValueError
        For an unknown branch, a negative strength, a plausibility outside [0, 1) or a noise outside (0, 1].
    """

    branch: BranchName = "blind"
    strength: NotNegative = 1.0
    plausibility: Fraction = 0.1
    noise: Annotated[float, Range("more than 0 and at most 1", lambda value: 0 < value <= 1)] = VCD_NOISE
    seed: Seed = 0
    batched: bool = True
    modalities: Modalities = None

    @property
    def idle(self) -> bool:
        """Whether the contrast has no weight."""
        return self.strength == 0

    @property
    def needs(self) -> Needs:
        """The branch."""
        noisy = self.branch == "noise"
        settings = (self.noise, self.seed) if noisy else (0.0, 0)
        kind = BranchKind(self.branch, *settings, self.batched, self.modalities)
        return Needs(branch=kind, plausibility=self.plausibility)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the contrasted logits."""
        if step.branch is None:
            raise RuntimeError("The branch did not run in this step.")
        other = step.branch.to(step.plain)
        return step.shifted(step.plain + self.strength * (step.plain - other))
