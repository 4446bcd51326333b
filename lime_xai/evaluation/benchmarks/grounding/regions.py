"""Regions that a question is about: pixels of a picture file, or stretches of time of a sound file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lime_xai.attribution.events import Event
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import DamagedFileError

Size = tuple[int, int]
"""Width and height in pixels."""


def upright_size(path: Path) -> Size:
    """Return width and height of a picture as a person sees it, turned as its EXIF orientation says.

    Raises
    ------
    ValueError
        If it cannot be read as an image.
    """
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (file.height, file.width) if turned else file.size
    except Exception as error:  # decoders raise errors of many classes for damaged files
        raise ValueError(f"{path} cannot be read as an image ({type(error).__name__}: {error}).") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return the region that a file of a mask holds, ``[H, W]`` bool.

    Parameters
    ----------
    path : Path
        An image of two colours, one of them black: pixels of the other are the region. Or a NumPy file (``.npy``) of
        an array ``[H, W]`` of bool, or of 0 and one other number.

    Raises
    ------
    DamagedFileError
        If it is neither, or no pixel is in the region.
    """
    found = _array(path) if path.suffix.lower() == ".npy" else _image(path)
    if not found.any():
        raise DamagedFileError(f"{path} has no pixel in the region; leave this question out, or give its mask.")
    return found


def _array(path: Path) -> NDArray[np.bool_]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DamagedFileError(f"{path} is no array of NumPy ({error}); expected one mask [H, W].") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "buif":
        raise DamagedFileError(f"{path} holds no mask [H, W] of numbers; expected bool, or 0 and one other number.")
    other = np.unique(values[values != 0])
    if len(other) > 1:
        raise DamagedFileError(f"{path} has {len(other) + 1} different values; expected 0 and one other.")
    return np.asarray(values != 0)


def _image(path: Path) -> NDArray[np.bool_]:
    try:
        with Image.open(path) as file:
            transparent = file.has_transparency_data
            upright = ImageOps.exif_transpose(file)
            wide = upright.mode.startswith("I") or upright.mode == "F"
            values = np.asarray(upright if wide else upright.convert("RGB"))
    except Exception as error:  # decoders raise errors of many classes for damaged files
        raise DamagedFileError(f"{path} cannot be read as an image ({type(error).__name__}: {error}).") from error
    if transparent:
        raise DamagedFileError(f"{path} has transparent pixels; expected two colours, one of them black.")
    colours = values.reshape(-1, 1) if wide else values.reshape(-1, 3)
    inside = colours.any(-1)
    others = np.unique(colours[inside], axis=0)
    if len(others) > 1:
        raise DamagedFileError(
            f"{path} has {len(others)} colours beside black; expected one. Save one object in a file, and not as JPEG, "
            "which changes pixels."
        )
    return np.asarray(inside.reshape(values.shape[:2]))


@dataclass(frozen=True)
class MaskRegion:
    """The pixels of a mask.

    Attributes
    ----------
    path : Path
        As ``read_mask`` takes it.
    stretched : bool
        Whether the mask covers the whole picture with another number of pixels, as those of CLEVR-XAI do.
    """

    path: Path
    stretched: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from."""
        return (self.path,)

    def described(self) -> Any:
        """Return it for JSON, without the content of the file."""
        return {"mask": str(self.path), "stretched": self.stretched}

    def check(self, medium: Path) -> None:
        """Refuse a mask of another size than the picture."""
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {self.path}.")
        if not self.stretched:
            height, width = read_mask(self.path).shape
            _check_size(self.path, (width, height), medium, upright_size(medium))

    def coverage(self, size: Size) -> Floats:
        """Return the part of each pixel that is in the region, ``[H, W]``, for a picture of width and height."""
        found = read_mask(self.path)
        if self.stretched:
            picture = Image.fromarray(found.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
            found = np.asarray(picture) > 0
        _check_size(self.path, (found.shape[1], found.shape[0]), None, size)
        return found.astype(np.float64)


def _check_size(mask: Path, found: Size, medium: Path | None, size: Size) -> None:
    if found != size:
        raise ValueError(
            f"The mask {mask} has {found[0]} x {found[1]} pixels, the picture {medium or ''} {size[0]} x {size[1]}; "
            "give a mask of the picture's size."
        )


@dataclass(frozen=True)
class BoxRegion:
    """A box.

    Attributes
    ----------
    box : tuple of float
        ``(x0, y0, x1, y1)`` in pixels of the picture, upright, from its top left corner; ``x1`` and ``y1`` are where
        the box ends.
    """

    box: tuple[float, float, float, float]
    files: tuple[Path, ...] = ()

    def described(self) -> Any:
        """Return it for JSON."""
        return {"box": list(self.box)}

    def check(self, medium: Path) -> None:
        """Refuse a box that has no area, or leaves the picture."""
        self._inside(upright_size(medium))

    def _inside(self, size: Size) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]):
            raise ValueError(
                f"box is {list(self.box)}; expected [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1, inside a "
                f"picture of {size[0]} x {size[1]}."
            )

    def coverage(self, size: Size) -> Floats:
        """Return the part of each pixel that is in the box, ``[H, W]``."""
        self._inside(size)
        x0, y0, x1, y1 = self.box
        return np.outer(overlap(np.arange(size[1] + 1.0), y0, y1), overlap(np.arange(size[0] + 1.0), x0, x1))


def overlap(edges: Floats, start: float, stop: float) -> Floats:
    """Return the lengths ``[N]`` of the parts of cells, between ``edges`` ``[N + 1]``, that lie in a stretch."""
    found: Floats = (np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)).clip(min=0)
    return found


@dataclass(frozen=True)
class TimeRegion:
    """The time in which any of some events sounds.

    Attributes
    ----------
    events : sequence of Event
        In seconds from the beginning of the sound.
    """

    events: Sequence[Event]
    files: tuple[Path, ...] = ()

    def described(self) -> Any:
        """Return it for JSON."""
        return {"events": [list(event) for event in self.events]}

    def check(self, medium: Path) -> None:
        """Nothing is refused: where the sound ends is known when it is read."""


Region = MaskRegion | BoxRegion | TimeRegion
