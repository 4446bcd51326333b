"""Values checked against annotations: settings, arguments, and what files hold.

A dataclass of settings calls ``check_fields`` in ``__post_init__``, a public function calls ``check_arguments``, and a
reader of files calls ``checked``. What is expected is the annotation: ``float`` is a finite number, ``bool`` is no
number, and ``Annotated`` adds a ``Range`` or ``Known`` names.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from inspect import get_annotations
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from weakref import WeakKeyDictionary

from lime_xai.errors import unknown_name

_HINTS: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Range:
    """A range of numbers, for ``Annotated``.

    Attributes
    ----------
    text : str
        Follows "expected" in the error.
    holds : callable
        Whether a finite number lies in it.
    """

    text: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, eq=False)
class Known:
    """Names that are known, for ``Annotated[str, ...]``; a mapping is read when a name is checked."""

    names: Collection[str]


Positive = Annotated[float, Range("a positive number", lambda value: value > 0)]
NotNegative = Annotated[float, Range("zero or more", lambda value: value >= 0)]
Fraction = Annotated[float, Range("at least 0 and less than 1", lambda value: 0 <= value < 1)]
Natural = Annotated[int, Range("zero or more", lambda value: value >= 0)]
Count = Annotated[int, Range("at least one", lambda value: value >= 1)]
Seed = Annotated[int, Range("from 0 to 4294967295", lambda value: 0 <= value < 2**32)]
"""What torch's and NumPy's generators both take."""


def check_fields(settings: Any) -> None:
    """Refuse a dataclass whose fields do not hold what they are annotated with; called in ``__post_init__``.

    Numbers of NumPy become Python's, and a list becomes the tuple that a field is annotated with, so that settings can
    be compared, hashed and written to JSON. Fields with annotations that are not defined at module level, or that are
    of no kind listed in ``checked``, are not checked.

    Raises
    ------
    TypeError
        For a value of another type; names the field.
    ValueError
        For a number that is not finite or out of range, and for an unknown name; names the field.
    """
    hints = _hints(type(settings))
    for item in fields(settings):
        if item.name in hints:
            given = getattr(settings, item.name)
            found = checked(item.name, given, hints[item.name])
            if found is not given:
                object.__setattr__(settings, item.name, found)


def check_arguments(function: Callable[..., Any], **values: Any) -> None:
    """Refuse arguments that are not what a function annotates them with.

    Parameters
    ----------
    function : callable
        Whose annotations count.
    **values
        The arguments by name.

    Raises
    ------
    TypeError, ValueError
        As ``check_fields``; names the argument.
    """
    hints = _hints(function)
    for name, value in values.items():
        checked(name, value, hints[name])


def checked(name: str, value: Any, kind: Any) -> Any:
    """Return a value if it is of a kind, with Python's numbers in place of NumPy's.

    Parameters
    ----------
    name : str
        Of the value, for the error: a field, an argument, a place in a file.
    value : object
        What was given.
    kind : object
        ``bool``, ``int``, ``float`` (finite), ``str``, ``None``, a class, ``Literal``, a union, ``tuple[X, ...]``,
        ``list[X]``, ``Sequence[X]``, ``Mapping[K, V]``, ``dict[K, V]``, a ``TypedDict``, or ``Annotated`` with a
        ``Range`` or ``Known``. Any other kind admits everything.

    Raises
    ------
    TypeError
        For a value of another type.
    ValueError
        For a number that is not finite or out of range, an unknown name, or a missing key.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        return _annotated(name, value, kind)
    if origin in (Union, UnionType):
        return _one_of(name, value, kind)
    if origin is Literal:
        return _literal(name, value, kind)
    if origin in (Required, NotRequired):
        return checked(name, value, get_args(kind)[0])
    if kind in (None, NoneType):
        return None if value is None else _refuse(name, value, kind)
    if kind in (int, float):
        return _number(name, value, kind)
    if is_typeddict(kind):
        return _entries(name, value, kind)
    if origin is tuple or origin is list or origin is Sequence:
        return _items(name, value, kind)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(name, value, kind)
    return _instance(name, value, kind)


_EXACT = 2**53
"""Whole numbers up to this are floats exactly; larger ones become floats, because torch takes none beyond 64 bits."""

_LARGEST = 3.4028234663852886e38
"""Of float32, in which models compute: a larger setting would be infinite there."""


def check_row(row: object, rows: int, name: str = "row") -> None:
    """Refuse what is no number of a row of a batch of ``rows``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, and the rows there are.
    """
    if not isinstance(row, int) or isinstance(row, bool):
        raise TypeError(f"{name} is {type(row).__name__}; expected int.")
    if not 0 <= row < rows:
        raise ValueError(f"{name} is {row}; the batch has rows 0 to {rows - 1}.")


def expected(kind: Any) -> str:
    """Return a kind in words, as it follows "expected" in an error."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        base, rules = parts[0], [one.text for one in parts[1:] if isinstance(one, Range)]
        if not rules:
            return expected(base)
        if base not in (int, float):
            return f"{expected(base)}; {rules[0]}"
        return f"a whole number, {rules[0]}" if base is int else f"{rules[0]}, and finite"
    if origin in (Union, UnionType):
        return ", or ".join(expected(part) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin is tuple or origin is list or origin is Sequence:
        return f"a list or tuple, each entry {expected(parts[0])}" if parts else "a list or tuple"
    if is_typeddict(kind) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return "a mapping"
    names: dict[Any, str] = {int: "a whole number", float: "a finite number", str: "text", bool: "True or False"}
    names |= {None: "None", NoneType: "None"}
    return names.get(kind) or str(getattr(origin or kind, "__name__", kind))


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, and with its type where that is not plain."""
    if value is None or isinstance(value, bool):
        return repr(value)
    kind = type(value).__name__
    plain = isinstance(value, str | bytes | Real | Sequence | Mapping | AbstractSet)
    return f"{reprlib.repr(value)} ({kind})" if plain else f"<{kind}>"


def _refuse(name: str, value: Any, kind: Any) -> Any:
    raise TypeError(f"{name} is {shown(value)}; expected {expected(kind)}.")


def _annotated(name: str, value: Any, kind: Any) -> Any:
    base, *rules = get_args(kind)
    number = base is int or base is float
    found = _number(name, value, base, expected(kind)) if number else checked(name, value, base)
    for rule in rules:
        if isinstance(rule, Range) and not rule.holds(found):
            raise ValueError(f"{name} is {found}; expected {rule.text}.")
        if isinstance(rule, Known) and found not in rule.names:
            raise unknown_name(name, found, rule.names)
    return found


def _number(name: str, value: Any, kind: Any, wanted: str | None = None) -> Any:
    """Return an ``int`` or a finite ``float``; a whole number of Python stays as it is where a float is expected."""
    wanted = wanted or expected(kind)
    whole = isinstance(value, Integral)
    if isinstance(value, bool) or not (whole or (kind is float and isinstance(value, Real))):
        raise TypeError(f"{name} is {shown(value)}; expected {wanted}.")
    if kind is int:
        if abs(int(value)) >= 2**63:
            raise ValueError(f"{name} is {reprlib.repr(value)}; expected {wanted}, of at most 64 bits.")
        return value if type(value) is int else int(value)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{name} is {found}; expected {wanted}.")
    if abs(found) > _LARGEST:
        raise ValueError(f"{name} is {found}; expected {wanted}, at most {_LARGEST:.1e} in size, as float32 holds it.")
    exact = type(value) is int and abs(value) <= _EXACT
    return value if type(value) is float or exact else found


def _one_of(name: str, value: Any, kind: Any) -> Any:
    for part in get_args(kind):
        try:
            return checked(name, value, part)
        except TypeError:
            continue
    return _refuse(name, value, kind)


def _literal(name: str, value: Any, kind: Any) -> Any:
    names = get_args(kind)
    if type(value) not in {type(one) for one in names}:
        return _refuse(name, value, kind)
    if value not in names:
        raise unknown_name(name, value, map(str, names))
    return value


def _items(name: str, value: Any, kind: Any) -> Any:
    """Return a list or a tuple; a list where a tuple is expected becomes one."""
    if not isinstance(value, list | tuple):
        if get_origin(kind) is Sequence and isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return value
        return _refuse(name, value, kind)
    parts = get_args(kind)
    if get_origin(kind) is tuple and parts[-1] is not Ellipsis:
        if len(value) != len(parts):
            raise ValueError(f"{name} has {len(value)} entries; expected {len(parts)}.")
        kinds = list(parts)
    else:
        kinds = [parts[0]] * len(value)
    found = [checked(f"{name}[{i}]", one, part) for i, (one, part) in enumerate(zip(value, kinds, strict=True))]
    wanted = tuple if get_origin(kind) is tuple else type(value)
    same = type(value) is wanted and all(new is old for new, old in zip(found, value, strict=True))
    return value if same else (tuple(found) if wanted is tuple else found)


def _mapping(name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(name, value, kind)
    of_key, of_value = get_args(kind)
    pairs = [
        (checked(f"a key of {name}", key, of_key), checked(f"{name}[{key!r}]", one, of_value))
        for key, one in value.items()
    ]
    same = all(new_key is key and new is one for (new_key, new), (key, one) in zip(pairs, value.items(), strict=True))
    return value if same else dict(pairs)


def _entries(name: str, value: Any, kind: Any) -> Any:
    """Return a mapping with the keys of a ``TypedDict``; it may hold others."""
    if not isinstance(value, Mapping):
        return _refuse(name, value, kind)
    hints = _hints(kind)
    # where annotations are text (from __future__), __required_keys__ holds keys that are NotRequired too
    missing = sorted(
        key for key in kind.__required_keys__ if get_origin(hints.get(key)) is not NotRequired and key not in value
    )
    if missing:
        raise ValueError(f"{name} lacks {', '.join(map(repr, missing))}.")
    for key, part in hints.items():
        if key in value:
            checked(f"{name}.{key}", value[key], part)
    return value


def _instance(name: str, value: Any, kind: Any) -> Any:
    """Return an instance of a class; a protocol that cannot be tested admits everything."""
    plain = get_origin(kind) or kind
    if plain is Callable:
        return value if callable(value) else _refuse(name, value, kind)
    if plain is Any or not isinstance(plain, type) or (getattr(plain, "_is_protocol", False)):
        return value
    return value if isinstance(value, plain) else _refuse(name, value, kind)


def _hints(owner: Any) -> dict[str, Any]:
    """Return the annotations of a class or function, without those that name what is not at module level."""
    if owner not in _HINTS:
        found: dict[str, Any] = {}
        for part in reversed(owner.__mro__) if isinstance(owner, type) else [owner]:
            for name, annotation in get_annotations(part).items():
                alone = type(name, (), {"__annotations__": {name: annotation}, "__module__": part.__module__})
                try:
                    found[name] = get_type_hints(alone, include_extras=True)[name]
                except NameError:
                    found.pop(name, None)
        _HINTS[owner] = found
    return _HINTS[owner]
