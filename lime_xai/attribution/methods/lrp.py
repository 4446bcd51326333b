"""Layer-wise relevance propagation by the composites of ``lime_rules``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_rules import CPLRP, LRP_METHODS, AttnLRP, GradientInput, TransformerComposite
from lime_xai.attribution.audited import audited
from lime_xai.attribution.targets import Target
from lime_xai.model.decoder_call import DecoderCall, merged
from lime_xai.model.differentiable import check_gradient
from lime_xai.model.gradients import DifferentiableCall, forward_sequence, gradients_of
from lime_xai.model.replay import Replayer
from lime_xai.values.checking import Known

from .registry import register_factory
from .task import AttributionMethod, AttributionTask, Explanation

_WARNED: WeakSet[PreTrainedModel] = WeakSet()

__all__ = ["CPLRP", "LRP", "AttnLRP", "GradientInput"]


@dataclass(frozen=True)
class LRP(AttributionMethod):
    r"""LRP in gradient x input form, :math:`\Phi_i = e_i \cdot \tilde\nabla_{e_i} z`, with the rules of a composite.

    All rows are explained in one graph. An answer costs one forward pass and one backward pass per token, or one
    backward pass for the sum. Biases and the softmax account for ``Attribution.residual``.

    Parameters
    ----------
    composite : str or TransformerComposite
        ``attnlrp``, ``cplrp``, ``gradient_input``, or a composite of your own (with a ``layer_map``, say).

    Raises
    ------
    ValueError
        For an unknown name.
    """

    composite: Annotated[str, Known(LRP_METHODS)] | TransformerComposite = "attnlrp"

    @property
    def name(self) -> str:
        """The name of the composite, or its class."""
        return self.composite if isinstance(self.composite, str) else type(self.composite).__name__

    @property
    def rules(self) -> TransformerComposite:
        """The composite itself."""
        return LRP_METHODS[self.composite]() if isinstance(self.composite, str) else self.composite

    def explain(self, task: AttributionTask) -> Explanation:
        """Return relevance and explained values.

        1. Record the decoder's arguments for prompt and answer; without an answer the decoder does not run for this.
        2. Run the decoder once with the rules active, its inputs being leaves of a graph.
        3. Choose the target token by these logits if none was given.
        4. One backward pass per explained value; relevance is input times gradient.

        Warns
        -----
        UserWarning
            Once per model, if some modules have no rule; they are named.
        """
        return self.explain_inputs(task)[0]

    def explain_inputs(self, task: AttributionTask) -> tuple[Explanation, list[list[Tensor]]]:
        """Return what ``explain`` does, and the gradients that give its relevance.

        Returns
        -------
        explanation : Explanation
        gradients : list of list of Tensor
            Per explained value: of the prompt's ``DifferentiableCall.tensors``.
        """
        composite = self.rules
        replayer, goal = task.prompt.replayer, task.target
        recording = task.prompt.recording(goal.continuation)
        if recording.logits is not None:
            goal = goal.chosen(recording.logits)  # refuses NaN before the graph is built
        check_gradient(replayer, recording.calls[0])
        _warn_uncovered(replayer, composite)
        relevance, values, goal, gradients = _propagate(replayer, recording.calls, goal, composite, task.single)
        return Explanation(relevance, values, goal, recording), gradients


def _propagate(
    replayer: Replayer, calls: Sequence[DecoderCall], goal: Target, composite: TransformerComposite, single: bool
) -> tuple[Tensor, Tensor, Target, list[list[Tensor]]]:
    """Return relevance, explained values, the target with its ids, and the gradients of the prompt's inputs."""
    with torch.enable_grad(), composite.context(replayer.decoder):
        inputs = [DifferentiableCall.of(call) for call in merged(list(calls))]
        count = 1 if goal.ids is None else goal.ids.shape[1]
        logits = forward_sequence(replayer, inputs, keep=count)
        goal = goal.chosen(logits.detach())
        if not any(rule.calls for rule in composite.attention_rules()):
            raise ValueError(f"The attention of {type(replayer.decoder).__name__} cannot be switched to LRP rules.")
        values = goal.values(logits)
        explained = [values] if single else [values[:, g] for g in range(count)]
        rows, gradients = [], []
        for index, value in enumerate(explained):
            found = gradients_of(value, inputs, retain_graph=index + 1 < len(explained))
            rows.append(torch.cat([one.relevance(own) for one, own in zip(inputs, found, strict=True)], 1).detach())
            gradients.append(found[0])
    if single:
        return rows[0].float(), values.detach().sum(-1).float(), goal, gradients
    return torch.stack(rows, 1).float(), values.detach().float(), goal, gradients


def _warn_uncovered(replayer: Replayer, composite: TransformerComposite) -> None:
    """Warn once per model about modules and operations that have no rule."""
    if replayer.model in _WARNED:
        return
    _WARNED.add(replayer.model)
    found = audited(replayer, composite)
    if not found.complete:
        kinds = {row.module for row in found.uncovered} | {one.name for one in found.operations}
        warnings.warn(
            f"{found.verdict.capitalize()}: {', '.join(sorted(kinds))}. They pass on their plain gradient and have no "
            "relevance rule. See lime_xai.audit(model).",
            stacklevel=4,
        )


for _name in LRP_METHODS:
    register_factory(_name, partial(LRP, composite=_name))
