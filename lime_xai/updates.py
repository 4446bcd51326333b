"""Updates of deltas by Adam, row by row, until each row has had enough."""

from __future__ import annotations

import torch
from torch import Tensor

from .deltas import Deltas
from .edit_settings import EditSettings
from .passes import Pass


class Updates:
    """Takes Adam steps; rows that have stopped keep their deltas, so that a row's edit does not depend on the batch.

    Parameters
    ----------
    deltas : Deltas
        Updated in place.
    settings : EditSettings
        Learning rate, and when a row stops.
    """

    def __init__(self, deltas: Deltas, settings: EditSettings) -> None:
        self.parameters = deltas.tensors()
        self.settings = settings
        self._optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self._stops = settings.plateau > 0 or settings.kl_budget is not None
        self._running: Tensor | None = None
        self._loss: Tensor | None = None

    def __call__(self, current: Pass) -> bool:
        """Update by the gradients of a pass; return False, without an update, once no row is left running.

        Parameters
        ----------
        current : Pass
            At the deltas as they are, with gradients and loss.
        """
        if self._stops:
            self._running = self._still_running(current)
            if not bool(self._running.any()):
                return False
        before = [] if self._running is None else [parameter.detach().clone() for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, current.gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        if self._running is not None:
            with torch.no_grad():
                for parameter, old in zip(self.parameters, before, strict=True):
                    stopped = ~self._running.to(parameter.device)
                    parameter[stopped] = old[stopped]
        return True

    def _still_running(self, current: Pass) -> Tensor:
        """Return which rows ``[B]`` want another update."""
        if current.loss is None:
            raise ValueError("A pass without a loss cannot decide when to stop.")
        loss = current.loss.detach()
        running = torch.ones_like(loss, dtype=torch.bool) if self._running is None else self._running
        if self.settings.kl_budget is not None:
            running = running & (current.divergence.detach() < self.settings.kl_budget)
        if self.settings.plateau > 0 and self._loss is not None:
            running = running & (self._loss - loss >= self.settings.plateau * self._loss.abs())
        self._loss = loss
        return running
