"""The prompt whose cost ``lime-xai reproduce cost`` measures: a user's, a world's example, or noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lime_xai.model.chat import Request, make_inputs, placed
from lime_xai.model.images import read_image
from lime_xai.model.modalities import placeholder_ids
from lime_xai.model.sounds import heard_sound, sampling_rate
from lime_xai.worlds import WORLDS, load_world

from .screen import notice

SIDE, SECONDS = 336, 5
"""Pixels of a side of the picture of noise, and length of the sound."""

QUESTION = "Describe this in detail."
"""What is asked by default; the answer's length is fixed, whatever it says."""


@dataclass(frozen=True)
class CostPrompt:
    """What the options say, as given."""

    text: str | None = None
    images: Sequence[Path] = ()
    audios: Sequence[Path] = ()


def cost_inputs(name: str, model: Any, processor: Any, asked: CostPrompt) -> tuple[dict[str, Any], str]:
    """Return inputs on the model's device, and what they are.

    Parameters
    ----------
    name : str
        Of the model, as given; a world's bundled model is asked the world's example by default.
    model, processor : object
        As loaded.
    asked : CostPrompt
        Without files: the world's example, or noise for the first of image and sound that the model takes.

    Raises
    ------
    ValueError, OSError
        For files or a prompt that the model does not take.
    """
    text = QUESTION if asked.text is None else asked.text
    if asked.images or asked.audios:
        pictures = [read_image(path, notice) for path in asked.images]
        sounds = [heard_sound(path, processor, notice) for path in asked.audios]
        files = ", ".join(str(path) for path in (*asked.images, *asked.audios))
        request, what = Request(text, images=pictures, sounds=sounds), files
    elif name in WORLDS:
        world = load_world(name)
        made = world.evaluation_set(seed=900, scenes=1)
        prompt = made.caption_prompt if asked.text is None else world.prompt(asked.text)
        inputs = placed(world.batch(processor, list(made.media), [prompt]), model)
        return inputs, _described(f"the example of the world {name!r}", inputs)
    else:
        request, what = _noise(model, processor, text)
    inputs = placed(make_inputs(model, processor, request), model)
    return inputs, _described(what, inputs)


def _described(what: str, inputs: dict[str, Any]) -> str:
    return f"{what}, {inputs['input_ids'].shape[1]} tokens"


def _noise(model: Any, processor: Any, text: str) -> tuple[Request, str]:
    """Return a request about noise, drawn with seed 0."""
    known, rng = placeholder_ids(model.config), np.random.default_rng(0)
    if "image" in known:
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        return Request(text, images=[Image.fromarray(pixels)]), f"a picture of noise, {SIDE} x {SIDE} pixels"
    if "audio" in known:
        samples = rng.normal(0, 0.1, SECONDS * sampling_rate(processor)).astype(np.float32)
        return Request(text, sounds=[samples]), f"a sound of noise, {SECONDS} s"
    raise ValueError(
        f"{type(model).__name__} takes neither images nor sounds: its config has no placeholder for them; policies "
        "have nothing to act on, so that their cost is not known."
    )
