"""What a second branch of a model perceives, and where it stands within one generation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from .calls import DecoderCall

BRANCHES = ("blind", "slot", "noise")


@dataclass(frozen=True)
class BranchKind:
    """What a branch perceives.

    Attributes
    ----------
    name : {"blind", "slot", "noise"}
        As in ``lime_xai.Contrast``.
    noise : float
        Share of the features' variance that is noise.
    seed : int
        Of the noise.
    batched : bool
        Whether it may decode in the model's own calls.
    """

    name: str
    noise: float = 0.0
    seed: int = 0
    batched: bool = True


@dataclass
class Branch:
    """The second branch of one generation.

    Attributes
    ----------
    attended : Tensor
        ``[B, T']`` bool: the slots that it attends to.
    cache : Cache or None
        Its own; None: it reads the model's.
    counted : bool
        Whether it counts positions itself, from the slots that it attends to.
    """

    attended: Tensor
    cache: Cache | None = None
    counted: bool = False

    def grow(self) -> None:
        """Append one generated position."""
        self.attended = torch.nn.functional.pad(self.attended, (0, 1), value=True)

    def reorder(self, rows: Tensor) -> None:
        """Follow a beam search; beams of one prompt attend to the same slots."""
        if self.cache is not None:
            self.cache.reorder_cache(rows.long())  # type: ignore[arg-type]

    def own(self, call: DecoderCall) -> DecoderCall:
        """Return a one-token call as this branch makes it alone."""
        kwargs = {**call.kwargs, "attention_mask": self.attended.long()}
        if self.counted:
            kwargs["position_ids"] = self._positions(kwargs.get("position_ids"))
        return DecoderCall(call.embeddings, kwargs)

    def beside(self, call: DecoderCall, seen: int) -> DecoderCall:
        """Return a one-token call for both branches, ``2 B`` rows, over a cache of ``seen`` positions."""
        batch = call.embeddings.shape[0]
        wide = call.widened(torch.ones(batch, 1, call.length))
        if not self.counted:
            return wide
        first = call.kwargs.get("position_ids")
        if not isinstance(first, Tensor):
            first = torch.full((batch, 1), seen, device=call.embeddings.device)
        first = first.expand(*first.shape[:-2], batch, 1)
        both = torch.cat([first, self._positions(first).to(first)], -2)
        return replace(wide, kwargs={**wide.kwargs, "position_ids": both})

    def _positions(self, like: Any) -> Tensor:
        """Return the newest position ``[B, 1]``, or ``[A, B, 1]`` where the model counts on several axes."""
        newest = self.attended.long().sum(-1, keepdim=True) - 1
        return newest.expand(like.shape[0], -1, -1) if isinstance(like, Tensor) and like.dim() == 3 else newest
