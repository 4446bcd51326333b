"""The paper's edit over the weight lambda of the divergence, of keys, values and both: figure 5 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from lime_xai.policies.edit import Edit

from .results import PLAIN, Results
from .scoring import Estimate

if TYPE_CHECKING:
    from lime_xai.attribution.sheet import Columns, ShownFigure

Edited = Literal["keys", "values", "both"]
EDITED: tuple[Edited, ...] = get_args(Edited)

PANELS = 3
"""Measures that are drawn at most."""


def sweep_policy(setting: Edit, edited: Edited, weight: float) -> Edit:
    """Return a setting that edits keys, values or both, with a weight of the KL term."""
    return replace(setting, edit=edited, objective=replace(setting.objective, kl_weight=weight))


def sweep_name(edited: str, weight: float) -> str:
    """Return the name of a policy of the sweep."""
    return f"{edited}, {weight:g}"


def sweep_policies(setting: Edit, lambdas: Sequence[float]) -> dict[str, Edit | None]:
    """Return the policies of a sweep by name, the model alone first.

    Parameters
    ----------
    setting : Edit
        What is not varied.
    lambdas : sequence of float
        Weights of the KL term.

    Raises
    ------
    ValueError
        For no weights, a weight that is given twice, and one below zero.
    """
    if not lambdas or len(set(lambdas)) < len(lambdas):
        found = "none" if not lambdas else ", ".join(f"{weight:g}" for weight in lambdas)
        raise ValueError(f"The weights of the divergence are {found}; give at least one, and each once.")
    varied: dict[str, Edit | None] = {PLAIN: None}
    for weight in lambdas:
        varied |= {sweep_name(edited, weight): sweep_policy(setting, edited, weight) for edited in EDITED}
    return varied


@dataclass(frozen=True)
class Sweep:
    """What was measured of a sweep.

    Attributes
    ----------
    found : Results
        Measures of every policy, by the names of ``sweep_policies``.
    setting : Edit
        What was not varied.
    lambdas : sequence of float
        What was.
    shown : sequence of str
        Measures that are drawn.
    about : sequence of str
        What was measured, a sentence each.
    """

    found: Results
    setting: Edit
    lambdas: Sequence[float]
    shown: Sequence[str]
    about: Sequence[str]

    def values(self, name: str) -> Mapping[str, Estimate]:
        """Return the measures of a policy over all items."""
        return self.found.systems[name].measures[self.found.overall]

    def points(self) -> dict[str, dict[float, Mapping[str, Estimate]]]:
        """Return the measures by what is edited and by lambda, in order."""
        return {
            edited: {weight: self.values(sweep_name(edited, weight)) for weight in sorted(self.lambdas)}
            for edited in EDITED
        }

    def plot(self, columns: Columns = 2) -> ShownFigure:
        """Return a panel per measure: a line over lambda for keys, values and both, with intervals."""
        from .sweep_figure import sweep_figure

        panels = {name: name for name in self.shown}
        return sweep_figure(self.points(), self.values(PLAIN), panels, self.about, columns)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        from lime_xai.policies.registry import policy_to_dict

        return {
            "setting": policy_to_dict(self.setting),
            "lambdas": list(self.lambdas),
            "about": list(self.about),
            "results": self.found.to_dict(),
        }
