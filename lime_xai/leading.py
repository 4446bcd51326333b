"""The first pass of an edit, run inside the model's own call of the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from .deltas import Deltas
from .edit_settings import EditSettings
from .editor import build_deltas
from .forward_pass import difference_flow
from .modalities import union
from .streaming import Flow, StreamEngine


@dataclass(frozen=True)
class Begun:
    """An edit whose first pass has been run, at zero deltas.

    Attributes
    ----------
    settings : EditSettings
        Whose edit.
    deltas : Deltas
        Zero.
    logits, owed : Tensor
        ``[B, V]`` with their graph: the plain logits, and what they are owed by text minus perception.
    """

    settings: EditSettings
    deltas: Deltas
    logits: Tensor
    owed: Tensor


class Leading:
    """Lets a model's own calls carry the tangent and the graph that an edit's first pass needs.

    Without it the first pass would repeat the forward pass that generation has just made.

    Parameters
    ----------
    settings : EditSettings
        In forward direction.
    engine : StreamEngine
        Of its method, in slot form.
    """

    def __init__(self, settings: EditSettings, engine: StreamEngine) -> None:
        self.settings, self.engine = settings, engine
        self._deltas: Deltas | None = None
        self._mode: bool | None = None

    def flow(self, past: Cache, attended: Tensor, bos: Tensor, modalities: Mapping[str, Tensor]) -> Flow | None:
        """Return the flow of the call under way, and let it build a graph; None where no graph can be built.

        Parameters
        ----------
        past : Cache
            Before the call.
        attended, bos : Tensor
            ``[B, T]``, the newest position included.
        modalities : mapping of str to Tensor
            ``[B, T]`` per perceptual modality.
        """
        self._deltas = None
        if torch.is_inference_mode_enabled():
            return None
        length = attended.shape[1]
        with torch.enable_grad():
            self._deltas = deltas = build_deltas(self.settings, past, attended, modalities, length - 1)
        flow = difference_flow(union(modalities, attended), self.settings.counted(attended, bos), deltas)
        self._mode = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        return flow

    def restore(self) -> None:
        """Put back the grad mode that the call under way was made in, behind that call or where it failed."""
        if self._mode is not None:
            torch.set_grad_enabled(self._mode)
            self._mode = None

    def forget(self) -> None:
        """Leave the grad mode of a call that was interrupted to the contexts that it was made in."""
        self._mode = None

    def finish(self, output: Any) -> Begun | None:
        """Take the pass out of the output of the model's call; None if the call ran plain."""
        try:
            found = self.engine.finish(output)
            if found is None or self._deltas is None:
                return None
            return Begun(self.settings, self._deltas, found[0], found[1][0])
        finally:
            self.restore()
