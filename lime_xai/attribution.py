"""Relevance of every input token for what a model says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_rules import LRP_METHODS, Audit, TransformerComposite, audit_decoder

from .baselines import BASELINES, Baseline
from .baselines.running import GroupsLike, explain_rows, groups_of
from .cache import detach_inference
from .calls import merged
from .checks import check_finite, check_inputs, check_model
from .leaves import CallLeaves, relevance_of
from .modalities import lengthened, modality_masks, spans
from .names import unknown_name
from .passes import forward_sequence
from .problem import problems
from .recording import Recording, record
from .replay import Replayer, frozen_parameters
from .result import Attribution
from .targets import Target, TargetLike, resolve_target, target_values, token_labels

_CHECKED: WeakSet[PreTrainedModel] = WeakSet()


def audit(model: PreTrainedModel) -> Audit:
    """List each module of a model's decoder with its rule, and what none covers.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model, or a causal language model.

    Returns
    -------
    lime_rules.Audit
        ``print(audit(model).summary())``; ``.uncovered`` names modules that AttnLRP treats as plain gradient,
        ``.operations`` products and nonlinear functions that are written outside modules, found by running the decoder
        on two positions once.
    """
    replayer = Replayer(model)
    return audit_decoder(replayer.decoder, embeddings=replayer.neutral_embeddings())


def attribute(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    target: TargetLike = None,
    method: str | TransformerComposite | Baseline = "attnlrp",
    *,
    per_token: bool = True,
    processor: Any = None,
    perceptual: Tensor | Mapping[str, Tensor] | None = None,
    groups: GroupsLike = None,
    progress: bool = False,
) -> Attribution:
    """Attribute a logit to every input token.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model of transformers, multimodal or text-only, in eval mode.
    inputs : mapping
        What a processor returns; batches are padded on the left.
    target : int, tuple of two int, str, list of int, Tensor or None
        A token id; a margin ``(a, b)``; a phrase; its token ids; one id per row ``[B]`` or one answer per row
        ``[B, G]`` (padded with -100). None: the token the model would choose.
    method : str, TransformerComposite or Baseline
        ``attnlrp``, ``cplrp``, ``gradient_input``, or a composite of your own (with a ``layer_map``, say). Or a name in
        ``lime_xai.baselines.BASELINES`` (``integrated_gradients``, ``feature_ablation``, ...), or one of these methods
        with settings of its own, ``KernelShap(samples=64)``.
    per_token : bool
        For a phrase or answer: relevance of each of its tokens, ``[B, G, T]``; False: of their sum, ``[B, T]``,
        in one backward pass. Baselines run once per token.
    processor : object, optional
        Gives token labels and encodes a phrase; tokens of a word are perturbed together.
    perceptual : Tensor or mapping, optional
        ``[B, T]`` masks instead of the placeholders.
    groups : Groups or sequence of Groups, optional
        What methods that perturb groups perturb, for all rows or one each; by default ``group_tokens``. Methods that
        give each position its own relevance do not ask for them.
    progress : bool
        Show a bar while a baseline runs.

    Returns
    -------
    Attribution

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute; for a baseline that would cost more than its limit, before its first pass.
    FloatingPointError
        For NaN or infinite logits.

    Warns
    -----
    UserWarning
        Once per model, if some modules have no rule; they are named.

    Examples
    --------
    .. code-block:: python

        yes = processor.tokenizer.convert_tokens_to_ids("yes")
        attribution = lime_xai.attribute(model, inputs, target=yes)
        attribution.relevance.shape, attribution.shares["image"]
    """
    chosen = _method(method)
    check_model(model)
    ids = check_inputs(model, inputs)
    vocabulary = int(model.config.get_text_config().vocab_size)
    goal = resolve_target(target, ids.shape[0], vocabulary, ids.device, processor)
    masks = modality_masks(model.config, ids, perceptual)
    replayer = Replayer(model)
    with torch.inference_mode(False), frozen_parameters(model):
        goal = replace(goal, ids=detach_inference(goal.ids), against=detach_inference(goal.against))
        # rules run the prompt themselves: without an answer to decode, the decoder's arguments are all they need
        run = goal.answer or not isinstance(chosen, TransformerComposite)
        recording = record(replayer, inputs, ids, goal.continuation, run=run)
        if run:
            goal = _chosen(goal, recording.logits)
        masks = lengthened(masks, recording.input_ids.shape[1])
        tokens = token_labels(recording.input_ids, processor)
        if isinstance(chosen, TransformerComposite):
            _warn_uncovered(replayer, chosen)
            goal, relevance, logits = _propagate(replayer, recording, goal, chosen, per_token)
        else:
            rows = list(problems(replayer, recording, goal, masks))
            single = not (goal.answer and per_token)
            found = groups_of(rows, groups, tokens)
            relevance = explain_rows(chosen, rows, found, not single, progress)
            values = _values(recording.logits, goal).float()
            logits = values.sum(-1) if single else values
    return Attribution(
        relevance=relevance * (recording.attended[:, None] if relevance.dim() == 3 else recording.attended),
        input_ids=recording.input_ids,
        target_ids=goal.ids if goal.ids is not None else ids[:, :0],
        logits=logits,
        attended=recording.attended,
        spans=spans(masks, recording.attended),
        method=_name(method),
        tokens=tokens,
    )


def _method(method: str | TransformerComposite | Baseline) -> TransformerComposite | Baseline:
    """Return the method that a user named or gave."""
    if isinstance(method, TransformerComposite) or (isinstance(method, Baseline) and not isinstance(method, type)):
        return method
    known: dict[str, type[Any]] = {**LRP_METHODS, **BASELINES}
    if not isinstance(method, str) or method not in known:
        raise unknown_name("method", method, known)
    found: TransformerComposite | Baseline = known[method]()
    return found


def _name(method: str | TransformerComposite | Baseline) -> str:
    if isinstance(method, str):
        return method
    return type(method).__name__ if isinstance(method, TransformerComposite) else method.name


def _chosen(goal: Target, logits: Tensor) -> Target:
    """Return the target with the token that the model would choose, if none was given, by logits ``[B, G, V]``."""
    check_finite(logits.flatten(0, 1))
    return goal if goal.ids is not None else replace(goal, ids=logits[:, -1].argmax(-1, keepdim=True))


def _values(logits: Tensor, goal: Target) -> Tensor:
    """Return what is explained, ``[B, G]``, of logits ``[B, G, V]``."""
    if goal.ids is None:
        raise ValueError("The target has no token ids.")
    return target_values(logits, goal.ids, goal.against)


def _propagate(
    replayer: Replayer, recording: Recording, goal: Target, composite: TransformerComposite, per_token: bool
) -> tuple[Target, Tensor, Tensor]:
    """Return the target with its ids, relevance, and the logits that it explains."""
    with torch.enable_grad(), composite.context(replayer.decoder):
        leaves = [CallLeaves.of(call) for call in merged(recording.calls)]
        count = 1 if goal.ids is None else goal.ids.shape[1]
        logits = forward_sequence(replayer, leaves, keep=count)
        goal = _chosen(goal, logits.detach())
        if not any(rule.calls for rule in composite.attention_rules()):
            raise ValueError(f"The attention of {type(replayer.decoder).__name__} cannot be switched to LRP rules.")
        values = _values(logits, goal)
        if not (goal.answer and per_token):
            relevance = relevance_of(values, leaves, create_graph=False)
            return goal, relevance.float(), values.detach().sum(-1).float()
        rows = [relevance_of(values[:, g], leaves, False, retain_graph=g + 1 < count) for g in range(count)]
    return goal, torch.stack(rows, 1).float(), values.detach().float()


def _warn_uncovered(replayer: Replayer, composite: TransformerComposite) -> None:
    """Say once per model what has no rule."""
    if replayer.model in _CHECKED:
        return
    _CHECKED.add(replayer.model)
    found = audit_decoder(replayer.decoder, composite, replayer.neutral_embeddings())
    if not found.complete:
        kinds = {row.module for row in found.uncovered} | {one.name for one in found.operations}
        warnings.warn(
            f"{found.verdict.capitalize()}: {', '.join(sorted(kinds))}. They pass on their plain gradient and have no "
            "relevance rule. See lime_xai.audit(model).",
            stacklevel=3,
        )
