"""One decoding step as policies see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache

from .cache import fork_cache
from .calls import DecoderCall
from .modalities import union
from .replay import Replayer


@dataclass
class DecodingStep:
    """The choice of one next token, for all rows of a batch.

    Attributes
    ----------
    replayer : Replayer
        Repeats decoder calls of the model.
    call : DecoderCall
        The last token's one-position call.
    kept : Cache or None
        What ``past`` returns; None if every policy says that it does not need it (``needs_past``).
    plain : Tensor
        ``[B, V]``: the model's own logits.
    logits : Tensor
        ``[B, V]``: the logits after the policies before this one.
    modalities : mapping of str to Tensor
        ``[B, T]`` per perceptual modality.
    attended : Tensor
        ``[B, T]``, False on padding.
    bos : Tensor
        ``[B, T]``, True on the beginning-of-sequence token.
    history : sequence of DecoderCall
        All calls since the prompt, this one included; kept only for policies that ask for it.
    input_ids : Tensor
        ``[B, n]``: what the model was given in this step (the prompt, or one token).
    index : int
        0 for the first generated token.
    state : dict
        The policy's own memory within one generation.
    replace : callable or None
        At the prompt: puts another cache in place of the one that generation keeps.
    engines : mapping of str to StreamEngine
        By LRP method: streams in slot form for policies that edit in forward direction.
    owed : Tensor or None
        ``[B, V]``, in at least float32: the part of each logit that is owed to what is perceived, if some policy asks.
    branch : Tensor or None
        ``[B, V]``: logits of a branch that perceives less, if some policy asks for one.
    begun : Begun or None
        An edit whose first pass ran in the model's own call.
    """

    replayer: Replayer
    call: DecoderCall
    kept: Cache | None
    plain: Tensor
    logits: Tensor
    modalities: Mapping[str, Tensor]
    attended: Tensor
    bos: Tensor
    history: list[DecoderCall]
    input_ids: Tensor
    index: int
    state: dict[str, Any] = field(default_factory=dict)
    replace: Callable[[Cache], None] | None = None
    engines: Mapping[str, Any] = field(default_factory=dict)
    owed: Tensor | None = None
    branch: Tensor | None = None
    begun: Any = None

    @property
    def perceptual(self) -> Tensor:
        """``[B, T]``: positions of any perceptual modality."""
        return union(self.modalities, self.attended)

    def logits_with(self, past: Cache) -> Tensor:
        """Return the logits ``[B, V]`` of this step over another past, without a graph.

        Parameters
        ----------
        past : Cache
            Consumed: pass a fork.
        """
        with torch.no_grad():
            return self.replayer.run(self.call, self.call.embeddings, past)[:, -1].to(self.plain.dtype)

    def keep(self, past: Cache) -> Tensor:
        """Decide the first token over an edited past, and let generation go on from there.

        Parameters
        ----------
        past : Cache
            A fork of the step's past with other keys or values. It becomes what generation keeps.

        Returns
        -------
        Tensor
            ``[B, V]``: the logits over it.

        Raises
        ------
        RuntimeError
            Behind the first token: edits of single steps never enter the kept cache.
        """
        if self.replace is None:
            raise RuntimeError("Only the first step can exchange the cache that generation keeps.")
        self.kept = fork_cache(past)
        logits = self.logits_with(past)
        self.replace(past)
        return logits

    def fork(self) -> Cache:
        """Return a fork of the past that may be updated."""
        return fork_cache(self.past)

    @property
    def past(self) -> Cache:
        """Everything before the last token, ``P = T - 1`` positions; fork it, never update it.

        Raises
        ------
        RuntimeError
            If it was not kept.
        """
        if self.kept is None:
            raise RuntimeError("The past was not kept: a policy with needs_past = False asked for it.")
        return self.kept

    def plausible(self, logits: Tensor, fraction: float) -> Tensor:
        """Return ``logits`` with tokens excluded whose plain probability is below ``fraction`` of the largest."""
        if fraction == 0:
            return logits
        probability = self.plain.softmax(-1)
        kept = probability >= fraction * probability.amax(-1, keepdim=True)
        return logits.masked_fill(~kept, float("-inf"))

    def shifted(self, logits: Tensor) -> Tensor:
        """Return ``logits`` moved by what earlier policies did, so that policies compose in a list."""
        return logits if self.logits is self.plain else logits + (self.logits - self.plain)


class Policy(Protocol):
    """What is done to a step.

    Frozen dataclasses in ``lime_xai/policies/`` implement it; ``step`` returns new logits ``[B, V]`` and must
    leave the step's past alone.
    """

    @property
    def idle(self) -> bool:
        """Whether the policy never changes anything, so that generation runs untouched."""
        ...

    @property
    def needs_history(self) -> bool:
        """Whether ``DecodingStep.history`` must be kept."""
        ...

    # Optional attributes: ``needs_past = False`` lets the cache before the step be forgotten, ``stream`` ("slot" or
    # "input") asks for the relevance stream and ``DecodingStep.owed``, which ``stream_direction`` ("forward",
    # "backward", "auto") lets backward passes find, ``forward_method`` for ``DecodingStep.engines``, ``against`` (a
    # ``BranchKind``) for a second branch and ``DecodingStep.branch``.

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits ``[B, V]`` to decode from."""
        ...
