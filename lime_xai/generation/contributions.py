"""The contribution of perceptual tokens to every logit, in every step of one session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import AttnLRP
from lime_xai.decoding.policy import ContributionNeed
from lime_xai.model.cache import detach_inference, fork_cache, is_recurrent
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.gradients import at_least_float32
from lime_xai.model.modalities import Modalities
from lime_xai.model.positions import Positions
from lime_xai.model.replay import Replayer
from lime_xai.stream.adjoint_check import verified_engine, warn_backward
from lime_xai.stream.contributions import contributions_by_backward
from lime_xai.stream.engine import StreamEngine, StreamState

from .state import GenerationState


class LogitContributions:
    """Computes the contribution of perceptual tokens: by a stream in the model's own calls, or by backward passes.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    need : ContributionNeed
        Form and direction.
    groups : sequence
        Whose contributions, by modalities; each a group of the same stream.
    prepare : callable
        Checks an engine and registers its hooks, once.

    Attributes
    ----------
    engine : StreamEngine or None
        The stream in the model's own calls; None before ``begin``, and in backward direction.
    """

    def __init__(
        self,
        replayer: Replayer,
        need: ContributionNeed,
        groups: Sequence[Modalities],
        prepare: Callable[[StreamEngine], None],
    ) -> None:
        self.replayer, self.need, self.groups, self._prepare = replayer, need, groups, prepare
        self.engine: StreamEngine | None = None
        self._backward = False

    def begin(self, stack: ExitStack, current: Callable[[], tuple[StreamState, DecoderCall] | None]) -> None:
        """Make the stream, or choose backward passes.

        Parameters
        ----------
        stack : ExitStack
            Contexts are entered here and left with the session.
        current : callable
            As in ``StreamEngine.in_model_calls``.

        Raises
        ------
        NotImplementedError
            If the model has no stream and a policy requires it.
        """
        self.engine = self._stream()
        self._backward = self.engine is None
        if self.engine is not None:
            stack.enter_context(self.engine.in_model_calls(current))

    def _stream(self) -> StreamEngine | None:
        if self.need.direction == "backward":
            self._check_backward()
            return None
        try:
            return verified_engine(self.replayer, self.need.form)
        except NotImplementedError as error:
            if self.need.direction == "forward":
                raise NotImplementedError(self._with_advice(error)) from error
            self._check_backward()
            warn_backward(self.replayer.model, "Reweighting", error)
            return None

    def _check_backward(self) -> None:
        if is_recurrent(self.replayer.config):
            raise NotImplementedError(
                f"{type(self.replayer.decoder).__name__} has linear attention with a recurrent state; contributions to "
                "its logits are computed in neither direction. lime_xai.attribute works on the prompt."
            )

    def _with_advice(self, error: NotImplementedError) -> str:
        """Return the message of an error with what to do instead."""
        reason = str(error).rstrip(".")
        if is_recurrent(self.replayer.config):
            return f"{reason}. Contributions cannot be computed in backward direction either."
        return f"{reason}. Contributions can be computed otherwise too: direction='backward', relevance='direct'."

    def masks(self, positions: Positions) -> list[Tensor]:
        """Return the positions ``[B, T]`` of each group."""
        return [positions.group(group) for group in self.groups]

    @property
    def needs_past(self) -> bool:
        """Whether every step needs the cache before it; known after ``begin``."""
        return self._backward

    def finish(self, output: Any) -> Tensor | None:
        """Take the contributions ``[G, B, V]`` out of the model's output; None if the call had no tangents."""
        found = None if self.engine is None else self.engine.finish(output)
        with torch.inference_mode(False):
            return None if found is None else at_least_float32(detach_inference(found[1]))

    def compute_separately(self, state: GenerationState, call: DecoderCall, past: Cache | None) -> Tensor | None:
        """Return the contributions ``[G, B, V]`` where no stream ran in the model's own call.

        Parameters
        ----------
        state : GenerationState
            Of the generation.
        call : DecoderCall
            The last position alone.
        past : Cache or None
            Before it.
        """
        if past is None:
            return None
        if self._backward:
            by_group = [
                contributions_by_backward(self.replayer, call, past, mask, AttnLRP())
                for mask in self.masks(state.positions)
            ]
            return torch.stack(by_group)
        if self.engine is None or state.stream is None:
            return None
        self._prepare(self.engine)
        with torch.no_grad():
            _, contributions = self.engine.run(state.stream, call, fork_cache(past))
        return at_least_float32(contributions[:, :, -1])
