"""Measuring policies beside rivals and controls."""

from .registry import world_policies
from .tuning import tune_policies
from .world import WorldReport, measure_policies

__all__ = ["WorldReport", "measure_policies", "tune_policies", "world_policies"]
