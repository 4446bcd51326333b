"""Batches that hold rows of a model's own and, below them, their tangents."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class TangentBatch(Protocol):
    """Batches of ``(1 + G) * N`` rows: primal ones first, then the tangents of each group.

    Attributes
    ----------
    tangents : int
        Number of tangents ``G``, one per group of input positions; 0 while the stream is not running.
    """

    tangents: int

    def split(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return primal rows ``[N, ...]`` and tangents ``[G, N, ...]`` of a tensor with tangents."""
        ...

    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        """Return one tensor of primal rows and, below them, tangents."""
        ...
