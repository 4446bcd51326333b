"""Recordings with the names of what sounds, from Debian's ``tuxpaint-stamps-default`` (GPL-2).

The package has a sound for some of its pictures. Taken are those whose caption names one common noun that is one token
of SmolLM2. Left out are silent files, copies of other recordings, spoken words and letters, and sounds whose name is no
thing that makes them. Nobody here listened to them: that a sound is of what the caption of its picture names is taken
from the package.

Most classes have one recording. So training and evaluation mix the same ones, and what is measured is recognising known
recordings in other mixtures, not new sounds of a known kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs.catalogue import check_caption, check_there, digest_of
from lime_xai.model.sounds import read_sound

RATE: Final = 16_000
"""Samples per second, as Whisper takes them."""
Samples = NDArray[np.float32]

_BIRDS, _MAMMALS, _HOUSE = "animals/birds", "animals/mammals", "household"
FILES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "bear": (f"{_MAMMALS}/bears/bear.ogg",),
        "bee": ("animals/insects/bee.ogg",),
        "bottle": (f"{_HOUSE}/dishes/bottle.ogg",),
        "bull": (f"{_MAMMALS}/bovines/bull.ogg",),
        "camel": (f"{_MAMMALS}/camel/camel.ogg", f"{_MAMMALS}/camel/dromedary.ogg"),
        "camera": ("hobbies/camera_35mm.ogg",),
        "cat": ("seasonal/halloween/blackcat.ogg",),
        "chicken": (f"{_BIRDS}/hen.ogg", f"{_BIRDS}/rooster.ogg"),
        "chimpanzee": (f"{_MAMMALS}/apes/chimp.ogg",),
        "cow": (f"{_MAMMALS}/bovines/cow.ogg", f"{_MAMMALS}/bovines/cow_white.ogg"),
        "crow": (f"{_BIRDS}/crow.ogg",),
        "deer": (f"{_MAMMALS}/deer/deer.ogg", f"{_MAMMALS}/deer/doe.ogg", f"{_MAMMALS}/deer/caribou.ogg"),
        "dog": (f"{_MAMMALS}/dogs/dog.ogg",),
        "dolphin": (f"{_MAMMALS}/aquatic/dolphin.ogg",),
        "donkey": (f"{_MAMMALS}/equines/donkey.ogg",),
        "drum": (
            "hobbies/music/percussion/drum_tomtom_floor.ogg",
            "hobbies/music/percussion/drumkit.ogg",
        ),
        "duck": (f"{_BIRDS}/duck.ogg", f"{_BIRDS}/drake.ogg"),
        "elephant": (f"{_MAMMALS}/elephant.ogg",),
        "fox": (f"{_MAMMALS}/dogs/fox.ogg",),
        "frog": ("animals/amphibians/frog.ogg",),
        "ghost": ("seasonal/halloween/ghost.ogg",),
        "goat": (f"{_MAMMALS}/bovines/goat.ogg",),
        "gorilla": (f"{_MAMMALS}/apes/gorilla.ogg",),
        "horse": (f"{_MAMMALS}/equines/horse.ogg",),
        "lion": (f"{_MAMMALS}/cats/lion.ogg",),
        "mouse": (f"{_MAMMALS}/rodents/mouse.ogg",),
        "owl": (f"{_BIRDS}/owl.ogg",),
        "penguin": (f"{_BIRDS}/penguin.ogg",),
        "pig": (f"{_MAMMALS}/pig.ogg", f"{_MAMMALS}/pig_golden.ogg", f"{_MAMMALS}/pig_golden2.ogg"),
        "rabbit": (f"{_MAMMALS}/rodents/rabbit.ogg",),
        "saw": (f"{_HOUSE}/tools/saw.ogg",),
        "sheep": (f"{_MAMMALS}/bovines/sheep.ogg", f"{_MAMMALS}/bovines/sheep_lamb.ogg"),
        "squirrel": (f"{_MAMMALS}/rodents/squirrel.ogg",),
        "tiger": (f"{_MAMMALS}/cats/tiger.ogg",),
        "toilet": (f"{_HOUSE}/toilet.ogg",),
        "truck": ("vehicles/emergency/firetruck.ogg",),
        "turkey": (f"{_BIRDS}/turkey.ogg",),
        "violin": ("hobbies/music/string/violin.ogg",),
        "whale": (f"{_MAMMALS}/aquatic/whale.ogg",),
        "zebra": (f"{_MAMMALS}/equines/zebra.ogg",),
    }
)
"""Files of each class, below the folder ``stamps`` of the package."""

CLASSES: Final = tuple(FILES)
"""Names of the classes: English nouns, each one token of SmolLM2 when a space precedes it."""

OTHER_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "camel": ("dromedary",),
        "chicken": ("hen", "rooster"),
        "deer": ("doe", "caribou"),
        "duck": ("drake",),
    }
)
"""Words by which captions of the package call a class other than by its name."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording.

    Attributes
    ----------
    file : str
        Path below the folder of the stamps.
    sha256 : str
        Of the file.
    samples : numpy.ndarray
        Mono at 16 kHz, float32 of shape [N].
    """

    file: str
    sha256: str
    samples: Samples


@dataclass(frozen=True, eq=False)
class Recordings:
    """The recordings of all classes.

    Attributes
    ----------
    names : tuple of str
        Of the classes; clips count classes in this order.
    takes : tuple of tuple of Recording
        At least one per class.

    Raises
    ------
    ValueError
        If a class has no recording, or names and recordings are not equally many.
    """

    names: tuple[str, ...]
    takes: tuple[tuple[Recording, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.takes) or not all(self.takes):
            raise ValueError(f"{len(self.names)} names for recordings of {len(self.takes)} classes; give each some")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, files and their hashes, in order."""
        return digest_of(self.names, self.takes)


def recordings(stamps: Path) -> Recordings:
    """Read the recordings of ``CLASSES``.

    Parameters
    ----------
    stamps : Path
        ``usr/share/tuxpaint/stamps`` of the unpacked package.

    Raises
    ------
    FileNotFoundError
        If files are missing; names some of them.
    ValueError
        If a file is no sound, or its caption names something else.
    """
    check_there(stamps, FILES, "benchmarks.recordings")
    return Recordings(CLASSES, tuple(tuple(_read(stamps, name, file) for file in FILES[name]) for name in CLASSES))


def _read(stamps: Path, name: str, file: str) -> Recording:
    check_caption(stamps, file, name, OTHER_WORDS.get(name, ()))
    digest = hashlib.sha256((stamps / file).read_bytes()).hexdigest()
    return Recording(file, digest, read_sound(stamps / file, RATE))
