"""Contrasts with another medium of the same item or scene, which whoever asks has to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lime_xai.policies.contrast import Contrast

Medium = Literal["nothing", "background", "noise"]

NOISE_STEP = 500
"""Of 1,000 diffusion steps: the setting of visual contrastive decoding on POPE (its README; 999 on open questions)."""


@dataclass(frozen=True)
class Against:
    """A contrast with another medium than the one that is asked about.

    Attributes
    ----------
    policy : Contrast
        With the branch ``counterfactual``.
    medium : {"nothing", "background", "noise"}
        ``nothing``: a grey picture, or digital silence; with sounds this is audio-aware decoding (AAD) without its
        prefix to the prompt. ``background``: the medium with everything in it erased, which takes the truth, so that
        only worlds have it: an oracle. ``noise``: the picture with noise on its pixels, as visual contrastive decoding
        (VCD) has it; only benchmarks have it.
    """

    policy: Contrast
    medium: Medium
