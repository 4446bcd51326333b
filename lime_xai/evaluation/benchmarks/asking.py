"""What a benchmark asks a model, read and checked before anything is computed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import PreTrainedModel

from lime_xai.generation.checks import (
    check_counterfactual,
    check_generation,
    check_modalities,
    check_perceptual,
    check_policies,
)
from lime_xai.model.chat import Request, make_inputs, placed
from lime_xai.model.images import read_image
from lime_xai.model.modalities import PERCEPTUAL, placeholder_ids
from lime_xai.model.prompt import Prompt, read_prompt
from lime_xai.model.sounds import Sound, heard_sound
from lime_xai.values.checking import Count, Seed, check_fields

from .answers import Answer
from .noise import check_noise
from .protocol import Item, Protocol, check_media
from .system import System

Say = Callable[[str], None]
Media = tuple[list[Image.Image], list[Sound]]
"""Pictures and sounds of an item, as a processor takes them."""


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes
    ----------
    max_new_tokens : int
        Of an answer at most.
    do_sample : bool
        Whether tokens are drawn; else the best one is taken.
    seed : int
        Every item has a seed of its own, made of this one and its name: the order of items does not matter.
    """

    max_new_tokens: Count
    do_sample: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def kwargs(self) -> dict[str, Any]:
        """What ``generate`` takes."""
        return {"max_new_tokens": self.max_new_tokens, "do_sample": self.do_sample}

    def seed_of(self, item: Item) -> int:
        """Return the seed of an item; it is the same for all policies."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{item.id}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Asking:
    """What is asked.

    Attributes
    ----------
    protocol : Protocol
        The benchmark.
    items : sequence of Item
        Its items.
    files : mapping of str to Path
        Its files, which are named by their hashes.
    decoding : Decoding
        How tokens are chosen.
    style : str, optional
        One of the protocol's prompts, by default the first.
    """

    protocol: Protocol
    items: Sequence[Item]
    files: Mapping[str, Path]
    decoding: Decoding
    style: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return what decides the answers besides the model, for the header.

        Raises
        ------
        ValueError
            For an unknown prompt.
        """
        style = next(iter(self.protocol.prompts)) if self.style is None else self.style
        self.protocol.prompt(self.items[0], style)  # refuses an unknown one
        return {
            "benchmark": self.protocol.name,
            "files": {name: file_hash(path) for name, path in sorted(self.files.items())},
            "prompt": {"style": style, "text": self.protocol.prompts[style]},
            "max_new_tokens": self.decoding.max_new_tokens,
            "do_sample": self.decoding.do_sample,
            "seed": self.decoding.seed,
        }


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return the first ``limit`` items of every group, in their order; all for None."""
    seen: Counter[str] = Counter()
    found = []
    for item in items:
        seen[item.group] += 1
        if limit is None or seen[item.group] <= limit:
            found.append(item)
    return found


def check_items(items: Sequence[Item]) -> None:
    """Refuse no items, two of one name, and missing files.

    Raises
    ------
    ValueError
        For no items, or two of one name.
    FileNotFoundError
        As ``check_media``.
    """
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if not items or twice:
        found = f"two items are named {twice[0]!r}" if twice else "there are no items"
        raise ValueError(f"The benchmark cannot be asked: {found}.")
    check_media(items)


def check_asked(
    model: PreTrainedModel, processor: Any, asking: Asking, named: Mapping[str, System], note: Say
) -> dict[str, Prompt]:
    """Refuse policies and items that do not fit the model; the first item with images, with sounds, ... is read.

    Returns
    -------
    dict of str to Prompt
        The prompts that were read, by the items' names.

    Raises
    ------
    ValueError
        Naming the item.
    """
    known = placeholder_ids(model.config)
    takes = " and ".join(["text", *(modality for modality in PERCEPTUAL if modality in known)])
    kinds: dict[tuple[bool, bool], Item] = {}
    for item in asking.items:
        for modality, files in (("image", item.images), ("audio", item.sounds)):
            if files and modality not in known:
                raise ValueError(
                    f"{item.place or item.id}: {type(model).__name__} takes {takes}; its config has no placeholder for "
                    f"{modality}, so this benchmark needs another model."
                )
        kinds.setdefault((bool(item.images), bool(item.sounds)), item)
    for name, system in named.items():
        check_policies(model, system.policies)
        try:
            check_counterfactual(system.policies, given=system.medium is not None)
        except ValueError as error:
            found = "does not say with what" if system.medium is None else f"has {system.medium!r} and no such branch"
            raise ValueError(
                f"The policy {name} {found}: a contrast with another picture or sound of each item is "
                "contrast_nothing or contrast_noisy_pixels, in Python Against(Contrast('counterfactual'), 'nothing') "
                "or 'noise'."
            ) from error
        for item in asking.items:
            system.check_item(item)
    read = {}
    for item in kinds.values():
        prompt = read[item.id] = item_prompt(model, processor, asking, item, note)
        check_generation(model, {**prompt.inputs, **asking.decoding.kwargs})
        if any(system.policies for system in named.values()):
            check_perceptual(model, prompt.positions)
        for system in named.values():
            check_modalities(system.policies, prompt.positions)
        if any(system.medium == "noise" for system in named.values()):
            try:
                check_noise(processor, prompt.inputs)
            except ValueError as error:
                raise ValueError(f"{item.place or item.id}: {error}") from error
    return read


def item_prompt(model: PreTrainedModel, processor: Any, asking: Asking, item: Item, note: Say) -> Prompt:
    """Return the prompt of an item as the model takes it.

    Raises
    ------
    ValueError
        For a file that is damaged, or a text that cannot be given to the model; names the item.
    """
    return media_prompt(model, processor, asking, item, item_media(item, processor, note))


def item_media(item: Item, processor: Any, note: Say) -> Media:
    """Return the pictures and sounds of an item.

    Raises
    ------
    ValueError
        For a file that is damaged; names the item.
    """
    try:
        pictures = [read_image(path, note) for path in item.images]
        return pictures, [heard_sound(path, processor, note) for path in item.sounds]
    except ValueError as error:
        raise ValueError(f"{item.place or item.id}: {error}") from error


def media_prompt(model: PreTrainedModel, processor: Any, asking: Asking, item: Item, media: Media) -> Prompt:
    """Return the prompt of an item with given pictures and sounds.

    Raises
    ------
    ValueError
        For a text that cannot be given to the model; names the item.
    """
    pictures, sounds = media
    try:
        text = asking.protocol.prompt(item, asking.style)
        inputs = make_inputs(model, processor, Request(text, None, pictures, sounds))
        return read_prompt(model, placed(inputs, model), processor=processor)
    except ValueError as error:
        raise ValueError(f"{item.place or item.id}: {error}") from error


def check_same_media(items: Sequence[Item], answers: Iterable[Answer]) -> None:
    """Refuse answers about other images or sounds than those that are there now.

    Raises
    ------
    ValueError
        Naming the item.
    """
    named = {item.id: item for item in items}
    hashes: dict[Path, str] = {}
    for answer in answers:
        item = named.get(answer.id)
        if item is None:
            continue
        paths = (*item.images, *item.sounds)
        hashes |= {path: file_hash(path) for path in paths if path not in hashes}
        if tuple(hashes[path] for path in paths) != answer.media:
            raise ValueError(
                f"{item.place or item.id}: {', '.join(map(str, paths))} has changed since it was answered; restore it, "
                "or give another file of answers."
            )
