"""The relevance stream inside the calls that a model makes to its decoder, or in replays of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from lime_rules import TransformerComposite
from lime_rules.stream.cache import SlotEdit, TangentCache, empty_tangents, splitting_cache
from lime_rules.stream.engine import Stream
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.extra_rows import ExtraRows
from lime_xai.model.replay import Replayer

from .contributions import RelevanceForm


@dataclass(eq=False)
class StreamState:
    """The state of a stream over one generation.

    Attributes
    ----------
    groups : Tensor
        ``[B, G, T]``, bool or real: which positions of the sequence so far, the newest included, belong to each group,
        or with which weight.
    later : Tensor
        ``[B, G]``: the same for tokens that are generated later.
    tangents : Cache or None
        Full form: the tangents of all cached keys and values, ``[G * B, Hkv, T, D]`` per layer.
    edit : callable or None
        What attention uses in place of the cached keys and values.
    """

    groups: Tensor
    later: Tensor
    tangents: Cache | None = None
    edit: SlotEdit | None = None

    @property
    def count(self) -> int:
        """Number of groups ``G``."""
        return self.groups.shape[1]

    def grow(self) -> None:
        """Append one generated position."""
        self.groups = torch.cat([self.groups, self.later[..., None]], -1)

    def reorder(self, rows: Tensor) -> None:
        """Follow a beam search; beams of one prompt have the same groups."""
        if self.tangents is not None:
            batch = self.groups.shape[0]
            index = torch.cat([rows.to(torch.long) + group * batch for group in range(self.count)])
            self.tangents.reorder_cache(index)  # type: ignore[arg-type]

    def tangent_cache(self, fresh: int) -> TangentCache:
        """Return the tangents of the cached slots before a call with ``fresh`` new positions."""
        if self.tangents is not None:
            return TangentCache(self.count, tangents=self.tangents)
        return TangentCache(self.count, masks=self.groups[..., : self.groups.shape[-1] - fresh])


class StreamEngine(ExtraRows[StreamState]):
    """Runs a stream inside the calls of one model, or in replays of recorded calls.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    form : {"direct", "full"}
        Tangents of cached slots are the slots themselves, or were propagated from the input embeddings.
    composite : TransformerComposite, optional
        Chooses the rules; by default AttnLRP's.

    Raises
    ------
    NotImplementedError
        If the decoder has modules without a JVP.
    """

    def __init__(
        self, replayer: Replayer, form: RelevanceForm = "direct", composite: TransformerComposite | None = None
    ) -> None:
        super().__init__(replayer)
        self.form = form
        self.head = replayer.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self.stream = Stream(replayer.decoder, self.head, composite)
        config = replayer.model.config.get_text_config()
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._caps: bool | None = None
        self._raw: Tensor | None = None

    @contextmanager
    def attached(self) -> Iterator[StreamEngine]:
        """Context in which the stream's hooks are on the model."""

        def keep_raw_logits(module: nn.Module, args: Any, output: Tensor) -> None:
            if self.stream.tangents and self._softcap is not None:
                self._raw = output

        with self.stream.attached():
            handle = self.head.register_forward_hook(keep_raw_logits)
            try:
                yield self
            finally:
                handle.remove()
                self.close()

    def start(self, groups: Tensor, later: Tensor | None = None) -> StreamState:
        """Return the state for a new prompt.

        Parameters
        ----------
        groups : Tensor
            ``[B, G, T]`` bool.
        later : Tensor, optional
            ``[B, G]`` bool; by default generated tokens belong to no group.
        """
        later = torch.zeros_like(groups[..., 0]) if later is None else later
        return StreamState(groups, later, empty_tangents(self.replayer.config) if self.form == "full" else None)

    def run(self, state: StreamState, call: DecoderCall, cache: Cache, keep: int = 1) -> tuple[Tensor, Tensor]:
        """Replay a recorded call with tangents; its positions are the last ones of the state.

        Parameters
        ----------
        state : StreamState
            Gives the groups; in the full form its cache of tangents grows.
        call : DecoderCall
            ``n`` positions.
        cache : Cache
            Updated as by any call.
        keep : int
            Logits of the last ``keep`` positions only.

        Returns
        -------
        logits : Tensor
            ``[B, keep, V]``.
        contributions : Tensor
            ``[G, B, keep, V]``: of each group to every logit.
        """
        extended, tangent_cache, view = _with_tangents(state, call, cache)
        with self.stream.running(state.count, tangent_cache):
            return self._split(self.replayer.run(extended, extended.embeddings, view, keep=keep))

    def finish(self, output: Any) -> tuple[Tensor, Tensor] | None:
        """Take the contributions out of the output of a model call that ran with tangents.

        Parameters
        ----------
        output : ModelOutput
            Of the model. Afterwards it is that of a call without tangents, without a graph.

        Returns
        -------
        logits, contributions : Tensor
            ``[B, V]`` and ``[G, B, V]`` at the last position, with their graph if there is one. None if the call had
            no tangents.
        """
        if self._open is None:
            return None
        logits, contributions = self._split(output.logits)
        self._strip(output, logits.detach())
        self.close()
        return logits[:, -1], contributions[:, :, -1]

    def close(self) -> None:
        """End an extended call, also one that failed."""
        super().close()
        self._raw = None

    def _extend(
        self, stack: ExitStack, state: StreamState, call: DecoderCall, cache: Cache
    ) -> tuple[DecoderCall, Cache]:
        extended, tangent_cache, view = _with_tangents(state, call, cache)
        stack.enter_context(self.stream.running(state.count, tangent_cache))
        return extended, view

    def _split(self, joined: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, n, V]`` and contributions ``[G, B, n, V]``, with the derivative of a cap on logits."""
        logits, contributions = self.stream.split(joined)
        if self._softcap is None:
            return logits, contributions
        if self._raw is None:
            raise RuntimeError(f"The head of {type(self.replayer.model).__name__} was not called.")
        raw, of_raw = self.stream.split(self._raw.to(logits.device))
        if self._caps is None:  # some configs name a cap that the model does not apply
            self._caps = not torch.equal(raw.to(logits.dtype), logits)
        return logits, of_raw * (1 - (logits / self._softcap) ** 2) if self._caps else contributions


def _with_tangents(state: StreamState, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, TangentCache, Cache]:
    """Return a call with tangents, the tangents of its past, and the view of the cache that it updates."""
    tangent_cache = state.tangent_cache(call.length)
    extended = call.with_tangents(state.groups[..., -call.length :])
    return extended, tangent_cache, splitting_cache(cache, tangent_cache, call.embeddings.shape[0], state.edit)
