"""One decoding step as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lime_xai.model.cache import fork_cache
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.modalities import Modalities
from lime_xai.model.positions import Positions
from lime_xai.model.records import ShortRepr
from lime_xai.model.replay import Replayer
from lime_xai.stream.engine import StreamEngine


@dataclass(eq=False, repr=False)
class DecodingStep(ShortRepr):
    """The choice of one next token, for all rows of a batch.

    Tensors are shared with the generation and with the user's prompt; a policy changes none of them in place.

    Attributes
    ----------
    replayer : Replayer
        Repeats decoder calls of the model.
    call : DecoderCall
        At a decode step the model's call. At the prompt the whole prompt's call, or that of its last position alone if
        some policy needs the past.
    positions : Positions
        ``[B, T]``: everything up to the last token, which is included.
    plain : Tensor
        ``[B, V]``: the model's own logits.
    logits : Tensor
        ``[B, V]``: the logits after the policies before this one.
    index : int
        0 for the first generated token.
    stored_past : Cache or None
        What ``past`` returns; None if no policy needs it.
    history : list of DecoderCall
        All calls since the prompt, this one included; empty if no policy needs it.
    state : dict
        The policy's own memory within one generation.
    replace_cache : callable or None
        At the prompt: exchanges the cache that generation keeps.
    streams : mapping of str to StreamEngine
        By LRP method: streams of the direct form, for policies that need them.
    contributions : Tensor or None
        ``[B, V]``, in at least float32: the contribution to each logit of the perceptual tokens that the policy's needs
        name; None if it needs none.
    branch : Tensor or None
        ``[B, V]``: logits of a branch that perceives less, if some policy needs it.
    first_pass : object or None
        Result of a policy's first pass that ran in the model's own call.
    """

    replayer: Replayer
    call: DecoderCall
    positions: Positions
    plain: Tensor
    logits: Tensor
    index: int
    stored_past: Cache | None = None
    history: list[DecoderCall] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    replace_cache: Callable[[Cache], None] | None = None
    streams: Mapping[str, StreamEngine] = field(default_factory=dict)
    contributions: Tensor | None = None
    branch: Tensor | None = None
    first_pass: object | None = None

    @property
    def attended(self) -> Tensor:
        """``[B, T]`` bool, False on padding."""
        return self.positions.attended

    @property
    def modalities(self) -> Mapping[str, Tensor]:
        """``[B, T]`` bool per perceptual modality."""
        return self.positions.modalities

    @property
    def perceptual(self) -> Tensor:
        """``[B, T]`` bool: positions of any perceptual modality."""
        return self.positions.perceptual

    def group(self, modalities: Modalities) -> Tensor:
        """Return the positions ``[B, T]`` bool of some modalities; None: of all perceptual ones."""
        return self.positions.group(modalities)

    @property
    def past(self) -> Cache:
        """Everything before the last token, ``P = T - 1`` positions; fork it, never update it.

        Raises
        ------
        RuntimeError
            If it was not kept.
        """
        if self.stored_past is None:
            raise RuntimeError("The past was not kept: the policy uses it and its needs are without past=True.")
        return self.stored_past

    def fork(self) -> Cache:
        """Return a fork of the past that may be updated."""
        return fork_cache(self.past)

    def logits_with(self, past: Cache) -> Tensor:
        """Return the logits ``[B, V]`` of this step over another past, without a graph.

        Parameters
        ----------
        past : Cache
            Updated by the call: pass a fork.
        """
        with torch.no_grad():
            return self.replayer.run(self.call, self.call.embeddings, past)[:, -1].to(self.plain.dtype)

    def keep(self, past: Cache) -> Tensor:
        """Decide the first token over an edited past, and let generation continue from it.

        Parameters
        ----------
        past : Cache
            A fork of the step's past with other keys or values. It becomes the cache that generation keeps.

        Returns
        -------
        Tensor
            ``[B, V]``: the logits over it.

        Raises
        ------
        RuntimeError
            After the first token: edits of single steps never enter the kept cache.
        """
        if self.replace_cache is None:
            raise RuntimeError("Only the first step can exchange the cache that generation keeps.")
        self.stored_past = fork_cache(past)
        logits = self.logits_with(past)
        self.replace_cache(past)
        return logits

    def shifted(self, logits: Tensor) -> Tensor:
        """Return ``logits`` plus the change that earlier policies made, so that policies compose in a list."""
        return logits if self.logits is self.plain else logits + (self.logits - self.plain)
