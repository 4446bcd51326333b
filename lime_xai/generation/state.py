"""The state of a generation that is running."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lime_xai.branches.branch import Branch
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.positions import Positions
from lime_xai.stream.engine import StreamState

TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Arguments that hold one type per token."""


@dataclass(eq=False)
class GenerationState:
    """The state of the generation that is running.

    Attributes
    ----------
    cache : Cache
        The one ``generate`` keeps.
    positions : Positions
        ``[B, T]``, growing with the sequence.
    memories : list of dict
        One per policy: ``DecodingStep.state``.
    history : list of DecoderCall
        Since the prompt, if some policy needs it.
    index : int
        Tokens decided so far.
    stream : StreamState or None
        Of the relevance stream in the model's own calls: one group of positions for each of ``contribution_groups``.
    branch : Branch or None
        Of a contrast.
    types : dict of str to Tensor
        ``[B, T]``: token types that the model was given with the prompt.
    markers : Tensor or None
        ``[B, T]`` bool: text of the prompt that only marks what is perceived; None if no policy needs it.
    """

    cache: Cache
    positions: Positions
    memories: list[dict[str, Any]]
    history: list[DecoderCall] = field(default_factory=list)
    index: int = 0
    stream: StreamState | None = None
    branch: Branch | None = None
    types: dict[str, Tensor] = field(default_factory=dict)
    markers: Tensor | None = None

    def grow(self, ids: Tensor) -> None:
        """Append one generated token per row, ``ids`` ``[B, 1]``."""
        self.positions = self.positions.appended(ids)
        if self.stream is not None:
            self.stream.grow()
        if self.branch is not None:
            self.branch.grow()

    def follow_beams(self) -> None:
        """Let ``reorder`` run whenever a beam search reorders the cache.

        generate offers no hook for it; the cache is the only object that a beam search calls. The method is
        replaced on this instance only, and forks drop it (``fork_cache``).
        """
        original = self.cache.reorder_cache

        def reorder(rows: Tensor) -> None:
            original(rows)  # type: ignore[arg-type]
            with torch.inference_mode(False):  # rows taken in a caller's inference mode could not enter a graph
                self.reorder(rows)

        vars(self.cache)["reorder_cache"] = reorder

    def leave_beams(self) -> None:
        """Undo ``follow_beams``."""
        vars(self.cache).pop("reorder_cache", None)

    def reorder(self, rows: Tensor) -> None:
        """Reorder rows as a beam search does; beams of one prompt exchange what they generated."""
        self.positions = self.positions.select(rows)
        self.history = [call.select(rows) for call in self.history]
        if self.stream is not None:
            self.stream.reorder(rows)
        if self.branch is not None:
            self.branch.reorder(rows)
        for memory in self.memories:
            for value in memory.values():
                if hasattr(value, "reorder"):
                    value.reorder(rows)
