"""Measuring policies beside rivals and controls."""

from .tuning import tune_policies
from .world import WorldReport, measure_policies, world_policies

__all__ = ["WorldReport", "measure_policies", "tune_policies", "world_policies"]
