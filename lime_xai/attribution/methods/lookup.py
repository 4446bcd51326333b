"""The method that a user named or gave."""

from __future__ import annotations

from lime_rules import TransformerComposite
from lime_xai.errors import unknown_name
from lime_xai.values.checking import shown

from .lrp import LRP
from .registry import METHODS
from .task import AttributionMethod

MethodLike = str | TransformerComposite | AttributionMethod
"""A method, its name, or an LRP composite."""

_PROTOCOL = ("name", "explain")


def as_method(method: MethodLike) -> AttributionMethod:
    """Return the method that a user named or gave.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    TypeError
        For something that is no method.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        return METHODS[method]()
    if isinstance(method, TransformerComposite):
        return LRP(method)
    missing = [part for part in _PROTOCOL if not hasattr(method, part)]
    if isinstance(method, type) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is a class"
        raise TypeError(
            f"{shown(method)} is no attribution method; give a name ({', '.join(METHODS)}), an LRP composite, or an "
            f"object of a class that inherits from lime_xai.AttributionMethod. This {lacks}."
        )
    return method
