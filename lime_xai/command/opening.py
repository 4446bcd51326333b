"""What ``attribute`` and ``steer`` do before they compute: read files, load the model, build and read the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.model.chat import Request, check_modalities, make_inputs, placed, tokenizer_of, with_markers
from lime_xai.model.images import read_image
from lime_xai.model.prompt import Prompt, read_prompt
from lime_xai.model.sounds import Sound, heard_sound, read_sound, sampling_rate, split_sound

from .estimate import announcement
from .loading import check_device, find_checkpoint, load_model
from .screen import notice

LONG = 4096
"""Tokens of a prompt from which its length is announced."""


@dataclass(frozen=True)
class Asked:
    """What the options of a command say about model and prompt, as given."""

    model: str
    prompt: str
    system: str | None
    images: Sequence[Path]
    audios: Sequence[Path]
    device: str | None
    dtype: str
    split_audio: bool = False
    other_images: Sequence[Path] = ()
    other_audios: Sequence[Path] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it for a report."""
        lists = {
            "images": self.images,
            "audios": self.audios,
            "counterfactual_images": self.other_images,
            "counterfactual_audios": self.other_audios,
        }
        files = {name: list(map(str, paths)) for name, paths in lists.items()}
        split = {"split_audio": True} if self.split_audio else {}
        return {"model": self.model, "prompt": self.prompt, "system": self.system, **files, **split}


@dataclass(frozen=True)
class Opened:
    """A model with a prompt that was checked and read.

    Attributes
    ----------
    model, processor : object
        As loaded.
    prompt : Prompt
        One row.
    pictures : list of PIL.Image
        As the model's processor got them.
    counterfactual : Prompt or None
        The same text with other pictures and sounds.
    """

    model: Any
    processor: Any
    prompt: Prompt
    pictures: list[Any]
    counterfactual: Prompt | None = None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the processor."""
        return tokenizer_of(self.processor)


def open_prompt(asked: Asked) -> Opened:
    """Read files, load the model, and read the prompt; nothing is computed.

    Raises
    ------
    ValueError, TypeError, OSError
        For a device, file, model or prompt that cannot be used.
    """
    check_device(asked.device)
    check_counterfactual_files(asked)
    found = find_checkpoint(asked.model)
    pictures = [read_image(path, notice) for path in asked.images]
    model, processor = load_model(found, asked.device, asked.dtype)
    return ask(model, processor, asked, pictures)


def ask(model: Any, processor: Any, asked: Asked, pictures: list[Any]) -> Opened:
    """Read a prompt for a loaded model; ``pictures`` are its images, read before.

    Raises
    ------
    ValueError, TypeError, OSError
        For a file or prompt that cannot be used.
    """
    check_modalities(model, processor, Request(asked.prompt, asked.system, asked.images, asked.audios))
    others = [read_image(path, notice) for path in asked.other_images]
    parts, other_parts = (
        [_heard(path, processor, asked.split_audio) for path in paths] for paths in (asked.audios, asked.other_audios)
    )

    def read(pictures: Sequence[Any], parts: Sequence[Sequence[Any]]) -> Prompt:
        text = with_markers(asked.prompt, [len(sounds) for sounds in parts])
        sounds = [sound for some in parts for sound in some]
        inputs = make_inputs(model, processor, Request(text, asked.system, pictures, sounds))
        return read_prompt(model, placed(inputs, model), processor=processor)

    prompt = read(pictures, parts)
    other = read(others or pictures, other_parts or parts) if others or other_parts else None
    if prompt.positions.length >= LONG:
        notice(announcement(prompt))
    return Opened(model, processor, prompt, pictures, other)


def check_counterfactual_files(asked: Asked) -> None:
    """Refuse files of a counterfactual that are not one for each file of the prompt.

    Raises
    ------
    ValueError
        With both numbers.
    """
    for name, own, others in (
        ("image", asked.images, asked.other_images),
        ("audio", asked.audios, asked.other_audios),
    ):
        if others and len(others) != len(own):
            raise ValueError(
                f"{len(others)} --counterfactual-{name} and {len(own)} --{name} files are given; give one in place of "
                "each, in the same order."
            )


def _heard(path: Path, processor: Any, split: bool) -> list[Sound]:
    """Return a sound file, or its parts, each of which the processor hears whole.

    Raises
    ------
    ValueError
        As ``read_sound``, ``check_heard`` and ``split_sound``.
    """
    if not split:
        return [heard_sound(path, processor, notice)]
    parts = split_sound(read_sound(path, sampling_rate(processor)), processor)
    if len(parts) > 1:
        seconds = len(parts[0]) / sampling_rate(processor)
        notice(f"{path} is given as {len(parts)} sounds of {seconds:g} s; times count from the beginning of each.")
    return parts
