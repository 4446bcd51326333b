"""The registry of policies, and policies as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cattrs import AttributeValidationNote, BaseValidationError, Converter
from cattrs.gen import make_dict_structure_fn

from lime_xai.decoding.policy import Policy
from lime_xai.errors import check_free, unknown_name
from lime_xai.values.checking import shown

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
        If the class is no dataclass, has a field called ``policy``, or has fields whose types are not defined at module
        level (JSON is read by them); or if the decorator is used without parentheses.
    ValueError
        If the name of the policy or of the class is taken by another one. A class that is defined again in the same
        module, as a notebook does, takes the place of the earlier one.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from lime_xai import Policy, policy_from_dict, policy_to_dict, register_policy
    >>> @register_policy("nothing")
    ... @dataclass(frozen=True)
    ... class Nothing(Policy):
    ...     def step(self, step):
    ...         return step.logits
    >>> policy_from_dict(policy_to_dict(Nothing()))
    Nothing()
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"register_policy has parentheses: write @register_policy() or @register_policy({'name'!r}).")

    def register(cls: P) -> P:
        _check_fields(cls)
        check_free(f"policy class {cls.__name__}", _CLASSES.get(cls.__name__), cls)
        if name is not None:
            check_free(f"policy {name!r}", POLICIES.get(name), cls)
            POLICIES[name] = cls
        _CLASSES[cls.__name__] = cls
        return cls

    return register


def _check_fields(cls: type) -> None:
    if not isinstance(cls, type) or not is_dataclass(cls):
        name = getattr(cls, "__name__", shown(cls))
        raise TypeError(f"{name} is no dataclass; a policy goes to JSON by the fields of its dataclass.")
    if any(item.name == "policy" for item in fields(cls)):
        raise TypeError(f"{cls.__name__} has a field 'policy', which is the class name in JSON; rename the field.")
    try:
        get_type_hints(cls)
    except NameError as error:
        raise TypeError(f"A field of {cls.__name__} has a type that is not at module level: {error}.") from error


def register_preset(name: str, make: Callable[[], Policy]) -> None:
    """Register further settings of a policy under a name of their own.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    check_free(f"policy {name!r}", POLICIES.get(name))
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
    # Looked up on the class: a property that raises AttributeError is no missing member.
    missing = [part for part in _PROTOCOL if not hasattr(type(policy), part)]
    if isinstance(policy, type) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is a class"
        raise TypeError(
            f"{shown(policy)} is no policy; give a name ({', '.join(POLICIES)}) or an object of a class that inherits "
            f"from lime_xai.Policy. This {lacks}."
        )
    return (policy,)


def policy_to_dict(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON-ready data that ``policy_from_dict`` reads.

    Raises
    ------
    TypeError
        For something that is no dataclass.
    """
    if isinstance(policy, type) or not is_dataclass(policy):
        raise TypeError(f"policy is {shown(policy)}; expected a policy, which is a dataclass.")
    data: dict[str, Any] = _CONVERTER.unstructure(policy)
    return {"policy": type(policy).__name__, **data}


def policy_from_dict(data: dict[str, Any]) -> Policy:
    """Return the policy that ``policy_to_dict`` wrote.

    Raises
    ------
    ValueError
        For data that is no mapping, an unknown class name or field, a field that is missing, or a value of another type
        than the field's. Only whole numbers for floats are converted.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"A policy is read from a mapping of its fields, found {type(data).__name__}.")
    values = dict(data)
    name = values.pop("policy", None)
    if not isinstance(name, str) or name not in _CLASSES:
        raise unknown_name("policy", name, _CLASSES)
    try:
        policy: Policy = _CONVERTER.structure(values, _CLASSES[name])
    except BaseValidationError as error:
        raise ValueError("; ".join(_reasons(error, name))) from error
    return policy


def _reasons(error: BaseValidationError, place: str) -> Iterator[str]:
    """Return what each error of a group says, with the field that it is about."""
    for one in error.exceptions:
        notes = [note for note in getattr(one, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
        here = f"{place}.{notes[0].name}" if notes else place
        if isinstance(one, BaseValidationError):
            yield from _reasons(one, here)
        elif isinstance(one, KeyError):
            yield f"{here} is missing"
        else:
            yield f"{here}: {one}" if "." in here else str(one)


def _structure(cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Return the function that makes a dataclass from a mapping, and names fields that it does not have."""
    known = {item.name for item in fields(cls)}
    make = make_dict_structure_fn(cls, _CONVERTER)

    def structure(values: Any, _: Any) -> Any:
        if not isinstance(values, Mapping):
            raise TypeError(f"found {values!r}, expected the fields of {cls.__name__}.")
        for key in values:
            if key not in known:
                raise unknown_name(f"field of {cls.__name__}", key, known)
        return make(values, cls)

    return structure


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _one_of(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise unknown_name("value", value, map(str, get_args(kind)))
    return value


def _exactly(value: Any, kind: Any) -> Any:
    """Return a value of a type; a bool is no number, and a whole number is a float."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"found {value!r}, expected {kind.__name__}.")
    return value


def _has_integer_keys(kind: Any) -> bool:
    return get_origin(kind) in (dict, Mapping) and get_args(kind)[0] is int


def _with_integer_keys(values: Any, kind: Any) -> dict[int, Any]:
    """Return a mapping whose keys JSON has written as text."""
    if not isinstance(values, Mapping):
        raise TypeError(f"found {values!r}, expected a mapping.")
    _, item = get_args(kind)
    return {
        int(key) if isinstance(key, str) else key: _CONVERTER.structure(value, item) for key, value in values.items()
    }


def _calibration(value: Any, _: Any) -> Calibration:
    if not isinstance(value, str):
        raise TypeError(f"found {value!r}, expected the path of a calibration.")
    return from_json(value)


def _converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook_func(_is_literal, _one_of)
    converter.register_structure_hook_func(_has_integer_keys, _with_integer_keys)
    converter.register_structure_hook_factory(is_dataclass, _structure)
    for kind in (int, float, bool, str):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(Calibration, _calibration)
    converter.register_unstructure_hook(Calibration, as_json)
    return converter


_CONVERTER = _converter()
