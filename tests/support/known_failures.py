"""Checks that fail today, and what has to be mended. A list that must shrink."""

from __future__ import annotations

KNOWN: dict[tuple[str, str], str] = {}
"""By family and feature: what has to be mended. Empty: every check works or is refused by name."""
