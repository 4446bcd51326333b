"""The relevance streams and the second branch that the policies of one session run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor
from transformers import Cache

from lime_rules import LRP_METHODS

from .branch import Branch
from .branching import Branches
from .calls import DecoderCall
from .edit_settings import EditSettings
from .leading import Leading
from .modalities import union
from .owing import Owing
from .progress import Progress
from .replay import Replayer
from .streaming import Flow, StreamEngine
from .trust import check_trust, warn_backward


class Engines:
    """Streams of a model: one inside its own calls, and one per LRP method for edits in forward direction.

    They are made when the first prompt has been checked and probed when they are first used, so that bad input is
    refused before any compute.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    policies : sequence of Policy
        Asked for ``stream`` and ``forward_method``.
    stack : ExitStack
        Takes what must be undone.

    Attributes
    ----------
    owing : Owing
        What logits are owed to perception.
    branches : Branches or None
        What a policy contrasts the model with.
    leading : Leading or None
        The edit whose first pass runs in the model's own calls: where a single policy edits in forward direction and
        nothing else widens them.

    Raises
    ------
    ValueError
        If policies ask for both forms or directions of the stream or for different branches, or one would not see what
        another does to the cache.
    """

    def __init__(self, replayer: Replayer, policies: Sequence[Any], stack: ExitStack) -> None:
        self.replayer, self._stack = replayer, stack
        self._editing: dict[str, StreamEngine] = {}
        self._prepared: list[StreamEngine] = []
        self._made = False
        self.owing = Owing(replayer, policies, self.prepare)
        form = self.owing.form
        rewriting = [type(policy).__name__ for policy in policies if getattr(policy, "rewrites_cache", False)]
        blind = [type(policy).__name__ for policy in policies if policy.needs_history]
        if rewriting and (blind or form == "input"):
            raise ValueError(
                f"{rewriting[0]} rewrites the cache that generation keeps; "
                f"{blind[0] if blind else 'the exact relevance stream'} starts from the embeddings and would not see "
                "that. Use scope='cache' or relevance='slot' beside it."
            )
        kinds = {kind for policy in policies if (kind := getattr(policy, "against", None)) is not None}
        if len(kinds) > 1:
            raise ValueError(f"The policies want {len(kinds)} different branches; give all contrasts the same one.")
        kind = kinds.pop() if kinds else None
        self.branches = None if kind is None else Branches(replayer, kind)
        self._methods = {m for policy in policies if (m := getattr(policy, "forward_method", None)) is not None}
        forward = [policy for policy in policies if getattr(policy, "forward_method", None) is not None]
        shared = getattr(replayer.config.get_text_config(), "num_kv_shared_layers", 0)
        alone = len(forward) == 1 and self.branches is None and not shared
        self._leader = forward[0] if alone and isinstance(forward[0], EditSettings) else None
        self.leading: Leading | None = None
        self._required = {
            policy.forward_method for policy in forward if getattr(policy, "direction", None) == "forward"
        }

    def begin(
        self,
        current: Callable[[], tuple[Flow, DecoderCall] | None],
        branching: Callable[[], tuple[Branch, DecoderCall] | None],
        leading: Callable[[], tuple[Flow, DecoderCall] | None],
    ) -> None:
        """Make the engines, once.

        Parameters
        ----------
        current, branching, leading : callable
            As ``inside`` of the stream, of the branches and of the leading edit's stream asks them.

        Raises
        ------
        NotImplementedError
            If a module has no forward rule and some policy cannot do without.
        """
        if self._made:
            return
        self.owing.begin(self._stack, current)
        if self.owing.engine is not None:
            self._leader = None
            if self.branches is not None:
                self.branches.keep_apart()
        if self.branches is not None:
            self.branches.probe()
            if self.branches.batched:
                self._stack.enter_context(self.branches.inside(branching))
        for method in sorted(self._methods):
            try:
                self._editing[method] = StreamEngine(self.replayer, "slot", LRP_METHODS[method]())
            except NotImplementedError as error:
                self._do_without(method, error)
        engine = None if self._leader is None else self._editing.get(self._leader.forward_method or "")
        if engine is not None and self._leader is not None:
            self.leading = Leading(self._leader, engine)
            self._stack.enter_context(engine.inside(leading))
        self._made = True

    @property
    def needs_past(self) -> bool:
        """Whether somebody here needs the cache before every step; known once the model was probed."""
        return self.owing.needs_past or (self.branches is not None and self.branches.needs_past)

    def check_embeddings(self) -> None:
        """Refuse a prompt without token ids for a branch that is made from them.

        Raises
        ------
        ValueError
            If a branch is blind.
        """
        if self.branches is not None and self.branches.kind.name == "blind":
            raise ValueError(
                "Contrast('blind') takes the placeholders out of the prompt's token ids, and the prompt is given as "
                "inputs_embeds; use Contrast('slot') or Contrast('noise')."
            )

    def close(self) -> None:
        """End calls that were begun and did not come to their end."""
        if self.leading is not None:
            self.leading.forget()
        for engine in (self.owing.engine, self.branches, None if self.leading is None else self.leading.engine):
            if engine is not None:
                engine.close()

    def finish(self, output: Any) -> tuple[Tensor | None, Tensor | None]:
        """Take tangents and branch out of the output of the model.

        Returns
        -------
        owed, other : Tensor or None
            ``[B, V]``: what is owed to perception, and the logits of the second branch; None for what did not run in
            this call.
        """
        return self.owing.finish(output), None if self.branches is None else self.branches.finish(output)

    def branch_alone(
        self, progress: Progress, prompt: DecoderCall | None, call: DecoderCall, past: Cache | None, ids: Tensor
    ) -> Tensor | None:
        """Begin the second branch at a ``prompt``, or advance it; return its logits ``[B, V]``, None without one.

        Parameters
        ----------
        progress : Progress
            Holds the branch.
        prompt : DecoderCall or None
            At the first step.
        call : DecoderCall
            The last position alone.
        past : Cache or None
            Before it.
        ids : Tensor
            What the model was given.
        """
        if self.branches is None:
            return None
        found: Tensor | None = None
        if prompt is not None:
            perceptual = union(progress.modalities, progress.attended)
            progress.branch, found = self.branches.begin(prompt, ids, progress.attended, perceptual)
        if found is None and progress.branch is not None:
            found = self.branches.alone(progress.branch, call, past)
        return found

    def prepare(self, engine: StreamEngine) -> None:
        """Probe an engine and put its hooks on, once.

        Raises
        ------
        NotImplementedError
            If it cannot be trusted.
        """
        if engine not in self._prepared:
            check_trust(engine)
            self._stack.enter_context(engine.attached())
            self._prepared.append(engine)

    def editing(self) -> dict[str, StreamEngine]:
        """Return the engines for edits by LRP method, ready to run."""
        for method, engine in list(self._editing.items()):
            try:
                self.prepare(engine)
            except NotImplementedError as error:
                self._do_without(method, error)
                del self._editing[method]
                self.leading = None
        return self._editing

    def _do_without(self, method: str, reason: NotImplementedError) -> None:
        """Let edits work by backward passes, unless somebody insists on the stream."""
        if method in self._required:
            raise reason
        warn_backward(self.replayer.model, "Editing", reason)
