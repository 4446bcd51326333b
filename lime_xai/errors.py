"""Errors that several packages share: unknown names, and names that are taken."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_NEAR = 0.6
"""Similarity from which a known name is suggested, as ``difflib`` counts it (1 is equal)."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error for an unknown name; it suggests a known one only if that is near.

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
    lowered = {one.lower(): one for one in reversed(names)}
    near = get_close_matches(str(name).lower(), lowered, n=1, cutoff=_NEAR)
    hint = f" Did you mean {lowered[near[0]]!r}?" if near else ""
    return ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(names)}.")


def check_free(what: str, earlier: object, new: type | None = None) -> None:
    """Refuse a name that is taken.

    Parameters
    ----------
    what : str
        What has the name ("policy 'edit'").
    earlier : object
        What is registered under it; None: nothing.
    new : type, optional
        A class. If it was defined in the same module by the same name as ``earlier``, as a notebook does when a cell
        runs again, it may take the place.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    places = [(one.__module__, one.__qualname__) for one in (earlier, new) if isinstance(one, type)]
    again = len(places) == 2 and places[0] == places[1]
    if earlier is not None and not again:
        raise ValueError(f"There is a {what} already; give this one another name.")
