"""Contrasts with another medium of the same item or scene, which whoever asks has to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lime_xai.decoding.policy import Policy
from lime_xai.errors import unknown_name
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.registry import policy_from_dict

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


def measured_from_dict(data: Mapping[str, Any]) -> Policy | Against:
    """Return what a mapping describes: a policy, or with ``against`` a contrast with that other medium.

    Parameters
    ----------
    data : mapping of str to object
        As ``policy_to_dict`` writes a policy; ``against`` beside its fields is a medium, or None.

    Raises
    ------
    ValueError
        As ``policy_from_dict``; for an unknown medium, or one beside another policy than a contrast with the branch
        ``counterfactual``.

    Examples
    --------
    >>> found = {"policy": "Contrast", "branch": "counterfactual", "strength": 0.5, "against": "nothing"}
    >>> measured_from_dict(found).medium
    'nothing'
    """
    values = dict(data)
    medium = values.pop("against", None)
    policy = policy_from_dict(values)
    if medium is None:
        return policy
    if medium not in get_args(Medium):
        raise unknown_name("medium", medium, get_args(Medium))
    if not isinstance(policy, Contrast) or policy.branch != "counterfactual":
        raise ValueError(
            f"'against' names what a contrast with another picture or sound perceives, and stands beside "
            f'"policy": "Contrast", "branch": "counterfactual"; found it beside {policy}.'
        )
    return Against(policy, medium)
