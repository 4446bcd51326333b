"""The optimisation of deltas for one decoding step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lime_rules import LRP_METHODS
from lime_xai.decoding.step import DecodingStep
from lime_xai.model.cache import check_differentiable, with_slots
from lime_xai.model.gradients import at_least_float32
from lime_xai.model.records import ShortRepr
from lime_xai.stream.engine import StreamEngine

from .deltas import Deltas
from .evaluate import (
    ObjectiveValue,
    edited_slots,
    value_by_stream,
    value_of_difference,
    value_over_cache,
    value_over_sequence,
)
from .fused_first_pass import FirstPassResult
from .settings import EditSettings


@dataclass(frozen=True, eq=False, repr=False)
class EditResult(ShortRepr):
    """The result of an edit of one step; tensors stay on their device.

    Attributes
    ----------
    logits : Tensor
        ``[B, V]`` after the last update.
    losses : Tensor
        ``[steps + 1, B]``: the objective before each update and after the last; ``[steps, B]`` in forward direction,
        where it is not evaluated again after the last update.
    divergences : Tensor
        ``[steps + 1, B]``: its KL term, in nats, unweighted.
    share_before, share_after : Tensor or None
        ``[B]``: share of the absolute relevance on the positions that the objective asks for; None in forward
        direction.
    shares : Tensor or None
        ``[steps + 1, B]``: that share before each update and after the last; None in forward direction.
    relevance_before, relevance_after : Tensor or None
        ``[B, T]``: relevance of the unedited step, and after the last update; None in forward direction.
    deltas : Deltas
        What was found.
    layers : int
        Number of decoder layers.
    """

    logits: Tensor
    losses: Tensor
    divergences: Tensor
    share_before: Tensor | None
    share_after: Tensor | None
    shares: Tensor | None
    relevance_before: Tensor | None
    relevance_after: Tensor | None
    deltas: Deltas
    layers: int

    @property
    def gains(self) -> dict[str, Tensor]:
        """``[B, L, Hkv]`` on the CPU: gains on values by modality; empty for free deltas."""
        return self.deltas.gains(self.layers)


def perceptual_share(relevance: Tensor, perceptual: Tensor, attended: Tensor) -> Tensor:
    """Return the share of absolute relevance on perceptual positions, ``[B]``, between 0 and 1."""
    weight = relevance.abs() * attended
    return (weight * perceptual).sum(-1) / weight.sum(-1).clamp(min=torch.finfo(weight.dtype).tiny)


class KVEditor:
    """Finds deltas of cached keys and values that lower a relevance objective for one step.

    1. Start from zero deltas, with a fresh Adam optimiser: every token is edited anew.
    2. Evaluate the objective at the present deltas: logits, relevance, loss, KL divergence. If the session has already
       made the first evaluation inside the model's own call (``FusedFirstPass``), its result is used.
    3. Differentiate the loss for the deltas: by a double backward pass, or by one backward pass through the relevance
       stream. Both give the same gradient.
    4. Take one Adam step; rows that have reached their plateau or KL budget keep their deltas.
    5. After all steps, compute the logits over the edited keys and values. The kept cache is never edited.

    Parameters
    ----------
    settings : EditSettings
        How.
    """

    def __init__(self, settings: EditSettings) -> None:
        self.settings = settings

    def edit(self, step: DecodingStep) -> EditResult:
        """Optimise deltas for one step; the step's cache is not changed.

        Parameters
        ----------
        step : DecodingStep
            With ``history`` if the scope is ``sequence``.

        Returns
        -------
        EditResult

        Raises
        ------
        ValueError
            If a layer is out of range or no editable layer holds slots.
        """
        check_differentiable(step.past)
        # generate runs under no_grad or inference_mode; the edit needs a graph of its own inside it.
        with torch.inference_mode(False), torch.enable_grad():
            first = self._first_pass(step)
            deltas = self.zero_deltas(step) if first is None else first.deltas
            optimizer = RowwiseAdam(deltas, self.settings)
            values: list[ObjectiveValue] = []
            for index in range(self.settings.steps):
                current = self.evaluate(step, deltas, first_pass=first if index == 0 else None)
                values.append(current.detached())
                if not optimizer.update(current):
                    break
            values.append(self._after_last_update(step, deltas))
        return self._result(step, deltas, values)

    def _result(self, step: DecodingStep, deltas: Deltas, values: list[ObjectiveValue]) -> EditResult:
        first, last = values[0], values[-1]
        losses = [one.loss for one in values if one.loss is not None]
        masks = self.settings.masks(step.positions).to(last.logits.device)

        every = [perceptual_share(one.relevance, *masks) for one in values if one.relevance is not None]
        shares = torch.stack(every) if len(every) == len(values) else None
        return EditResult(
            logits=last.logits.to(step.plain.dtype),
            # In forward direction without steps there is none.
            losses=torch.stack(losses) if losses else last.divergence[None][:0],
            divergences=torch.stack([one.divergence for one in values]),
            share_before=None if shares is None else shares[0],
            share_after=None if shares is None else shares[-1],
            shares=shares,
            relevance_before=first.relevance,
            relevance_after=last.relevance,
            deltas=deltas,
            layers=len(step.past.layers),
        )

    def _first_pass(self, step: DecodingStep) -> FirstPassResult | None:
        """Return the first pass that was made in the model's own call for these settings, if there is one."""
        found = step.first_pass
        return found if isinstance(found, FirstPassResult) and found.settings is self.settings else None

    def _after_last_update(self, step: DecodingStep, deltas: Deltas) -> ObjectiveValue:
        """Return the value after the last update; in forward direction only logits and KL divergence."""
        if self._engine(step) is None:
            return self.evaluate(step, deltas, differentiate=False).detached()
        with torch.no_grad():
            logits = at_least_float32(step.logits_with(with_slots(step.past, edited_slots(step, deltas))))
        divergence = self.settings.objective.divergence(logits, step.plain.to(logits))
        return ObjectiveValue(logits, None, None, divergence)

    def _engine(self, step: DecodingStep) -> StreamEngine | None:
        engine = step.streams.get(self.settings.forward_method or "")
        if engine is None and self.settings.direction == "forward":
            raise RuntimeError("No stream was made for this step; the policy's needs must name it in streams.")
        return engine

    def evaluate(
        self,
        step: DecodingStep,
        deltas: Deltas,
        differentiate: bool = True,
        first_pass: FirstPassResult | None = None,
    ) -> ObjectiveValue:
        """Return logits, relevance, loss and (if asked) the gradients of the loss at the present deltas."""
        settings, masks = self.settings, self.settings.masks(step.positions)
        if first_pass is not None:
            parts = first_pass.logits, first_pass.difference
            return value_of_difference(step, deltas, *parts, settings.objective, differentiate)
        engine = self._engine(step)
        if engine is not None:
            return value_by_stream(step, deltas, engine, settings.objective, masks, differentiate)
        composite = LRP_METHODS[settings.method](second_order=settings.second_order)
        value = value_over_cache if settings.scope == "cache" else value_over_sequence
        return value(step, deltas, composite, settings.objective, masks, differentiate)

    def zero_deltas(self, step: DecodingStep) -> Deltas:
        """Return zero deltas for a step."""
        # In the cache scope the last token's own slot is not part of the past and is not edited.
        length = step.positions.length - (1 if self.settings.scope == "cache" else 0)
        return self.settings.zero_deltas(step.past, step.positions, length)


class RowwiseAdam:
    """Adam steps on deltas; rows that have stopped keep theirs, so that a row's edit does not depend on the batch.

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

    def update(self, current: ObjectiveValue) -> bool:
        """Take one step; return False, without a step, once all rows have stopped.

        Parameters
        ----------
        current : ObjectiveValue
            At the present deltas, with gradients and loss.
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

    def _still_running(self, current: ObjectiveValue) -> Tensor:
        """Return which rows ``[B]`` take another step."""
        if current.loss is None:
            raise ValueError("The objective was not evaluated; without a loss it cannot be decided when to stop.")
        loss = current.loss.detach()
        running = torch.ones_like(loss, dtype=torch.bool) if self._running is None else self._running
        if self.settings.kl_budget is not None:
            running = running & (current.divergence.detach() < self.settings.kl_budget)
        if self.settings.plateau > 0 and self._loss is not None:
            running = running & (self._loss - loss >= self.settings.plateau * self._loss.abs())
        self._loss = loss
        return running
