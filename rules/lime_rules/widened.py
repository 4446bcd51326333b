"""What code that runs inside a relevance stream asks it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Widened(Protocol):
    """Batches of ``(1 + G) * N`` rows: primal ones first, then the tangents of each group.

    Attributes
    ----------
    groups : int
        Number of tangents ``G``; 0 while no stream flows.
    """

    groups: int

    def split(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return primal rows ``[N, ...]`` and tangents ``[G, N, ...]`` of a widened tensor."""
        ...

    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        """Return the widened tensor of primal rows and tangents."""
        ...
