"""Metrics that remove or bring back groups in the order of their relevance."""

from __future__ import annotations

import torch

from .scored import Scored

PERCENTS = (1, 5, 10, 20, 50)
"""Shares of groups that comprehensiveness and sufficiency take, rounded up to whole groups."""


def delta_a(scored: Scored) -> float:
    r"""Return the area between two curves of the explained value :math:`f`.

    .. math:: \Delta A = \int_0^1 f_{\text{least first}}(x) - f_{\text{most first}}(x)\,\mathrm dx

    Here :math:`x` is the share of groups that is removed, and the integral a sum of trapezia. The negative of a
    relevance has the opposite area; the area of a constant relevance is zero.

    Source: Achtibat et al. 2024, after Blücher et al. 2024.
    """
    return _area(scored.without_least[0] - scored.without_most[0])


def deletion(scored: Scored) -> float:
    """Return the area, in [0, 1], under the probability while the most relevant groups are removed first.

    Source: Petsiuk et al. 2018.
    """
    return _area(scored.without_most[1])


def insertion(scored: Scored) -> float:
    """Return the area, in [0, 1], under the probability while the most relevant groups are brought back first.

    Source: Petsiuk et al. 2018.
    """
    return _area(scored.with_most[1])


def comprehensiveness(scored: Scored) -> float:
    """Return how much probability is lost without the most relevant groups, averaged over ``PERCENTS``.

    Source: DeYoung et al. 2020.
    """
    return _lost(scored.without_most[1], scored.without_most[1][0])


def sufficiency(scored: Scored) -> float:
    """Return how much probability is lost with only the most relevant groups, averaged over ``PERCENTS``.

    Source: DeYoung et al. 2020.
    """
    return _lost(scored.with_most[1], scored.with_most[1][-1])


def _area(curve: torch.Tensor) -> float:
    """Return the area under a curve ``[n + 1]`` over equal steps from 0 to 1."""
    return float(torch.trapezoid(curve) / (len(curve) - 1))


def _lost(curve: torch.Tensor, full: torch.Tensor) -> float:
    """Return the mean of ``full`` minus a curve ``[n + 1]`` at the shares of groups ``PERCENTS``."""
    counts = [-(-(len(curve) - 1) * percent // 100) for percent in PERCENTS]
    return float((full - curve[counts]).mean())
