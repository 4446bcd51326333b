"""Attribution methods beside each other: metrics, bootstrap intervals, tables, figures."""

from .case import Case, Cost, Row
from .compare import compare_attributions
from .prepare import Example
from .registry import METRICS, Metric
from .report import Comparison

__all__ = ["METRICS", "Case", "Comparison", "Cost", "Example", "Metric", "Row", "compare_attributions"]
