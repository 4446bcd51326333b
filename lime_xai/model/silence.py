"""The same prompt with silence in place of its sounds: what a model hears when nothing sounds, for as long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .layouts.layout import SoundLayout
from .modalities import modality_masks
from .perception import signals
from .sounds import sampling_rate, takes_sounds

if TYPE_CHECKING:
    from .prompt import Prompt

_HINT = "Use another replacement: 'deletion', 'mean', 'blur' or 'zero'."


def silent_inputs(prompt: Prompt) -> dict[str, Any]:
    """Return the inputs of a prompt whose sounds are zeros of the same length; no model runs.

    The processor makes them as it made those of the prompt. What it returns is used only if it has the same shapes,
    masks and number of audio tokens; otherwise it is not known how the sounds were made.

    Parameters
    ----------
    prompt : Prompt
        Read with its processor.

    Returns
    -------
    dict
        As ``prompt.inputs``, the sounds exchanged; ids, masks and pictures are the same objects.

    Raises
    ------
    ValueError
        If the prompt has no sounds or no processor, or the family's sounds cannot be made again from these.
    """
    mask = prompt.positions.modalities.get("audio")
    if mask is None or not bool(mask.any()):
        held = ", ".join(prompt.positions.modalities) or "text only"
        raise ValueError(
            f"The replacement 'silence' needs a sound, and the prompt has none (it holds: {held}). {_HINT}"
        )
    if not any(hasattr(prompt.processor, name) for name in ("feature_extractor", "audio_processor")):
        given = "no processor" if prompt.processor is None else f"{type(prompt.processor).__name__}, which takes none"
        raise ValueError(
            f"The replacement 'silence' needs the processor that made the sounds of the prompt; found {given}. Pass "
            "processor= to attribute, compare_attributions or read_prompt."
        )
    counts = _sample_counts(prompt)
    if not takes_sounds(prompt.processor):
        raise _unknown(prompt, f"{type(prompt.processor).__name__} takes no sound beside a text in one call")
    tokens = int(mask.sum())
    place = prompt.processor.audio_token
    found, reason = _made(prompt, counts, tokens, [place] * len(counts), padding=True)
    if not found:  # some processors pad sounds otherwise where texts are padded too
        found, _ = _made(prompt, counts, tokens, [place * len(counts)])
    if not found:
        raise _unknown(prompt, reason)
    return {**prompt.inputs, **found}


def _unknown(prompt: Prompt, reason: str) -> ValueError:
    name = type(prompt.model).__name__
    return ValueError(f"The sounds of this prompt of {name} cannot be made again as silence: {reason}. {_HINT}")


def _sample_counts(prompt: Prompt) -> list[int]:
    """Return the samples of every sound of the batch, in order, known to a hop of the feature extractor."""
    seconds: list[float] = []
    for layouts in prompt.layouts:
        for layout in layouts:
            if layout.modality != "audio":
                continue
            if not isinstance(layout, SoundLayout) or layout.duration is None:
                reason = getattr(layout, "reason", "") or "the processor does not tell the length of a feature frame"
                raise _unknown(prompt, f"how long they are is not known, because {reason}")
            seconds.append(layout.duration)
    rate = sampling_rate(prompt.processor)
    return [round(duration * rate) for duration in seconds]


def _made(
    prompt: Prompt, counts: list[int], tokens: int, text: list[str], **padding: bool
) -> tuple[dict[str, Tensor], str]:
    """Return the signals that the processor makes of silence; none, and why, if they are not as those of the prompt."""
    processor: Any = prompt.processor
    zeros, rate = [np.zeros(count, np.float32) for count in counts], sampling_rate(processor)
    try:
        found = processor(text=text, audio=zeros, sampling_rate=rate, return_tensors="pt", **padding)
    except ValueError as error:  # it takes one sound per text, or no two of different length without padding
        return {}, f"the processor refuses {len(zeros)} sounds for {len(text)} texts ({error})"
    ids = found["input_ids"]
    made = int(modality_masks(prompt.model.config, ids)["audio"].sum())
    if made != tokens:
        return {}, f"the processor makes {made} audio tokens of sounds as long, the prompt has {tokens}"
    result: dict[str, Tensor] = {}
    for name, value in found.items():
        if not isinstance(value, Tensor) or (value.shape == ids.shape and name not in signals(found)):
            continue  # of the text
        own = prompt.inputs.get(name)
        if not isinstance(own, Tensor) or own.shape != value.shape:
            has = list(own.shape) if isinstance(own, Tensor) else "none"
            return {}, f"the processor makes {name} {list(value.shape)} of sounds as long, the inputs have {has}"
        if name in signals(found):
            result[name] = value.to(own)
        elif not torch.equal(own.cpu().to(value.dtype), value):
            return {}, f"the processor makes another {name} of sounds as long"
    return result, "the processor makes no features of a sound"
