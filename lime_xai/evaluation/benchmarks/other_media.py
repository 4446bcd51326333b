"""Another medium for an item's prompt: a grey picture, silence, or the picture with noise on its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from transformers import PreTrainedModel

from lime_xai.evaluation.against import Medium
from lime_xai.model.prompt import Prompt, read_prompt

from .asking import Asking, Media, Say, item_media, media_prompt
from .noise import noisy_pixels
from .protocol import Item

GREY = (127, 127, 127)
"""Colour of a picture in which there is nothing."""


def other_prompt(
    model: PreTrainedModel, processor: Any, asking: Asking, item: Item, prompt: Prompt, medium: Medium, note: Say
) -> Prompt:
    """Return the prompt of an item with another medium of the same size.

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
        ``nothing``: pictures in one grey, and digital silence. ``noise``: the processor's pixels with noise, as
        ``noisy_pixels`` makes it.
    note : callable
        As ``item_prompt`` takes it.

    Raises
    ------
    ValueError
        As ``item_prompt`` and ``check_noise``.
    """
    if medium == "nothing":
        return media_prompt(model, processor, asking, item, _nothing(item_media(item, processor, note)))
    try:
        noisy = noisy_pixels(processor, prompt.inputs, asking.decoding.seed_of(item))
    except ValueError as error:
        raise ValueError(f"{item.place or item.id}: {error}") from error
    return read_prompt(model, {**prompt.inputs, **noisy}, processor=processor)


def _nothing(media: Media) -> Media:
    """Return grey pictures and silent sounds of the same sizes."""
    pictures, sounds = media
    return [Image.new("RGB", picture.size, GREY) for picture in pictures], [np.zeros_like(sound) for sound in sounds]
