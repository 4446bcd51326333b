"""The registry of attribution methods, and methods as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from lime_xai.errors import check_free, unknown_name
from lime_xai.values.checking import shown

from .task import AttributionMethod

M = TypeVar("M", bound=type[AttributionMethod])

METHODS: dict[str, Callable[..., AttributionMethod]] = {}
"""Methods by the name that ``attribute(method=...)`` takes; called without arguments, each has its usual settings."""


def register_method(cls: M) -> M:
    """Register a class of attribution methods under its ``name``; a decorator.

    A registered method is known by its name in ``attribute`` and in comparisons, and goes to JSON and back by the
    fields of its dataclass.

    Raises
    ------
    TypeError
        If the class is no dataclass, has no name of its own, or has fields without defaults.
    ValueError
        If the name is taken by another class. A class that is defined again in the same module, as a notebook does,
        takes the place of the earlier one.
    """
    name = getattr(cls, "name", None)
    if not isinstance(cls, type) or not is_dataclass(cls) or not isinstance(name, str):
        raise TypeError(f"{getattr(cls, '__name__', shown(cls))} must be a dataclass with name: ClassVar[str].")
    bare = [i.name for i in fields(cls) if i.init and i.default is MISSING and i.default_factory is MISSING]
    if bare:
        raise TypeError(
            f"{cls.__name__} has fields without defaults: {', '.join(bare)}; a name stands for usual settings."
        )
    check_free(f"method {name!r}", METHODS.get(name), cls)
    METHODS[name] = cls
    return cls


def register_factory(name: str, make: Callable[..., AttributionMethod]) -> None:
    """Register a function that makes a method, whose arguments are the fields of its dataclass.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    check_free(f"method {name!r}", METHODS.get(name))
    METHODS[name] = make


def method_to_dict(method: AttributionMethod) -> dict[str, Any]:
    """Return a method as JSON-ready data; ``method_from_dict`` reads that of a registered one.

    Of values that JSON does not have (composites, tensors, paths) only the class is written.

    Raises
    ------
    TypeError
        For something that is no method.
    """
    if isinstance(method, type) or not isinstance(getattr(method, "name", None), str):
        raise TypeError(f"method is {shown(method)}; expected an attribution method.")
    names: list[str] = [item.name for item in fields(method)] if is_dataclass(method) else []
    return {"method": method.name, **{name: _json_or_class(getattr(method, name)) for name in names}}


def _json_or_class(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):  # a composite, a tensor; or a structure that holds itself
        return type(value).__qualname__
    return value


def method_from_dict(data: Mapping[str, Any]) -> AttributionMethod:
    """Return the method that ``method_to_dict`` wrote.

    Raises
    ------
    ValueError
        For data that is no mapping, an unknown method or setting, or a value out of range.
    TypeError
        For a value of another type than the setting's.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"A method is read from a mapping of its settings, found {type(data).__name__}.")
    values = dict(data)
    name = values.pop("method", None)
    if not isinstance(name, str) or name not in METHODS:
        raise unknown_name("method", name, METHODS)
    known = settings_of(name)
    for key in values:
        if key not in known:
            raise unknown_name(f"setting of {name}", key, known)
    return METHODS[name](**values)


def settings_of(name: str) -> set[str]:
    """Return the names of a registered method's settings."""
    usual: Any = METHODS[name]()
    return {item.name for item in fields(usual)}
