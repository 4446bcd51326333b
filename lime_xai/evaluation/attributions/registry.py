"""The metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lime_xai.errors import unknown_name

from . import cost, faithfulness, localisation, modality, robustness
from .scored import Scored

Need = Literal["truth", "replacement"]


@dataclass(frozen=True)
class Metric:
    """One number per attribution.

    Attributes
    ----------
    name : str
        Key in ``METRICS``.
    family : str
        Heading of its table.
    better : {"high", "low"} or None
        Which end is better; None: neither.
    measure : callable
        Takes a ``Scored``; NaN where it is undefined.
    needs : tuple of str
        ``truth``: a true region; ``replacement``: what perturbed positions are replaced by.
    source : str
        Where it was proposed; empty if it needs no source.
    typical : {"mean", "median"}
        How values of many examples are summarised: the median where single ones lie far out.
    """

    name: str
    family: str
    better: Literal["high", "low"] | None
    measure: Callable[[Scored], float]
    needs: tuple[Need, ...] = ()
    source: str = ""
    typical: Literal["mean", "median"] = "mean"

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign."""
        return {"high": "\u2191", "low": "\u2193", None: ""}[self.better]


_CURVES: tuple[Need, ...] = ("replacement",)
_REGION: tuple[Need, ...] = ("truth",)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("delta_a", "perturbation", "high", faithfulness.delta_a, _CURVES, "Achtibat et al. 2024"),
        Metric("deletion", "perturbation", "low", faithfulness.deletion, _CURVES, "Petsiuk et al. 2018"),
        Metric("insertion", "perturbation", "high", faithfulness.insertion, _CURVES, "Petsiuk et al. 2018"),
        Metric(
            "comprehensiveness", "perturbation", "high", faithfulness.comprehensiveness, _CURVES, "DeYoung et al. 2020"
        ),
        Metric("sufficiency", "perturbation", "low", faithfulness.sufficiency, _CURVES, "DeYoung et al. 2020"),
        Metric("pointing", "localisation", "high", localisation.pointing, _REGION, "Zhang et al. 2018"),
        Metric("mass", "localisation", "high", localisation.mass, _REGION, "Arras et al. 2022"),
        Metric("rank", "localisation", "high", localisation.rank, _REGION, "Arras et al. 2022"),
        Metric("perceptual_share", "modality", None, modality.perceptual_share),
        Metric("mm_shap", "modality", None, modality.mm_shap, _CURVES, "Parcalabescu and Frank 2023"),
        Metric("sensitivity", "robustness", "low", robustness.sensitivity, (), "Yeh et al. 2019"),
        Metric("randomisation", "robustness", "low", robustness.randomisation, (), "Adebayo et al. 2018"),
        Metric("residual", "bookkeeping", None, cost.residual, typical="median"),
        Metric("agreement", "bookkeeping", None, cost.agreement),
        Metric("seconds", "bookkeeping", "low", cost.seconds, typical="median"),
        Metric("passes", "bookkeeping", "low", cost.passes, typical="median"),
        Metric("memory", "bookkeeping", "low", cost.memory, typical="median"),
    )
}
"""Every metric by name."""


def metric_of(column: str) -> Metric:
    """Return the metric of a column; a column is a name, or ``name@replacement`` for a further replacement.

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    if not isinstance(column, str):
        raise unknown_name("metric", column, METRICS)
    name = column.partition("@")[0]
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def columns(metrics: Sequence[str], replacements: Sequence[str]) -> list[str]:
    """Return the columns of a comparison: metrics, then those that perturb with every further replacement."""
    return [
        name if index == 0 else f"{name}@{kind}"
        for name in metrics
        for index, kind in enumerate(replacements)
        if index == 0 or "replacement" in metric_of(name).needs
    ]
