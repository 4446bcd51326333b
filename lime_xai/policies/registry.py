"""The registry of policies, and policies as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_origin

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn

from lime_xai.decoding.policy import Policy
from lime_xai.errors import unknown_name

from .calibration import Calibration, as_json, from_json

P = TypeVar("P", bound=type[Policy])

POLICIES: dict[str, Callable[[], Policy]] = {}
"""Policies by the name that ``steer(policy=...)`` takes; called without arguments, each has its usual settings."""

_CLASSES: dict[str, type[Policy]] = {}
"""Classes of policies by name, to be read from JSON."""

PolicyLike = Policy | str | Sequence["Policy | str"] | None
"""A policy, its name, a list of either (applied in order), or None for ``Edit()``."""

_PROTOCOL = ("idle", "needs", "check_model", "step")


def register_policy(name: str | None = None) -> Callable[[P], P]:
    """Return a decorator that registers a class of policies.

    A registered policy is known by its name, and goes to JSON and back by the fields of its dataclass, nested
    dataclasses and calibrations included.

    Parameters
    ----------
    name : str, optional
        What ``steer(policy=...)`` takes; None for a class that has no default settings.

    Raises
    ------
    TypeError
        If the class is no dataclass.
    ValueError
        If the name of the policy or of the class is taken by another one.

    Examples
    --------
    >>> @register_policy("nothing")
    ... @dataclass(frozen=True)
    ... class Nothing(Policy):
    ...     def step(self, step):
    ...         return step.logits
    >>> policy_from_dict(policy_to_dict(Nothing()))
    Nothing()
    """

    def register(cls: P) -> P:
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is no dataclass; a policy goes to JSON by the fields of its dataclass.")
        if cls.__name__ in _CLASSES:
            raise ValueError(f"There is a policy class {cls.__name__} already; give this one another name.")
        if name is not None:
            register_preset(name, cls)
        _CLASSES[cls.__name__] = cls
        return cls

    return register


def register_preset(name: str, make: Callable[[], Policy]) -> None:
    """Register further settings of a policy under a name of their own.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in POLICIES:
        raise ValueError(f"There is a policy {name!r} already; give this one another name.")
    POLICIES[name] = make


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
        return (POLICIES["edit"](),)
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
        return (POLICIES[policy](),)
    if isinstance(policy, Sequence):
        return tuple(one for item in policy for one in as_policies(item))
    missing = [part for part in _PROTOCOL if not hasattr(policy, part)]
    if isinstance(policy, type) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is a class"
        raise TypeError(
            f"{policy!r} is no policy; give a name ({', '.join(POLICIES)}) or an object of a class that inherits from "
            f"lime_xai.Policy. This {lacks}."
        )
    return (policy,)


def policy_to_dict(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON-ready data that ``policy_from_dict`` reads."""
    data: dict[str, Any] = _CONVERTER.unstructure(policy)
    return {"policy": type(policy).__name__, **data}


def policy_from_dict(data: dict[str, Any]) -> Policy:
    """Return the policy that ``policy_to_dict`` wrote.

    Raises
    ------
    ValueError
        For an unknown class name, field or value.
    """
    values = dict(data)
    name = values.pop("policy", None)
    if name not in _CLASSES:
        raise unknown_name("policy", name, _CLASSES)
    policy: Policy = _CONVERTER.structure(values, _CLASSES[name])
    return policy


def _structure(cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Return the function that makes a dataclass from a mapping, and names fields that it does not have."""
    known = {item.name for item in fields(cls)}
    make = make_dict_structure_fn(cls, _CONVERTER)

    def structure(values: Any, _: Any) -> Any:
        for key in values:
            if key not in known:
                raise unknown_name(f"field of {cls.__name__}", key, known)
        return make(values, cls)

    return structure


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _converter() -> Converter:
    """Return the converter of policies; names are checked by each class, with the nearest known one in the error."""
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook_func(_is_literal, lambda value, _: value)
    converter.register_structure_hook_factory(is_dataclass, _structure)
    converter.register_structure_hook(Calibration, lambda value, _: from_json(value))
    converter.register_unstructure_hook(Calibration, as_json)
    return converter


_CONVERTER = _converter()
