"""Checks that several packages share: unknown names, names that are taken, and numbers out of range."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error for an unknown name.

    Parameters
    ----------
    what : str
        What was named ("policy", "method").
    name : object
        What was given.
    known : iterable of str
        The names there are.

    Returns
    -------
    ValueError
        To be raised by the caller.
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.0)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(names)}.")


def same_place(earlier: object, new: type) -> bool:
    """Whether two classes are defined by the same name in the same module, so that the new one replaces the earlier."""
    places = [(one.__module__, one.__qualname__) for one in (earlier, new) if isinstance(one, type)]
    return len(places) == 2 and places[0] == places[1]


def check_plausibility(value: float) -> None:
    """Refuse a fraction of the largest probability outside [0, 1).

    Raises
    ------
    ValueError
        Naming the value.
    """
    if not 0 <= value < 1:
        raise ValueError(f"plausibility is {value}; expected at least 0 and less than 1.")


def check_strength(value: float) -> None:
    """Refuse a negative strength.

    Raises
    ------
    ValueError
        Naming the value.
    """
    if not value >= 0:
        raise ValueError(f"strength is {value}; expected zero or more.")
