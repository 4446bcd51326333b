"""Conformance: which features of this package work on a model, tried on one prompt and compared with oracles.

``check_conformance`` runs every check of ``CHECKS``. A check passes, or the package refuses the model by a named error,
or the check fails.
"""

from . import attribution, decoding, places  # noqa: F401 - importing them registers their checks
from .check import CHECKS, Outcome, register_check
from .subject import Subject, padded_batch
from .suite import Conformance, check_conformance

__all__ = ["CHECKS", "Conformance", "Outcome", "Subject", "check_conformance", "padded_batch", "register_check"]
