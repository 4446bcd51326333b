"""What every logit is owed to perception, in every step of one session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import AttnLRP

from .cache import detach_inference, fork_cache, is_recurrent
from .calls import DecoderCall
from .double_vjp import owed_by_backward
from .modalities import union
from .names import unknown_name
from .passes import precise
from .progress import Progress
from .replay import Replayer
from .streaming import STREAM_FORMS, Flow, StreamEngine, StreamForm
from .trust import trusted_engine, warn_backward

OwingDirection = Literal["forward", "backward", "auto"]
"""By the relevance stream, by differentiating a backward pass, or by the first where it can be trusted."""

OWING_DIRECTIONS = ("forward", "backward", "auto")


def check_owing(relevance: str, direction: str) -> None:
    """Refuse forms and directions that do not exist, alone or together.

    Raises
    ------
    ValueError
        With what exists.
    """
    if relevance not in STREAM_FORMS:
        raise unknown_name("relevance", relevance, STREAM_FORMS)
    if direction not in OWING_DIRECTIONS:
        raise unknown_name("direction", direction, OWING_DIRECTIONS)
    if relevance != "slot" and direction != "forward":
        raise ValueError(
            f"direction={direction!r} finds what is owed to slots of the cache; the exact form exists in forward "
            "direction only. Use relevance='slot'."
        )


class Owing:
    """Finds what logits are owed to perception: by a stream inside the model's own calls, or by backward passes.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    policies : sequence of Policy
        Asked for ``stream`` and ``stream_direction``.
    prepare : callable
        Probes an engine and puts its hooks on, once.

    Attributes
    ----------
    form : {"slot", "input"} or None
        None if nobody asks.
    engine : StreamEngine or None
        The stream inside the model's own calls.

    Raises
    ------
    ValueError
        If policies ask for both forms, or insist on both directions.
    """

    def __init__(self, replayer: Replayer, policies: Sequence[Any], prepare: Callable[[StreamEngine], None]) -> None:
        self.replayer, self._prepare = replayer, prepare
        asking = [policy for policy in policies if getattr(policy, "stream", None) is not None]
        for policy in asking:
            check_owing(policy.stream, getattr(policy, "stream_direction", "forward"))
        forms: set[StreamForm] = {policy.stream for policy in asking}
        if len(forms) > 1:
            raise ValueError(f"The policies want the relevance stream in the forms {sorted(forms)}; give all the same.")
        self.form = forms.pop() if forms else None
        wanted: set[OwingDirection] = {getattr(policy, "stream_direction", "forward") for policy in asking}
        insisting = wanted - {"auto"}
        if len(insisting) > 1:
            raise ValueError(
                "The policies want what is owed to perception in both directions, forward and backward; give all the "
                "same."
            )
        self._direction: OwingDirection = insisting.pop() if insisting else "auto"
        self.engine: StreamEngine | None = None
        self._backward = False

    def begin(self, stack: ExitStack, current: Callable[[], tuple[Flow, DecoderCall] | None]) -> None:
        """Make the stream, or settle on backward passes.

        Parameters
        ----------
        stack : ExitStack
            Takes what must be undone.
        current : callable
            As ``StreamEngine.inside`` asks it.

        Raises
        ------
        NotImplementedError
            If the model has no stream and a policy insists on it.
        """
        if self.form is None:
            return
        self.engine = self._streaming(self.form)
        self._backward = self.engine is None
        if self.engine is not None:
            stack.enter_context(self.engine.inside(current))

    def _streaming(self, form: StreamForm) -> StreamEngine | None:
        if self._direction == "backward":
            self._check_backward()
            return None
        try:
            return trusted_engine(self.replayer, form)
        except NotImplementedError as error:
            if self._direction == "forward":
                raise NotImplementedError(self._otherwise(error)) from error
            self._check_backward()
            warn_backward(self.replayer.model, "Reweighting", error)
            return None

    def _check_backward(self) -> None:
        if is_recurrent(self.replayer.config):
            raise NotImplementedError(
                f"{type(self.replayer.decoder).__name__} has linear attention with a recurrent state; what its logits "
                "are owed to perception is found in neither direction. lime_xai.attribute works on the prompt."
            )

    def _otherwise(self, error: NotImplementedError) -> str:
        """Return a message with what to do instead."""
        reason = str(error).rstrip(".")
        if is_recurrent(self.replayer.config):
            return f"{reason}. What logits are owed cannot be found in backward direction either."
        return f"{reason}. What logits are owed is found otherwise too: direction='backward', relevance='slot'."

    @property
    def needs_past(self) -> bool:
        """Whether every step needs the cache before it; known once begun."""
        return self._backward

    def finish(self, output: Any) -> Tensor | None:
        """Take what is owed, ``[B, V]``, out of the output of the model; None if the call ran plain."""
        found = None if self.engine is None else self.engine.finish(output)
        with torch.inference_mode(False):
            return None if found is None else precise(detach_inference(found[1][0]))

    def alone(self, progress: Progress, call: DecoderCall, past: Cache | None) -> Tensor | None:
        """Return what is owed, ``[B, V]``, where no stream ran in the model's own call; None if nobody asks.

        Parameters
        ----------
        progress : Progress
            Of the generation.
        call : DecoderCall
            The last position alone.
        past : Cache or None
            Before it.
        """
        if past is None:
            return None
        if self._backward:
            return owed_by_backward(self.replayer, call, past, union(progress.modalities, progress.attended), AttnLRP())
        if self.engine is None or progress.flow is None:
            return None
        self._prepare(self.engine)
        with torch.no_grad():
            _, owed = self.engine.run(progress.flow, call, fork_cache(past))
        return precise(owed[0, :, -1])
