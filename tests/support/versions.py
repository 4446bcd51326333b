"""Families that a release of transformers does not build are skipped there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import transformers
from huggingface_hub.errors import StrictDataclassError

from benchmarks.conformance import recorded_version

T = TypeVar("T")

RECORDED = transformers.__version__ == recorded_version()
"""Whether this is the release that the table of conformance was recorded with; others may lack families."""


def built(make: Callable[[], T]) -> T:
    """Return what ``make`` builds, or skip the test.

    On the release that the table of conformance was recorded with every family builds, and an error is a failure.
    """
    try:
        return make()
    except (AttributeError, ValueError, StrictDataclassError) as error:
        if RECORDED:
            raise
        pytest.skip(f"transformers {transformers.__version__} does not build it: {error}")
