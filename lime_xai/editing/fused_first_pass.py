"""The first evaluation of an edit's objective, run inside the model's own call of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lime_xai.model.positions import Positions
from lime_xai.stream.engine import StreamEngine, StreamState

from .deltas import Deltas
from .evaluate import difference_state
from .settings import EditSettings


@dataclass(frozen=True, eq=False)
class FirstPassResult:
    """A first forward pass of an edit, at zero deltas.

    Attributes
    ----------
    settings : EditSettings
        Of the edit.
    deltas : Deltas
        Zero, with the graph of the pass.
    logits, difference : Tensor
        ``[B, V]`` with their graph: the plain logits, and the contribution of text minus that of perception.
    """

    settings: EditSettings
    deltas: Deltas
    logits: Tensor
    difference: Tensor


class FusedFirstPass:
    """Computes an edit's first pass inside the model's own call of a step: with a tangent and a graph.

    Without it the first pass would repeat the forward pass that generation has just made.

    Parameters
    ----------
    settings : EditSettings
        In forward direction.
    engine : StreamEngine
        Of its method, of the direct form.
    """

    def __init__(self, settings: EditSettings, engine: StreamEngine) -> None:
        self.settings, self.engine = settings, engine
        self._deltas: Deltas | None = None
        self._mode: bool | None = None

    def start(self, past: Cache, positions: Positions) -> StreamState | None:
        """Return the state of the stream for the call that follows, and switch gradients on for it.

        Parameters
        ----------
        past : Cache
            Before the call.
        positions : Positions
            ``[B, T]``, the newest position included.

        Returns
        -------
        StreamState or None
            None inside ``torch.inference_mode``, where no graph can be built.
        """
        self._deltas = None
        if torch.is_inference_mode_enabled():
            return None
        with torch.enable_grad():
            self._deltas = deltas = self.settings.zero_deltas(past, positions, positions.length - 1)
        # generate runs the model under no_grad: the mode is set here, before the decoder runs, and put back by
        # ``restore`` after the model's call, which includes the head.
        self._mode = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        return difference_state(self.settings.masks(positions), deltas)

    def restore(self) -> None:
        """Put back the grad mode in which the call was made, after that call or where it failed."""
        if self._mode is not None:
            torch.set_grad_enabled(self._mode)
            self._mode = None

    def finish(self, output: Any) -> FirstPassResult | None:
        """Take the pass out of the output of the model's call; None if the call had no tangent."""
        try:
            found = self.engine.finish(output)
            if found is None or self._deltas is None:
                return None
            return FirstPassResult(self.settings, self._deltas, found[0], found[1][0])
        finally:
            self.restore()
