"""Errors for names that are not known, with the nearest one that is."""

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
