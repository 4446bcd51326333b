"""The relevance streams that the policies of one session run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from lime_rules import LRP_METHODS

from .calls import DecoderCall
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
    own : StreamEngine or None
        The one inside the model's own calls.

    Raises
    ------
    ValueError
        If policies ask for both forms of the stream, or one would not see what another does to the cache.
    """

    def __init__(self, replayer: Replayer, policies: Sequence[Any], stack: ExitStack) -> None:
        self.replayer, self._stack = replayer, stack
        self.own: StreamEngine | None = None
        self._editing: dict[str, StreamEngine] = {}
        self._prepared: list[StreamEngine] = []
        self._made = False
        forms = {form for policy in policies if (form := getattr(policy, "stream", None)) is not None}
        if len(forms) > 1:
            raise ValueError(f"The policies want the relevance stream in the forms {sorted(forms)}; give all the same.")
        self._form = forms.pop() if forms else None
        rewriting = [type(policy).__name__ for policy in policies if getattr(policy, "rewrites_cache", False)]
        blind = [type(policy).__name__ for policy in policies if policy.needs_history]
        if rewriting and (blind or self._form == "input"):
            raise ValueError(
                f"{rewriting[0]} rewrites the cache that generation keeps; "
                f"{blind[0] if blind else 'the exact relevance stream'} starts from the embeddings and would not see "
                "that. Use scope='cache' or relevance='slot' beside it."
            )
        self._methods = {m for policy in policies if (m := getattr(policy, "forward_method", None)) is not None}
        self._required = {
            policy.forward_method for policy in policies if getattr(policy, "direction", None) == "forward"
        }

    def begin(self, current: Callable[[], tuple[Flow, DecoderCall] | None]) -> None:
        """Make the engines, once.

        Parameters
        ----------
        current : callable
            As ``StreamEngine.inside`` asks it.

        Raises
        ------
        NotImplementedError
            If a module has no forward rule and some policy cannot do without.
        """
        if self._made:
            return
        self._made = True
        if self._form is not None:
            self.own = StreamEngine(self.replayer, self._form)
            self._stack.enter_context(self.own.inside(current))
        for method in sorted(self._methods):
            try:
                self._editing[method] = StreamEngine(self.replayer, "slot", LRP_METHODS[method]())
            except NotImplementedError as error:
                self._do_without(method, error)

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
                del self._editing[method]
                self._do_without(method, error)
        return self._editing

    def _do_without(self, method: str, reason: NotImplementedError) -> None:
        """Let edits work by backward passes, unless somebody insists on the stream."""
        if method in self._required:
            raise reason
        warn_backward(self.replayer.model, reason)
