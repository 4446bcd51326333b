"""Policies, one frozen dataclass per file; importing this package registers them."""

from . import constant, contrast, controls, edit, observe, reweight

__all__ = ["constant", "contrast", "controls", "edit", "observe", "reweight"]
