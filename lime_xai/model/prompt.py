"""A prompt, read once: its positions, its layouts, and the decoder calls that the model makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lime_xai.storage.weights import tensor_identities
from lime_xai.values.checking import check_arguments

from .arguments import check_processor
from .cache import detach_inference
from .checks import (
    check_devices,
    check_inputs,
    check_mask_length,
    check_mode,
    check_padding,
    check_placeholders,
    checked_replayer,
)
from .continuation import check_continuation, replayed_logits
from .decoder_call import DecoderCall
from .exclusive import borrowed
from .layouts import read_layouts
from .layouts.layout import Layout
from .layouts.pictures import Received, received
from .modalities import modality_masks
from .pieces import token_labels
from .positions import Perceptual, Positions, mask_from_padding, read_positions
from .recording import Recording, record
from .records import ShortRepr
from .replay import Replayer
from .silence import silent_inputs


@dataclass(frozen=True, eq=False, repr=False)
class Prompt(ShortRepr):
    """What a model is given, checked and read once; every function of this package takes it in place of inputs.

    The decoder's arguments are recorded at the first use, and kept for the prompt and for the last continuation:
    ``attribute``, ``routes`` and ``compare_attributions`` then do not encode images and sounds again. ``steer`` and
    ``calibrate`` run ``generate``, which encodes them once per call.

    Recordings are made again if parameters or buffers outside the decoder's layers change. Read the prompt again after
    another change of the model, an adapter that is switched off for example. Tensors are kept, not copied: do not
    change inputs and masks in place afterwards.

    Attributes
    ----------
    replayer : Replayer
        Of the model that the prompt was read for.
    inputs : mapping
        What the processor returned.
    positions : Positions
        ``[B, T]``: ids, attended positions, beginning of sequence, modalities.
    processor : object or None
        Gives token labels and encodes phrases.
    """

    replayer: Replayer
    inputs: Mapping[str, Any]
    positions: Positions
    processor: Any = None
    _recorded: _Recorded = field(default_factory=lambda: _Recorded(), repr=False)
    _changes: tuple[Callable[[DecoderCall], DecoderCall], ...] = field(default=(), repr=False)
    _silent: dict[int, Prompt] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> PreTrainedModel:
        """The model that the prompt was read for."""
        return self.replayer.model

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def labels(self) -> list[list[str]] | None:
        """Tokens ``[B][T]`` as the processor's tokenizer writes them; None without a processor."""
        return token_labels(self.positions.input_ids, self.processor)

    @cached_property
    def layouts(self) -> list[list[Layout]]:
        """Per row: the layout of every image, video and sound, in order; unknown ones say why.

        Some are known only with a processor (``read_layouts``).
        """
        return read_layouts(self.model.config, self.inputs, self.positions, self.processor)

    @cached_property
    def received(self) -> list[list[Received]]:
        """Per row, aligned with ``layouts``: what the model received of every image, video and sound."""
        return received(self)

    @property
    def silent(self) -> Prompt:
        """The prompt with silence in place of its sounds, made at the first use and encoded when it is recorded.

        Noise that was added to this prompt (``with_inputs``) is not added to it.

        Raises
        ------
        ValueError
            As ``silent_inputs``; no model has run then.
        """
        key = id(self.processor)  # prompts that share this dictionary differ in it alone, and it is kept by the value
        if key not in self._silent:
            self._silent[key] = Prompt(self.replayer, silent_inputs(self), self.positions, self.processor)
        return self._silent[key]

    def recording(self, continuation: Tensor | None = None, *, logits: bool = False) -> Recording:
        """Return the decoder calls of the prompt and of a continuation.

        The first call of ``generate`` encodes images and sounds. What it recorded is kept: of the prompt, and of the
        last continuation.

        Parameters
        ----------
        continuation : Tensor, optional
            ``[B, G]`` tokens decoded after the prompt; the last one is only a target.
        logits : bool
            Whether ``Recording.logits`` is needed; if the decoder was not run, it is computed by a replay.

        Returns
        -------
        Recording
        """
        with borrowed(self.model):
            if continuation is not None:
                continuation = detach_inference(continuation).clone()  # kept; the caller may change its own
            found = self._recorded.find(self.model, continuation)
            if found is None:
                found = record(self.replayer, self.inputs, self.positions, continuation)
                check_continuation(self.replayer, found)
                for change in self._changes:
                    found = _with_prompt(found, change)
                self._recorded.keep(self.model, continuation, found)
            if logits and found.logits is None:
                found = replace(found, logits=replayed_logits(self.replayer, found))
        return found

    def with_inputs(self, change: Callable[[DecoderCall], DecoderCall]) -> Prompt:
        """Return a prompt whose decoder has other inputs, noise added for example.

        Recordings of this prompt are used again, changed in the same way.

        Parameters
        ----------
        change : callable
            Takes the recorded call of the prompt and returns it with other inputs; the same at every call. Calls of
            generated tokens are not changed.
        """
        self.recording()  # encodes images and sounds, if nothing has been recorded yet
        return replace(self, _recorded=self._recorded.changed(change), _changes=(*self._changes, change))


class _Recorded:
    """The decoder's arguments for a prompt, and for its last continuation.

    Logits are not kept, and arguments are used only while the weights that they depend on are the same tensors in the
    same version: a user may train or move the model between two calls.
    """

    def __init__(self) -> None:
        self._of: dict[str, tuple[Tensor | None, Recording]] = {}
        self._weights: tuple[object, ...] = ()

    def find(self, model: PreTrainedModel, continuation: Tensor | None) -> Recording | None:
        """Return the recording of a continuation, or of the prompt alone; None if there is none that is valid."""
        if self._weights != input_weights(model):
            self._of.clear()
        tokens, found = self._of.get("prompt" if continuation is None else "continuation", (None, None))
        if continuation is not None and (tokens is None or not torch.equal(tokens, continuation)):
            return None
        return found

    def keep(self, model: PreTrainedModel, continuation: Tensor | None, found: Recording) -> None:
        """Keep a recording without its logits."""
        self._weights = input_weights(model)
        found = replace(found, logits=None)
        length = found.calls[0].length
        self._of.setdefault(
            "prompt", (None, replace(found, calls=found.calls[:1], positions=found.positions.first(length)))
        )
        if continuation is not None:
            self._of["continuation"] = continuation, found

    def changed(self, change: Callable[[DecoderCall], DecoderCall]) -> _Recorded:
        """Return the recordings with another call of the prompt."""
        twin = _Recorded()
        twin._weights = self._weights
        twin._of = {name: (tokens, _with_prompt(found, change)) for name, (tokens, found) in self._of.items()}
        return twin


def _with_prompt(found: Recording, change: Callable[[DecoderCall], DecoderCall]) -> Recording:
    """Return a recording with another call of the prompt; logits of the unchanged prompt are dropped."""
    return replace(found, calls=[change(found.calls[0]), *found.calls[1:]], logits=None)


def input_weights(model: PreTrainedModel) -> tuple[object, ...]:
    """Return the identity of all parameters and buffers that are not in the decoder's lists of layers.

    The decoder's arguments depend on some of these: embeddings of words and of positions, tower, projector.
    """
    decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
    layers = {child for child in decoder.children() if isinstance(child, nn.ModuleList)}
    found: list[Tensor] = []
    pending: list[nn.Module] = [model]
    while pending:  # ``named_modules`` would also visit the layers, which takes most of its time
        module = pending.pop()
        if module not in layers:
            found += [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            pending += module.children()
    return tensor_identities(found)


PromptLike = Mapping[str, Any] | Prompt
"""What a processor returns, or a prompt that was read before."""


def read_prompt(
    model: PreTrainedModel, inputs: PromptLike, *, processor: Any = None, perceptual: Perceptual = None
) -> Prompt:
    """Check a model and its inputs, and read what every other function of this package needs of them.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model of transformers, in eval mode.
    inputs : mapping or Prompt
        What a processor returns, batches padded on the left; or a prompt, which is returned.
    processor : object, optional
        Gives token labels and encodes phrases.
    perceptual : Tensor or mapping of str to Tensor, optional
        ``[B, T]`` masks of perceptual positions instead of the placeholders.

    Returns
    -------
    Prompt

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute; for a prompt that was read for another model, or with another mask.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> prompt = lime_xai.read_prompt(model, inputs, processor=processor)
    >>> for method in ("attnlrp", "cplrp"):  # the vision tower runs once
    ...     print(method, f"{lime_xai.attribute(model, prompt, 'heart', method=method).shares['image'].item():.1f}")
    attnlrp 0.3
    cplrp 0.5
    """
    check_processor(processor)
    check_arguments(read_prompt, perceptual=perceptual)
    if isinstance(inputs, Prompt):
        return _again(model, inputs, processor, perceptual)
    replayer = checked_replayer(model)
    ids = check_inputs(model, inputs)
    check_mask_length(model, inputs)
    mask = inputs.get("attention_mask")
    if mask is None and "input_ids" in inputs:
        mask = mask_from_padding(ids, model.generation_config)
    positions = read_positions(model.config, ids, mask, perceptual)
    check_padding(positions.attended)
    if "input_ids" in inputs:
        masks = positions.modalities if perceptual is None else modality_masks(model.config, ids)
        check_placeholders(model, inputs, masks)
    return Prompt(replayer, inputs, positions, processor)


def _again(model: PreTrainedModel, prompt: Prompt, processor: Any, perceptual: Perceptual) -> Prompt:
    if prompt.model is not model:
        raise ValueError(f"The prompt was read for another {type(prompt.model).__name__}; read it for this model.")
    if perceptual is not None:
        raise ValueError("perceptual= is given for a prompt that was read before; give it to read_prompt.")
    check_mode(model)
    check_devices(model, prompt.inputs)
    return prompt if processor is None else replace(prompt, processor=processor)
