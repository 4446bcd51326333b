"""Another medium for an item's prompt: a grey picture, silence, or the picture with noise on its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.evaluation.against import NOISE_STEP, Medium
from lime_xai.model.perception import signals
from lime_xai.model.prompt import Prompt, read_prompt

from .asking import Asking, Media, Say, item_media, media_prompt
from .protocol import Item

GREY = (127, 127, 127)
"""Colour of a picture in which there is nothing."""


def other_prompt(
    model: PreTrainedModel, processor: Any, asking: Asking, item: Item, prompt: Prompt, medium: Medium, note: Say
) -> Prompt:
    r"""Return the prompt of an item with another medium of the same size.

    Parameters
    ----------
    model, processor : object
        As ``from_pretrained`` returns them.
    asking : Asking
        What is asked; its seed, with the item's name, fixes the noise.
    item : Item
        One that ``System.check_item`` takes.
    prompt : Prompt
        Of the item itself.
    medium : {"nothing", "noise"}
        ``nothing``: pictures in one grey, and digital silence. ``noise``: the processor's pixels :math:`x` become
        :math:`\sqrt{\bar a} x + \sqrt{1 - \bar a} e`, with standard normal :math:`e` and :math:`\bar a` of
        ``kept_share``. A picture that the processor repeats in the frames of a patch, as that of Qwen2-VL does, has
        the same noise in each.
    note : callable
        As ``item_prompt`` takes it.

    Raises
    ------
    ValueError
        As ``item_prompt``; for a processor that returns no pixels as numbers, or frames in an unknown order.
    """
    if medium == "nothing":
        return media_prompt(model, processor, asking, item, _nothing(item_media(item, processor, note)))
    found = signals(prompt.inputs)
    if not found:
        raise ValueError(
            f"{item.place or item.id}: {type(processor).__name__} returns no pixels as numbers (found "
            f"{', '.join(prompt.inputs)}); use contrast_nothing."
        )
    frames = _frames(processor)
    unknown = [name for name, pixels in found.items() if _repeated(pixels, frames) is None]
    if unknown:
        raise ValueError(
            f"{item.place or item.id}: {type(processor).__name__} makes patches of {frames} frames, and where a frame "
            f"lies in {unknown[0]} {list(found[unknown[0]].shape)} is not known; use contrast_nothing."
        )
    generator = torch.Generator().manual_seed(asking.decoding.seed_of(item))
    noisy = {name: _noisy(pixels, frames, generator) for name, pixels in found.items()}
    return read_prompt(model, {**prompt.inputs, **noisy}, processor=processor)


def kept_share(step: int = NOISE_STEP) -> float:
    r"""Return the share of variance that a picture keeps after some of 1,000 diffusion steps.

    :math:`\bar a_t = \prod_{s \le t} (1 - b_s)` with
    :math:`b_s = \sigma(-6 + 12 s / 999) (.005 - 10^{-5}) + 10^{-5}`, the schedule of visual contrastive decoding
    (Leng et al., CVPR 2024).

    Examples
    --------
    >>> round(kept_share(500), 2), round(kept_share(999), 2)
    (0.75, 0.08)
    """
    rates = torch.linspace(-6, 6, 1000, dtype=torch.float64).sigmoid() * (5e-3 - 1e-5) + 1e-5
    return float((1 - rates)[: step + 1].prod())


def _nothing(media: Media) -> Media:
    """Return grey pictures and silent sounds of the same sizes."""
    pictures, sounds = media
    return [Image.new("RGB", picture.size, GREY) for picture in pictures], [np.zeros_like(sound) for sound in sounds]


def _frames(processor: Any) -> int:
    """Return in how many frames of a patch a processor repeats a still picture."""
    frames: int = getattr(getattr(processor, "image_processor", None), "temporal_patch_size", 1)
    return frames


def _repeated(pixels: Tensor, frames: int) -> tuple[int, ...] | None:
    """Return the shape of pixels with the frames of a patch as the last axis but one; None if they are not repeated.

    In a patch colours lie before frames (Qwen2-VL), or frames before colours.
    """
    if frames == 1:
        return (*pixels.shape[:-1], 1, pixels.shape[-1])
    for colours in (3, 1):
        rest, left = divmod(pixels.shape[-1], colours * frames)
        shape = (*pixels.shape[:-1], colours, frames, rest)
        if not left and bool((split := pixels.reshape(shape)).eq(split[..., :1, :]).all()):
            return shape
    return None


def _noisy(pixels: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """Return pixels with noise, the same in all frames of a patch."""
    shape, kept = _repeated(pixels, frames), kept_share()
    if shape is None:
        raise RuntimeError("Frames were not checked.")
    noise = torch.randn((*shape[:-2], 1, shape[-1]), generator=generator, dtype=torch.float32)
    noise = noise.expand(shape).reshape(pixels.shape)
    mixed: Tensor = kept**0.5 * pixels.float() + (1 - kept) ** 0.5 * noise.to(pixels.device)
    return mixed.to(pixels.dtype)
