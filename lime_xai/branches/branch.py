"""A contrastive branch: what it perceives, and its state during one generation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor
from transformers import Cache

from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.modalities import Modalities, in_order
from lime_xai.values.checking import Range, Seed, check_fields

BranchName = Literal["blind", "slot", "noise", "counterfactual"]

BRANCHES: tuple[BranchName, ...] = get_args(BranchName)


@dataclass(frozen=True)
class BranchKind:
    """What a branch perceives.

    Attributes
    ----------
    name : {"blind", "slot", "noise", "counterfactual"}
        As in ``lime_xai.Contrast``.
    noise : float
        Share of the features' variance that is noise.
    seed : int
        Of the noise.
    batched : bool
        Whether it may decode in the model's own calls.
    modalities : tuple of str, optional
        What is taken away, hidden, noised or exchanged; None: all that is perceived.

    Raises
    ------
    ValueError
        For an unknown name, or noise outside [0, 1].
    """

    name: BranchName
    noise: Annotated[float, Range("at least 0 and at most 1", lambda value: 0 <= value <= 1)] = 0.0
    seed: Seed = 0
    batched: bool = True
    modalities: Modalities = None

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "modalities", in_order(self.modalities))


@dataclass(eq=False)
class Branch:
    """The state of the branch during one generation.

    Attributes
    ----------
    attended : Tensor
        ``[B, T']`` bool: the cached slots that it attends to, one per position.
    cache : Cache or None
        The branch's cache. None: the branch uses the model's.
    counted : bool
        Whether its position ids are counted from the slots that it attends to, instead of the model's.
    removed : Tensor or None
        ``[B]``, or ``[A, B]`` for position ids on several axes: by how much its position ids are smaller than the
        model's, because something was taken out of its prompt.
    """

    attended: Tensor
    cache: Cache | None = None
    counted: bool = False
    removed: Tensor | None = None

    def grow(self) -> None:
        """Append one generated position."""
        self.attended = torch.nn.functional.pad(self.attended, (0, 1), value=True)

    def reorder(self, rows: Tensor) -> None:
        """Follow a beam search; beams of one prompt attend to the same slots."""
        if self.cache is not None:
            self.cache.reorder_cache(rows.long())  # type: ignore[arg-type]

    def separate_call(self, call: DecoderCall) -> DecoderCall:
        """Return a one-token call of the model as the call of this branch alone."""
        kwargs = {**call.kwargs, "attention_mask": self.attended.long()}
        if self.counted or (self.removed is not None and isinstance(kwargs.get("position_ids"), Tensor)):
            kwargs["position_ids"] = self._positions(kwargs.get("position_ids"))
        return DecoderCall(call.embeddings, kwargs)

    def batched_with(self, call: DecoderCall, seen: int) -> DecoderCall:
        """Return a one-token call of model and branch together, ``2 B`` rows, over a cache of ``seen`` positions."""
        batch = call.embeddings.shape[0]
        both = call.with_tangents(torch.ones(batch, 1, call.length))  # weight 1: the same rows once more
        if not self.counted and self.removed is None:
            return both
        first = call.kwargs.get("position_ids")
        if not isinstance(first, Tensor):
            first = torch.full((batch, 1), seen, device=call.embeddings.device)
        first = first.expand(*first.shape[:-2], batch, 1)
        ids = torch.cat([first, self._positions(first).to(first)], -2)
        return replace(both, kwargs={**both.kwargs, "position_ids": ids})

    def _positions(self, like: Any) -> Tensor:
        """Return the newest position id ``[B, 1]``, or ``[A, B, 1]`` for models with position ids on several axes."""
        if self.removed is not None and isinstance(like, Tensor):
            return like - self.removed.to(like)[..., None]
        newest = self.attended.long().sum(-1, keepdim=True) - 1
        return newest.expand(like.shape[0], -1, -1) if isinstance(like, Tensor) and like.dim() == 3 else newest
