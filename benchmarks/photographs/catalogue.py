"""Named cut-outs: photographed objects on a transparent ground, from Debian's ``tuxpaint-stamps-default`` (GPL-2).

The stamps are read where the package was unpacked, and are never copied into this repository. Most stamps are no use
here: cartoons, letters, mirrored copies, objects whose name is no common noun. So the classes are a list, made by
looking at every stamp. A class takes every photograph of a usable size that a person calls so. When a stamp is read,
its caption must contain the name of its class, or one of a few listed other words.

There is no flower and no tree among the classes: the photographs behind the objects show some.

Few classes have several photographs, and training and evaluation draw from the same ones. What is measured with them
is recognising known objects at other places, sizes, sides, colours and backgrounds, not new objects of a known class.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

PACKAGE: Final = "tuxpaint-stamps-default"
SHORTEST_SIDE: Final = 60
"""Pixels that the shorter side of a stamp must have."""
CLEAR_SHARE, SOLID_SHARE = 0.1, 0.08
"""Least shares of a stamp's pixels that are transparent (alpha below 26) and opaque (alpha above 229)."""
_CLEAR, _SOLID = 26, 229

FILES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "airplane": ("vehicles/flight/planes/747.png",),
        "ball": ("sports/soccer.png", "sports/tennis_ball.png", "sports/cricketball.png", "sports/basketball.png"),
        "balloon": ("vehicles/flight/balloon360.png",),
        "bear": ("animals/mammals/bears/bear.png", "animals/mammals/bears/european-bear.png"),
        "bus": ("vehicles/masstransit/green_korean_bus.png",),
        "camel": ("animals/mammals/camel/camel.png", "animals/mammals/camel/dromedary.png"),
        "camera": ("hobbies/camera_35mm.png",),
        "candle": ("seasonal/candle.png",),
        "car": ("vehicles/auto/sedan.png", "vehicles/auto/sportscar2.png", "vehicles/race/indycar.png"),
        "chicken": ("animals/birds/chicken_profile.png", "animals/birds/hen.png", "animals/birds/rooster.png"),
        "cow": ("animals/mammals/bovines/cow.png", "animals/mammals/bovines/cow_white.png"),
        "deer": (
            "animals/mammals/deer/deer.png",
            "animals/mammals/deer/doe.png",
            "animals/mammals/deer/wapiti.png",
            "animals/mammals/deer/caribou.png",
        ),
        "dog": ("animals/mammals/dogs/dog.png",),
        "dolphin": ("animals/mammals/aquatic/dolphin.png",),
        "drum": ("hobbies/music/percussion/drum_tomtom_floor.png",),
        "duck": ("animals/birds/duck.png", "animals/birds/drake.png"),
        "elephant": ("animals/mammals/elephant.png",),
        "fish": (
            "animals/fish/butterflyfish.png",
            "animals/fish/clownfish.png",
            "animals/fish/dolphinfish.png",
            "animals/fish/stripedfish.png",
        ),
        "fox": ("animals/mammals/dogs/fox.png",),
        "frog": ("animals/amphibians/frog.png", "animals/amphibians/frog-1.png"),
        "giraffe": ("animals/mammals/giraffe.png",),
        "gorilla": ("animals/mammals/apes/gorilla.png",),
        "guitar": (
            "hobbies/music/string/guitar2.png",
            "hobbies/music/string/guitar_classical.png",
            "hobbies/music/string/guitar_electric.png",
            "hobbies/music/string/guitar_electric_bass.png",
        ),
        "hammer": ("household/tools/hammer.png",),
        "horse": ("animals/mammals/equines/horse.png",),
        "kangaroo": ("animals/marsupials/kangaroo.png",),
        "kettle": ("household/kettle.png",),
        "lemon": ("food/fruit/lemon.png",),
        "lion": ("animals/mammals/cats/lion.png", "animals/mammals/cats/lion-2.png"),
        "mushroom": ("plants/mushrooms/cep.png", "plants/mushrooms/cep-1.png", "plants/mushrooms/cep-2.png"),
        "owl": ("animals/birds/owl.png",),
        "penguin": (
            "animals/birds/penguin.png",
            "animals/birds/little-penguin.png",
            "animals/birds/magellanic_penguin.png",
        ),
        "pig": ("animals/mammals/pig.png", "animals/mammals/pig_golden.png", "animals/mammals/pig_golden2.png"),
        "pineapple": ("food/fruit/pineapple.png",),
        "rabbit": (
            "animals/mammals/rabbit_little.png",
            "animals/mammals/rodents/rabbit.png",
            "animals/mammals/rodents/rabbit-2.png",
        ),
        "sheep": ("animals/mammals/bovines/sheep.png", "animals/mammals/bovines/sheep_lamb.png"),
        "ship": ("vehicles/ship/chineseJunk.png",),
        "squirrel": ("animals/mammals/rodents/squirrel.png",),
        "strawberry": ("food/fruit/Strawberry2.png",),
        "tiger": ("animals/mammals/cats/tiger.png", "animals/mammals/cats/tiger_sumatran.png"),
        "toilet": ("household/toilet.png",),
        "toolbox": ("household/tools/toolbox.png",),
        "truck": ("vehicles/auto/truck.png", "vehicles/emergency/firetruck.png", "vehicles/garbagetruck.png"),
        "trumpet": ("hobbies/music/brass/trumpet.png",),
        "violin": ("hobbies/music/string/violin.png",),
        "whale": ("animals/mammals/aquatic/whale.png",),
        "wrench": ("household/tools/wrench.png", "household/tools/wrench_plumbers.png"),
        "zebra": ("animals/mammals/equines/zebra.png",),
    }
)
"""Files of each class, below the folder ``stamps`` of the package."""

CLASSES: Final = tuple(FILES)
"""Names of the classes: English nouns, each one token of SmolLM2 when a space precedes it."""

OTHER_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ball": ("basketball",),
        "camel": ("dromedary",),
        "chicken": ("hen", "rooster"),
        "deer": ("doe", "wapiti", "caribou"),
        "duck": ("drake",),
        "fish": ("butterflyfish", "clownfish", "dolphinfish"),
        "mushroom": ("cep",),
    }
)
"""Words by which captions of the package call a class other than by its name."""

DIGEST: Final = "4befbe1b83073a28d195c9806d5e0166e9da19cf07cdd056989b0f0ab871f8b6"
"""Of the catalogue that version 2022.06.04-1 of the package gives."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """One photograph of an object.

    Attributes
    ----------
    file : str
        Path below the folder of the stamps.
    sha256 : str
        Of the file.
    pixels : numpy.ndarray
        RGBA, uint8 of shape [H, W, 4], cropped to what is not transparent.
    """

    file: str
    sha256: str
    pixels: NDArray[np.uint8]

    @cached_property
    def alpha(self) -> NDArray[np.uint8]:
        """Opacity, uint8 of shape [H, W]."""
        return np.ascontiguousarray(self.pixels[..., 3])

    @property
    def aspect(self) -> float:
        """Width over height."""
        height, width = self.pixels.shape[:2]
        return float(width / height)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The cut-outs of all classes.

    Attributes
    ----------
    names : tuple of str
        Of the classes; scenes count classes in this order.
    cutouts : tuple of tuple of CutOut
        At least one per class.

    Raises
    ------
    ValueError
        If a class has no cut-out, or names and cut-outs are not equally many.
    """

    names: tuple[str, ...]
    cutouts: tuple[tuple[CutOut, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.cutouts):
            raise ValueError(f"{len(self.names)} names for the cut-outs of {len(self.cutouts)} classes; give one each")
        for name, cutouts in zip(self.names, self.cutouts, strict=True):
            if not cutouts:
                raise ValueError(f"class {name!r} has no cut-out; give at least one")

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file that is used, by its path."""
        return {cutout.file: cutout.sha256 for cutouts in self.cutouts for cutout in cutouts}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, files and their hashes, in order."""
        return digest_of(self.names, self.cutouts)


class StampFile(Protocol):
    """A file of the package."""

    @property
    def file(self) -> str:
        """Path below the folder of the stamps."""

    @property
    def sha256(self) -> str:
        """Of the file."""


def digest_of(names: Sequence[str], files: Sequence[Sequence[StampFile]]) -> str:
    """Return the SHA-256 over names of classes, their files and the hashes of these, in order."""
    lines = (f"{name}\0{one.file}\0{one.sha256}\n" for name, some in zip(names, files, strict=True) for one in some)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_there(stamps: Path, files: Mapping[str, Sequence[str]], package: str) -> None:
    """Refuse a folder of stamps that lacks files of classes, or their captions.

    Parameters
    ----------
    stamps : Path
        ``usr/share/tuxpaint/stamps`` of the unpacked package.
    files : mapping of str to sequence of str
        Paths below it by class.
    package : str
        Whose command ``parts`` downloads them.

    Raises
    ------
    FileNotFoundError
        Names up to five that are missing.
    """
    needed = [path for some in files.values() for file in some for path in (file, caption_of(file))]
    missing = [path for path in needed if not (stamps / path).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{stamps} lacks {len(missing)} of {len(needed)} files: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}; expected usr/share/tuxpaint/stamps of Debian's {PACKAGE}, "
            f"unpacked: run `python -m {package} parts`."
        )


def catalogue(stamps: Path) -> Catalogue:
    """Read the cut-outs of ``CLASSES``.

    Parameters
    ----------
    stamps : Path
        ``usr/share/tuxpaint/stamps`` of the unpacked package.

    Returns
    -------
    Catalogue
        The cut-outs.

    Raises
    ------
    FileNotFoundError
        If the folder or files are missing; names up to five of them.
    ValueError
        If a file is no RGBA picture of the least size with transparency, or its caption names something else.
    """
    check_there(stamps, FILES, "benchmarks.photographs")
    return Catalogue(CLASSES, tuple(tuple(read_cutout(stamps, name, file) for file in FILES[name]) for name in CLASSES))


def read_cutout(stamps: Path, name: str, file: str) -> CutOut:
    """Read a cut-out and check that it is one of this class.

    Parameters
    ----------
    stamps : Path
        Folder of the stamps.
    name : str
        Of the class.
    file : str
        Path below ``stamps``.

    Raises
    ------
    ValueError
        As ``catalogue``.
    """
    check_caption(stamps, file, name, OTHER_WORDS.get(name, ()))
    content = (stamps / file).read_bytes()
    try:
        with Image.open(stamps / file) as opened:
            opened.load()
            picture = opened.copy()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # what Pillow raises for damaged PNGs
        raise ValueError(f"{stamps / file} is no picture, or damaged ({error}); unpack {PACKAGE} again") from error
    if picture.mode != "RGBA":
        raise ValueError(f"{stamps / file} has the mode {picture.mode}; expected RGBA, colours with transparency")
    if min(picture.size) < SHORTEST_SIDE:
        raise ValueError(f"{stamps / file} has {picture.size} pixels; expected {SHORTEST_SIDE} on the shorter side")
    pixels = np.asarray(picture)
    clear, solid = (pixels[..., 3] < _CLEAR).mean(), (pixels[..., 3] > _SOLID).mean()
    if clear < CLEAR_SHARE or solid < SOLID_SHARE:
        raise ValueError(
            f"{stamps / file} is transparent in {clear:.0%} and opaque in {solid:.0%} of its pixels; expected at least "
            f"{CLEAR_SHARE:.0%} and {SOLID_SHARE:.0%}, an object on a transparent ground"
        )
    return CutOut(file, hashlib.sha256(content).hexdigest(), cropped(pixels))


def cropped(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGBA picture [H, W, 4] without the rows and columns around the object (alpha below 26 throughout)."""
    there = pixels[..., 3] >= _CLEAR
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return np.ascontiguousarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def caption_of(file: str) -> str:
    """Return the file with the caption of a stamp; one language a line, English first."""
    return str(PurePosixPath(file).with_suffix(".txt"))


def check_caption(stamps: Path, file: str, name: str, others: Sequence[str]) -> None:
    """Refuse a stamp whose English caption names its class neither by its name nor by another word, plural or not.

    Raises
    ------
    ValueError
        Names the file and its caption.
    """
    caption = (stamps / caption_of(file)).read_text(encoding="utf-8").split("\n", 1)[0]
    words = (name, *others)
    if not any(re.search(rf"\b{word}s?\b", caption.lower()) for word in words):
        raise ValueError(f"{stamps / file} has the caption {caption!r}, which names no {name}; expected {words}")
