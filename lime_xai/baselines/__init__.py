"""Attribution methods beside LRP, one file per family, for ``attribute(method=...)``.

Captum's are Captum's own classes on a row as a function of its embeddings (``lime_xai.problem``); they are imported
when they are first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from lime_xai.names import unknown_name

from .ablation import FeatureAblation, Occlusion
from .base import Baseline, check_cost
from .eagle import Eagle
from .gradients import InputXGradient, Saliency
from .integrated import GradientShap, IntegratedGradients
from .rollout import AttentionRollout, GradientAttentionRollout
from .shapley import KernelShap, ShapleyValueSampling
from .stream import StreamRelevance
from .tam import TokenActivationMap

BASELINES: Mapping[str, type[Any]] = {
    cls.name: cls
    for cls in (
        Saliency,
        InputXGradient,
        IntegratedGradients,
        GradientShap,
        FeatureAblation,
        Occlusion,
        ShapleyValueSampling,
        KernelShap,
        AttentionRollout,
        GradientAttentionRollout,
        Eagle,
        TokenActivationMap,
        StreamRelevance,
    )
}
"""Methods by the name that ``attribute(method=...)`` takes; called without arguments, each has its usual settings."""


def baseline_to_dict(method: Baseline) -> dict[str, Any]:
    """Return a registered method as JSON-ready data that ``baseline_from_dict`` reads."""
    return {"method": method.name, **asdict(method)}  # type: ignore[call-overload]


def baseline_from_dict(data: Mapping[str, Any]) -> Baseline:
    """Return the method that ``baseline_to_dict`` wrote.

    Raises
    ------
    ValueError
        For an unknown method or setting.
    """
    values = dict(data)
    name = values.pop("method", None)
    if name not in BASELINES:
        raise unknown_name("method", name, BASELINES)
    known = {item.name for item in fields(BASELINES[name])}
    for key in values:
        if key not in known:
            raise unknown_name(f"setting of {name}", key, known)
    method: Baseline = BASELINES[name](**values)
    return method


__all__ = [
    "BASELINES",
    "AttentionRollout",
    "Baseline",
    "Eagle",
    "FeatureAblation",
    "GradientAttentionRollout",
    "GradientShap",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "Occlusion",
    "Saliency",
    "ShapleyValueSampling",
    "StreamRelevance",
    "TokenActivationMap",
    "baseline_from_dict",
    "baseline_to_dict",
    "check_cost",
]
