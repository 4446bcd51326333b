"""What answers a benchmark: a model under policies, and what a contrast perceives instead of an item's own media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.against import NOISE_STEP, Against, Medium
from lime_xai.policies.registry import PolicyLike, as_policies, policy_to_dict

from .protocol import Item

SystemLike = PolicyLike | Against | None
"""What a caller gives: policies, a contrast with another medium of each item, or None for the model alone."""


@dataclass(frozen=True)
class System:
    """Policies that answer together.

    Attributes
    ----------
    policies : tuple of Policy
        In the order in which they are applied; none for the model alone.
    medium : {"nothing", "noise"}, optional
        What the branch ``counterfactual`` perceives. None: no policy has that branch.
    """

    policies: tuple[Policy, ...] = ()
    medium: Medium | None = None

    @classmethod
    def of(cls, given: SystemLike) -> System:
        """Return what a caller gives as a system.

        Raises
        ------
        TypeError, ValueError
            For what is no policy.
        """
        if given is None:
            return cls()
        if isinstance(given, Against):
            return cls((given.policy,), given.medium)
        return cls(tuple(as_policies(given)))

    @property
    def settings(self) -> list[dict[str, Any]]:
        """Settings of every policy, JSON-ready; a calibration is named by its content."""
        found = [policy_to_dict(policy) for policy in self.policies]
        for policy, one in zip(self.policies, found, strict=True):
            if (calibration := getattr(policy, "calibration", None)) is not None:
                one["calibration"] = f"sha256:{calibration.digest}"
            if self.medium is not None:
                one["against"] = self.medium
            if self.medium == "noise":
                one["noise_step"] = NOISE_STEP
        return found

    def check_item(self, item: Item) -> None:
        """Refuse an item that has no such other medium.

        Raises
        ------
        ValueError
            Naming the item.
        """
        place = item.place or item.id
        if self.medium == "background":
            raise ValueError(
                f"{place}: only a world knows its pictures and sounds with everything erased; use `lime-xai world`, or "
                "contrast_nothing."
            )
        if self.medium == "nothing" and not (item.images or item.sounds):
            raise ValueError(f"{place} has no picture and no sound, so there is no other one to contrast with.")
        if self.medium == "noise" and (item.sounds or not item.images):
            has = "has sounds" if item.sounds else "has no picture"
            raise ValueError(f"{place} {has}; noise on pixels is for items with pictures alone. Use contrast_nothing.")
