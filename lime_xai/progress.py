"""What is known of a generation under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from .branch import Branch
from .calls import DecoderCall
from .streaming import Flow


@dataclass
class Progress:
    """What is known of the generation under way.

    Attributes
    ----------
    cache : Cache
        The one ``generate`` keeps.
    modalities : dict of str to Tensor
        ``[B, T]`` each, growing with the sequence.
    attended, bos : Tensor
        ``[B, T]``.
    history : list of DecoderCall
        Since the prompt, if some policy asks for it.
    states : list of dict
        One memory per policy.
    index : int
        Tokens decided so far.
    flow : Flow or None
        Of the relevance stream, if some policy asks for it: one group, all that is perceptual.
    branch : Branch or None
        That perceives less, if some policy asks for it.
    """

    cache: Cache
    modalities: dict[str, Tensor]
    attended: Tensor
    bos: Tensor
    states: list[dict[str, Any]]
    history: list[DecoderCall] = field(default_factory=list)
    index: int = 0
    flow: Flow | None = None
    branch: Branch | None = None

    def grow(self) -> None:
        """Append one attended text position."""
        ones = torch.ones_like(self.attended[:, :1])
        self.attended = torch.cat([self.attended, ones], 1)
        self.bos = torch.cat([self.bos, ~ones], 1)
        self.modalities = {name: torch.cat([mask, ~ones], 1) for name, mask in self.modalities.items()}
        if self.flow is not None:
            self.flow.grow()
        if self.branch is not None:
            self.branch.grow()

    def follow_beams(self) -> None:
        """Let the cache tell when a beam search reorders it."""
        original = self.cache.reorder_cache

        def reorder(rows: Tensor) -> None:
            original(rows)  # type: ignore[arg-type]
            self.reorder(rows)

        vars(self.cache)["reorder_cache"] = reorder

    def leave_beams(self) -> None:
        """Undo ``follow_beams``."""
        vars(self.cache).pop("reorder_cache", None)

    def reorder(self, rows: Tensor) -> None:
        """Follow a beam search: beams of one prompt exchange what they generated."""
        self.history = [call.select(rows) for call in self.history]
        if self.flow is not None:
            self.flow.reorder(rows)
        if self.branch is not None:
            self.branch.reorder(rows)
        for state in self.states:
            for value in state.values():
                if hasattr(value, "reorder"):
                    value.reorder(rows)
