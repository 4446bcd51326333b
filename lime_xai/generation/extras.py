"""Streams and branch of one session: what its policies need besides the model's own logits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from torch import Tensor
from transformers import Cache

from lime_rules import LRP_METHODS
from lime_xai.branches.branch import Branch
from lime_xai.branches.counterfactual import Counterfactual
from lime_xai.branches.runner import BranchRunner
from lime_xai.decoding.policy import FirstPass, Needs, StreamNeed
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.modalities import Modalities
from lime_xai.model.replay import Replayer
from lime_xai.stream.adjoint_check import check_adjoint, warn_backward
from lime_xai.stream.engine import StreamEngine, StreamState

from .contributions import LogitContributions
from .state import GenerationState


class CurrentCall(Protocol):
    """The model call that is running, as the hooks on the decoder need it; None: the call runs without extra rows."""

    def stream(self) -> tuple[StreamState, DecoderCall] | None:
        """Return the state of the relevance stream and the recorded call."""
        ...

    def branch(self) -> tuple[Branch, DecoderCall] | None:
        """Return the branch that decodes in the call, and the recorded call."""
        ...

    def first_pass(self) -> tuple[StreamState, DecoderCall] | None:
        """Return the state of an edit's first pass, and the recorded call."""
        ...


class SessionExtras:
    """What policies need besides the model's own logits, made when the first prompt has been checked.

    Engines are made in ``begin``, after the prompt has been checked. The adjoint check of each runs there or at its
    first use.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    needs : Needs
        Of all policies together.
    groups : sequence
        Whose contributions they need, ``contribution_groups``.
    stack : ExitStack
        Contexts are entered here and left with the session.
    counterfactual : Counterfactual, optional
        For the branch of this name.

    Attributes
    ----------
    contributions : LogitContributions or None
        Of perceptual tokens to the logits.
    branches : BranchRunner or None
        For contrasts.
    first_pass : FirstPass or None
        First pass of an edit in the model's own calls.
    """

    def __init__(
        self,
        replayer: Replayer,
        needs: Needs,
        groups: Sequence[Modalities],
        stack: ExitStack,
        counterfactual: Counterfactual | None = None,
    ) -> None:
        self.replayer, self._needs, self._stack = replayer, needs, stack
        self._streams: dict[str, StreamEngine] = {}
        self._prepared: list[StreamEngine] = []
        self._made = False
        need, branch = needs.contributions, needs.branch
        self.contributions = None if need is None else LogitContributions(replayer, need, groups, self.prepare)
        self.branches = None if branch is None else BranchRunner(replayer, branch, counterfactual)
        self.first_pass: FirstPass | None = None

    def begin(self, current: CurrentCall) -> None:
        """Make the engines, once.

        Parameters
        ----------
        current : CurrentCall
            Used by the hooks on the decoder.

        Raises
        ------
        NotImplementedError
            If a module has no JVP and some policy requires a stream.
        """
        if self._made:
            return
        streaming = self._begin_contributions(current)
        self._begin_branch(current, separate=streaming)
        for need in self._needs.streams:
            self._begin_stream(need, current, fuse=not streaming)
        self._made = True

    def _begin_contributions(self, current: CurrentCall) -> bool:
        """Return whether a stream runs in the model's own calls: nothing else may add rows to them then."""
        if self.contributions is None:
            return False
        self.contributions.begin(self._stack, current.stream)
        return self.contributions.engine is not None

    def _begin_branch(self, current: CurrentCall, separate: bool) -> None:
        if self.branches is None:
            return
        if separate:
            self.branches.separate()
        self.branches.probe()
        if self.branches.batched:
            self._stack.enter_context(self.branches.in_model_calls(current.branch))

    def _begin_stream(self, need: StreamNeed, current: CurrentCall, fuse: bool) -> None:
        try:
            engine = StreamEngine(self.replayer, "direct", LRP_METHODS[need.method]())
        except NotImplementedError as error:
            self._do_without(need, error)
            return
        self._streams[need.method] = engine
        # Layers that share keys and values would need the edit of another layer's slots in the same call.
        shared = getattr(self.replayer.config.get_text_config(), "num_kv_shared_layers", 0)
        if need.first_pass is not None and fuse and not shared:
            self.first_pass = need.first_pass(engine)
            self._stack.enter_context(engine.in_model_calls(current.first_pass))

    @property
    def needs_past(self) -> bool:
        """Whether the cache before every step is needed here; known after ``begin``."""
        by_backward = self.contributions is not None and self.contributions.needs_past
        return by_backward or (self.branches is not None and self.branches.needs_past)

    def check_embeddings(self) -> None:
        """Refuse a prompt without token ids for a branch that is made from them.

        Raises
        ------
        ValueError
            If the branch is blind.
        """
        if self.branches is not None and self.branches.kind.name == "blind":
            raise ValueError(
                "Contrast('blind') takes the placeholders out of the prompt's token ids, and the prompt is given as "
                "inputs_embeds; use Contrast('slot') or Contrast('noise')."
            )

    def close(self) -> None:
        """End extended calls that were not finished."""
        if self.first_pass is not None:
            self.first_pass.engine.close()
        if self.contributions is not None and self.contributions.engine is not None:
            self.contributions.engine.close()
        if self.branches is not None:
            self.branches.close()

    def restore_mode(self) -> None:
        """Put back the grad mode that a first pass changed."""
        if self.first_pass is not None:
            self.first_pass.restore()

    def finish(self, output: Any) -> tuple[Tensor | None, Tensor | None, object | None]:
        """Take everything out of the model's output that ran in its call, and leave the output of a plain call.

        Returns
        -------
        contributions, branch : Tensor or None
            ``[G, B, V]``: contributions of each group of perceptual tokens, and ``[B, V]``: logits of the branch; None
            for what did not run in this call.
        first_pass : object or None
            Result of an edit's first pass.
        """
        contributions = None if self.contributions is None else self.contributions.finish(output)
        branch = None if self.branches is None else self.branches.finish(output)
        first_pass = None if self.first_pass is None else self.first_pass.finish(output)
        return contributions, branch, first_pass

    def step_branch_separately(
        self, state: GenerationState, prompt: DecoderCall | None, call: DecoderCall, past: Cache | None
    ) -> Tensor | None:
        """Run the branch's prompt, or its next token, in a separate call; return its logits ``[B, V]``.

        Parameters
        ----------
        state : GenerationState
            Holds the branch.
        prompt : DecoderCall or None
            At the first step.
        call : DecoderCall
            The last position alone.
        past : Cache or None
            Before it.

        Returns
        -------
        Tensor or None
            None without a branch.
        """
        if self.branches is None:
            return None
        found: Tensor | None = None
        if prompt is not None:
            state.branch, found = self.branches.begin(prompt, state.positions, state.types, state.markers)
        if found is None and state.branch is not None:
            found = self.branches.step_separately(state.branch, call, past)
        return found

    def prepare(self, engine: StreamEngine) -> None:
        """Check an engine and register its hooks, once.

        Raises
        ------
        NotImplementedError
            If the model fails the adjoint check.
        """
        if engine not in self._prepared:
            check_adjoint(engine)
            self._stack.enter_context(engine.attached())
            self._prepared.append(engine)

    def streams(self) -> dict[str, StreamEngine]:
        """Return the engines for ``DecodingStep.streams``, checked and with their hooks registered."""
        for need in self._needs.streams:
            engine = self._streams.get(need.method)
            if engine is None:
                continue
            try:
                self.prepare(engine)
            except NotImplementedError as error:
                self._do_without(need, error)
                del self._streams[need.method]
                self.first_pass = None
        return self._streams

    def _do_without(self, need: StreamNeed, reason: NotImplementedError) -> None:
        """Let a policy use backward passes, unless it requires the stream."""
        if need.required:
            raise reason
        warn_backward(self.replayer.model, "Editing", reason)
