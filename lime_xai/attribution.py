"""Relevance of every input token for what a model says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from lime_rules import LRP_METHODS, Audit, TransformerComposite, audit_decoder

from .checks import check_finite, check_inputs, check_model
from .leaves import CallLeaves, relevance_of
from .modalities import Span, modality_masks, spans
from .names import unknown_name
from .passes import forward_sequence
from .recording import Recording, record
from .replay import Replayer, frozen_parameters, merged
from .targets import IGNORED, Target, TargetLike, resolve_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WARNED: WeakSet[PreTrainedModel] = WeakSet()


@dataclass(frozen=True)
class Attribution:
    r"""Relevance :math:`\Phi_i = e_i \cdot \nabla_{e_i} z` of every input token for a logit.

    Attributes
    ----------
    relevance : Tensor
        ``[B, T]`` float32, or ``[B, G, T]`` for an answer of ``G`` tokens. ``T`` counts the prompt and, for an
        answer, its tokens but the last. Zero on padding.
    input_ids : Tensor
        ``[B, T]``.
    target_ids : Tensor
        ``[B, G]`` (``G`` is 1 for a single token); -100 where an answer is shorter.
    logits : Tensor
        ``[B]`` or ``[B, G]`` float32: what was explained (for a margin, the difference; for a sum, the sum).
    attended : Tensor
        ``[B, T]`` bool.
    spans : list of list of Span
        Per row, in order: where image, video, audio and text tokens lie.
    shares : dict of str to Tensor
        Per modality, ``[B]`` or ``[B, G]``: its share of the absolute relevance.
    residual : Tensor
        ``[B]`` or ``[B, G]``: sum of relevance minus logit (biases and softmax absorb the rest).
    method : str
        Name of the attribution method.
    tokens : list of list of str, or None
        Labels, if a processor was given.
    """

    relevance: Tensor
    input_ids: Tensor
    target_ids: Tensor
    logits: Tensor
    attended: Tensor
    spans: list[list[Span]]
    method: str
    tokens: list[list[str]] | None = None

    @property
    def residual(self) -> Tensor:
        """Sum of relevance minus logit, ``[B]`` or ``[B, G]``."""
        return self.relevance.sum(-1) - self.logits

    @property
    def shares(self) -> dict[str, Tensor]:
        """Share of the absolute relevance per modality, ``[B]`` or ``[B, G]``; they add up to 1."""
        weight = self.relevance.abs()
        total = weight.sum(-1).clamp(min=torch.finfo(weight.dtype).tiny)
        names = sorted({span.modality for row in self.spans for span in row})
        return {name: (weight * self._expanded(self.mask(name))).sum(-1) / total for name in names}

    def mask(self, modality: str) -> Tensor:
        """Return ``[B, T]``: the positions of a modality (``text`` included)."""
        mask = torch.zeros_like(self.attended)
        for row, found in enumerate(self.spans):
            for span in found:
                if span.modality == modality:
                    mask[row, span.start : span.stop] = True
        return mask

    def _expanded(self, mask: Tensor) -> Tensor:
        return mask[:, None] if self.relevance.dim() == 3 else mask

    def plot(self, row: int = 0, image: Any = None, grid: tuple[int, int] | None = None) -> Figure:
        """Return a figure of one row: relevance per token, and over the image if it is given.

        Parameters
        ----------
        row : int
            Of the batch.
        image : PIL.Image or array, optional
            What was seen.
        grid : tuple of int, optional
            Rows and columns of image tokens; by default as square as possible.
        """
        from .report.picture import attribution_figure

        return attribution_figure(self, row, image, grid)

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file."""
        data = {
            "method": self.method,
            "tokens": self.tokens,
            "spans": [[[s.modality, s.start, s.stop] for s in row] for row in self.spans],
        }
        names = ("relevance", "input_ids", "target_ids", "logits", "attended")
        tensors = {name: getattr(self, name).cpu().contiguous() for name in names}
        save_file(tensors, str(path), metadata={"lime_xai": json.dumps(data)})

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Read what ``save`` wrote.

        Raises
        ------
        ValueError
            If the file is a safetensors file of something else.
        """
        with safe_open(str(path), framework="pt") as file:
            meta = (file.metadata() or {}).get("lime_xai")
            if meta is None:
                raise ValueError(f"{path} was not written by Attribution.save.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        data = json.loads(meta)
        found = [[Span(*span) for span in row] for row in data["spans"]]
        return cls(spans=found, method=data["method"], tokens=data["tokens"], **tensors)


def audit(model: PreTrainedModel) -> Audit:
    """List each module of a model's decoder with its rule, and those that none covers.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model, or a causal language model.

    Returns
    -------
    lime_rules.Audit
        ``print(audit(model).summary())``; ``.uncovered`` names what AttnLRP treats as plain gradient.
    """
    return audit_decoder(Replayer(model).decoder)


def attribute(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    target: TargetLike = None,
    method: str | TransformerComposite = "attnlrp",
    *,
    per_token: bool = True,
    processor: Any = None,
    perceptual: Tensor | Mapping[str, Tensor] | None = None,
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
    method : str or TransformerComposite
        ``attnlrp``, ``cplrp``, ``gradient_input``, or a composite of your own (with a ``layer_map``, say).
    per_token : bool
        For a phrase or answer: relevance of each of its tokens, ``[B, G, T]``; False: of their sum, ``[B, T]``,
        in one backward pass.
    processor : object, optional
        Gives token labels and encodes a phrase.
    perceptual : Tensor or mapping, optional
        ``[B, T]`` masks instead of the placeholders.

    Returns
    -------
    Attribution

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute.
    FloatingPointError
        For NaN or infinite logits.

    Warns
    -----
    UserWarning
        Once per model, if some modules have no rule; they are named.

    Examples
    --------
    >>> # attribution = lime_xai.attribute(model, inputs, target=processor.tokenizer.convert_tokens_to_ids("yes"))
    >>> # attribution.relevance.shape, attribution.shares["image"]
    """
    composite = _composite(method)
    check_model(model)
    ids = check_inputs(model, inputs)
    vocabulary = int(model.config.get_text_config().vocab_size)
    goal = resolve_target(target, ids.shape[0], vocabulary, ids.device, processor)
    masks = modality_masks(model.config, ids, perceptual)
    replayer = Replayer(model)
    _warn_uncovered(model, composite)
    with torch.inference_mode(False), frozen_parameters(model):
        recording = record(replayer, inputs, ids, goal.continuation)
        check_finite(recording.logits.flatten(0, 1))
        goal = replace(goal, ids=recording.logits[:, -1].argmax(-1, keepdim=True)) if goal.ids is None else goal
        relevance, logits = _propagate(replayer, recording, goal, composite, per_token)
    extra = recording.input_ids.shape[1] - ids.shape[1]
    masks = {name: torch.nn.functional.pad(mask, (0, extra)) for name, mask in masks.items()}
    name = method if isinstance(method, str) else type(method).__name__
    return Attribution(
        relevance=relevance * (recording.attended[:, None] if relevance.dim() == 3 else recording.attended),
        input_ids=recording.input_ids,
        target_ids=goal.ids if goal.ids is not None else ids[:, :0],
        logits=logits,
        attended=recording.attended,
        spans=spans(masks, recording.attended),
        method=name,
        tokens=_labels(recording.input_ids, processor),
    )


def _composite(method: str | TransformerComposite) -> TransformerComposite:
    if isinstance(method, TransformerComposite):
        return method
    if method not in LRP_METHODS:
        raise unknown_name("method", method, LRP_METHODS)
    return LRP_METHODS[method]()


def _propagate(
    replayer: Replayer, recording: Recording, goal: Target, composite: TransformerComposite, per_token: bool
) -> tuple[Tensor, Tensor]:
    """Return relevance and the logits that it explains."""
    if goal.ids is None:
        raise ValueError("The target has no token ids.")
    with torch.enable_grad(), composite.context(replayer.decoder):
        leaves = [CallLeaves.of(call) for call in merged(recording.calls)]
        count = goal.ids.shape[1]
        logits = forward_sequence(replayer, leaves, keep=count)
        if not any(rule.calls for rule in composite.attention_rules()):
            raise ValueError(f"The attention of {type(replayer.decoder).__name__} cannot be switched to LRP rules.")
        values = logits.gather(-1, goal.ids.clamp(min=0)[..., None])[..., 0]
        if goal.against is not None:
            values = values - logits.gather(-1, goal.against[..., None])[..., 0]
        values = values * (goal.ids != IGNORED)
        if not (goal.answer and per_token):
            relevance = relevance_of(values, leaves, create_graph=False)
            return relevance.float(), values.detach().sum(-1).float()
        rows = [relevance_of(values[:, g], leaves, False, retain_graph=g + 1 < count) for g in range(count)]
    return torch.stack(rows, 1).float(), values.detach().float()


def _warn_uncovered(model: PreTrainedModel, composite: TransformerComposite) -> None:
    if model in _WARNED:
        return
    missing = audit_decoder(Replayer(model).decoder, composite).uncovered
    if missing:
        _WARNED.add(model)
        kinds = sorted({row.module for row in missing})
        warnings.warn(
            f"{len(missing)} modules have no relevance rule and pass on their plain gradient: {', '.join(kinds)}. "
            "See lime_xai.audit(model).",
            stacklevel=3,
        )


def _labels(ids: Tensor, processor: Any) -> list[list[str]] | None:
    if processor is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)
    return [tokenizer.convert_ids_to_tokens(row) for row in ids.tolist()]
