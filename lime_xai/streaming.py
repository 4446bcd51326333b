"""The relevance stream inside the calls that a model makes to its decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import Cache

from lime_rules import TransformerComposite
from lime_rules.stream import Stream
from lime_rules.stream_cache import Ownership, SlotEdit, empty_tangents, splitting

from .calls import DecoderCall
from .replay import Replayer
from .widening import Widening

StreamForm = Literal["slot", "input"]
"""What a group owns: cached slots as they are, or, exactly, all that its input embeddings have led to."""

STREAM_FORMS = ("slot", "input")


@dataclass
class Flow:
    """The stream over one generation.

    Attributes
    ----------
    groups : Tensor
        ``[B, G, T]``, bool or real: which positions of the sequence so far, the newest included, belong to each group,
        or with which weight.
    later : Tensor
        ``[B, G]``: the same of tokens generated later.
    tangents : Cache or None
        Of the exact form: the parts of all cached keys and values, ``[G * B, Hkv, T, D]`` per layer.
    edit : callable or None
        What attention reads in place of the cache's slots, and how.
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

    def ownership(self, fresh: int) -> Ownership:
        """Return who owns the slots of the past of a call with ``fresh`` new positions."""
        if self.tangents is not None:
            return Ownership(self.count, tangents=self.tangents)
        return Ownership(self.count, masks=self.groups[..., : self.groups.shape[-1] - fresh])


class StreamEngine(Widening[Flow]):
    """Runs a stream through one model's own calls, or through repeated ones.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    form : {"slot", "input"}
        Slot form, or the exact one.
    composite : TransformerComposite, optional
        Chooses the rules; by default AttnLRP's.

    Raises
    ------
    NotImplementedError
        If the decoder has modules without a forward rule.
    """

    def __init__(
        self, replayer: Replayer, form: StreamForm = "slot", composite: TransformerComposite | None = None
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

        def keep(module: nn.Module, args: Any, output: Tensor) -> None:
            if self.stream.groups and self._softcap is not None:
                self._raw = output

        with self.stream.attached():
            handle = self.head.register_forward_hook(keep)
            try:
                yield self
            finally:
                handle.remove()
                self.close()

    def start(self, groups: Tensor, later: Tensor | None = None) -> Flow:
        """Return the flow of a new prompt.

        Parameters
        ----------
        groups : Tensor
            ``[B, G, T]`` bool.
        later : Tensor, optional
            ``[B, G]`` bool; by default generated tokens belong to no group.
        """
        later = torch.zeros_like(groups[..., 0]) if later is None else later
        return Flow(groups, later, empty_tangents(self.replayer.config) if self.form == "input" else None)

    def run(self, flow: Flow, call: DecoderCall, cache: Cache, keep: int = 1) -> tuple[Tensor, Tensor]:
        """Run a recorded call as a stream; its positions are the last of the flow's.

        Parameters
        ----------
        flow : Flow
            Says who owns what; in the exact form its tangents grow.
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
        owed : Tensor
            ``[G, B, keep, V]``: the part of every logit that each group is owed.
        """
        wide, ownership, view = _widened(flow, call, cache)
        with self.stream.flow(flow.count, ownership):
            return self._split(self.replayer.run(wide, wide.embeddings, view, keep=keep))

    def finish(self, output: Any) -> tuple[Tensor, Tensor] | None:
        """Take the tangents out of the output of a call that ran as a stream.

        Parameters
        ----------
        output : ModelOutput
            Of the model; left as a plain call would have made it, without a graph.

        Returns
        -------
        logits, owed : Tensor
            ``[B, V]`` and ``[G, B, V]``: at the last position, the logits and what each group is owed of them; with
            the graph, if there was one. None if the call ran plain.
        """
        if self._open is None:
            return None
        logits, owed = self._split(output.logits)
        self._narrow(output, logits.detach())
        self.close()
        return logits[:, -1], owed[:, :, -1]

    def close(self) -> None:
        """End a call that was begun, also one that failed."""
        super().close()
        self._raw = None

    def _enter(self, stack: ExitStack, state: Flow, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, Cache]:
        wide, ownership, view = _widened(state, call, cache)
        stack.enter_context(self.stream.flow(state.count, ownership))
        return wide, view

    def _split(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, n, V]`` and their parts ``[G, B, n, V]``; the cap on logits is differentiated."""
        logits, owed = self.stream.split(wide)
        if self._softcap is None:
            return logits, owed
        if self._raw is None:
            raise RuntimeError(f"The head of {type(self.replayer.model).__name__} was not called.")
        raw, raw_owed = self.stream.split(self._raw.to(logits.device))
        if self._caps is None:  # some models leave the cap that their config names to others
            self._caps = not torch.equal(raw.to(logits.dtype), logits)
        return logits, raw_owed * (1 - (logits / self._softcap) ** 2) if self._caps else owed


def _widened(flow: Flow, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, Ownership, Cache]:
    """Return a call with tangents, who owns the slots of its past, and the view of the cache that it may update."""
    ownership = flow.ownership(call.length)
    wide = call.widened(flow.groups[..., -call.length :])
    return wide, ownership, splitting(cache, ownership, call.embeddings.shape[0], flow.edit)
