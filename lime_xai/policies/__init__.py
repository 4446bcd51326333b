"""Policies: what is done to a decoding step, one file per method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from lime_xai.calibration import Calibration, as_json, from_json
from lime_xai.names import unknown_name
from lime_xai.objective import RelevanceObjective
from lime_xai.step import Policy

from .constant import Constant
from .contrast import Contrast
from .controls import LogitShift, Plausible, UniformGain
from .edit import Edit
from .observe import Observe
from .reweight import Reweight

POLICIES: dict[str, Callable[[], Policy]] = {
    "edit": Edit,
    "paper": Edit.paper,
    "contrast": Contrast,
    "uniform_gain": UniformGain,
    "logit_shift": LogitShift,
    "observe": Observe,
    "plausible": Plausible,
    "reweight": Reweight,
}
"""Policies by the name that ``steer(policy=...)`` takes."""

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Edit, Constant, Contrast, UniformGain, LogitShift, Observe, Plausible, Reweight)
}

PolicyLike = Policy | str | Sequence["Policy | str"] | None
"""A policy, its name, a list of either (applied in order), or None for ``Edit()``."""


def as_policies(policy: PolicyLike) -> tuple[Policy, ...]:
    """Return the policies that a user named.

    Parameters
    ----------
    policy : Policy, str, sequence of these, or None
        None is ``Edit()``.

    Returns
    -------
    tuple of Policy

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    TypeError
        For something that is no policy.
    """
    if policy is None:
        return (Edit(),)
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
        return (POLICIES[policy](),)
    if isinstance(policy, Sequence):
        return tuple(one for item in policy for one in as_policies(item))
    if isinstance(policy, type) or not callable(getattr(policy, "step", None)):
        raise TypeError(f"{policy!r} is no policy; give a name ({', '.join(POLICIES)}) or an object with step().")
    return (policy,)


def policy_to_dict(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON-ready data that ``policy_from_dict`` reads."""
    found = {item.name: getattr(policy, item.name) for item in fields(policy)}  # type: ignore[arg-type]
    for name, value in found.items():
        if isinstance(value, Calibration):
            found[name] = as_json(value)
        elif is_dataclass(value) and not isinstance(value, type):
            found[name] = asdict(value)
    return {"policy": type(policy).__name__, **found}


def policy_from_dict(data: dict[str, Any]) -> Policy:
    """Return the policy that ``policy_to_dict`` wrote.

    Raises
    ------
    ValueError
        For an unknown class name or field.
    """
    values = dict(data)
    name = values.pop("policy", None)
    if name not in _CLASSES:
        raise unknown_name("policy", name, _CLASSES)
    cls = _CLASSES[name]
    _check_fields(cls, values)
    if isinstance(values.get("objective"), dict):
        _check_fields(RelevanceObjective, values["objective"])
        values["objective"] = RelevanceObjective(**values["objective"])
    if isinstance(values.get("layers"), list):
        values["layers"] = tuple(values["layers"])
    if isinstance(values.get("shifts"), dict):
        values["shifts"] = {int(token): shift for token, shift in values["shifts"].items()}
    if "calibration" in values:
        values["calibration"] = from_json(values["calibration"])
    policy: Policy = cls(**values)
    return policy


def _check_fields(cls: type[Any], values: dict[str, Any]) -> None:
    known = {item.name for item in fields(cls)}
    for key in values:
        if key not in known:
            raise unknown_name(f"field of {cls.__name__}", key, known)


__all__ = [
    "POLICIES",
    "Constant",
    "Contrast",
    "Edit",
    "LogitShift",
    "Observe",
    "Plausible",
    "PolicyLike",
    "Reweight",
    "UniformGain",
    "as_policies",
    "policy_from_dict",
    "policy_to_dict",
]
