"""Grounding, pointing and reliance of one relevance, and their means over the steps of a policy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lime_xai.decoding.trace import StepTrace
from lime_xai.evaluation.attributions.localisation import hits, positive_share
from lime_xai.model.prompt import Prompt
from lime_xai.storage.store import number

from .tokens import TokenRegion

STEP_MEASURES = ("grounding_before", "grounding_after", "reliance_before", "reliance_after")
"""What is measured of the relevance that policies record."""


def relevance_values(
    relevance: Tensor, attended: Tensor, prompt: Prompt, region: TokenRegion
) -> dict[str, float | None]:
    """Return the measures of relevance of a prompt and the tokens after it.

    Parameters
    ----------
    relevance : Tensor
        ``[T]``, float.
    attended : Tensor
        ``[T]``, bool: the positions that count.
    prompt : Prompt
        Of one row; its first attended position is left out of ``reliance``.
    region : TokenRegion
        The tokens of the medium, and which of them lie inside.

    Returns
    -------
    dict of str to float or None
        ``grounding``, ``pointing`` and ``reliance``, as ``measure_grounding`` defines them.
    """
    relevance, counted = relevance.cpu().double(), attended.cpu().clone()
    length = prompt.positions.length
    counted[:length] &= ~prompt.positions.bos[0].cpu()
    perceptual = torch.zeros_like(counted)
    perceptual[:length] = prompt.positions.perceptual[0].cpu()
    weight = relevance.abs()
    total = float(weight[counted].sum())
    located = relevance[region.positions]
    return {
        "grounding": number(positive_share(located, region.inside)),
        "pointing": number(hits(located, region.inside, count=1)),
        "reliance": number(float(weight[counted & perceptual].sum()) / total) if total > 0 else None,
    }


def step_values(steps: Sequence[StepTrace], prompt: Prompt, region: TokenRegion) -> dict[str, float | None]:
    """Return the means over steps of grounding and reliance, without the policy and with it.

    Parameters
    ----------
    steps : sequence of StepTrace
        Of one row, those of the answer's tokens.
    prompt, region : Prompt, TokenRegion
        As in ``relevance_values``.

    Returns
    -------
    dict of str to float or None
        By the names of ``STEP_MEASURES``; None where the policy recorded no relevance.
    """
    found: dict[str, list[float]] = {name: [] for name in STEP_MEASURES}
    for step in steps:
        for side, relevance in (("before", step.relevance_before), ("after", step.relevance_after)):
            if relevance is None:
                continue
            attended = torch.ones(relevance.shape[1], dtype=torch.bool)
            attended[: prompt.positions.length] = prompt.positions.attended[0].cpu()
            values = relevance_values(relevance[0], attended, prompt, region)
            for measure in ("grounding", "reliance"):
                value = values[measure]
                if value is not None:
                    found[f"{measure}_{side}"].append(value)
    return {name: number(sum(values) / len(values)) if values else None for name, values in found.items()}
