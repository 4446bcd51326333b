"""Images read from files, as a person who opens the file would see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION

LARGE = 16_000_000
"""Pixels from which a picture is announced."""

BACKGROUND = "white"
"""What transparent pixels are laid on."""

Note = Callable[[str], None]


def read_image(path: str | Path, note: Note) -> Image.Image:
    """Return an image file as 8-bit RGB, upright.

    1. The first frame, if there are several.
    2. Turned as its EXIF orientation says.
    3. Grey of 12 or 16 bits is scaled to 8 bits (the largest value becomes 255); TIFF whose 0 is white is inverted.
    4. Transparent pixels are laid on white.

    Parameters
    ----------
    path : str or Path
        The file.
    note : callable
        Told what is left out or changed: other frames, transparency, and that a picture is large.

    Raises
    ------
    ValueError
        Naming the file, if it is damaged or no image, or has 32-bit or signed pixels, whose range is not known.
    """
    try:
        with Image.open(path) as file:
            frames, large = getattr(file, "n_frames", 1), file.width * file.height >= LARGE
            if large:
                note(
                    f"{path} has {file.width} x {file.height} pixels; reading and encoding it may take long. A smaller "
                    "copy is faster."
                )
            file.load()
            ends, upright = _ends(file), ImageOps.exif_transpose(file)
    except Exception as error:  # decoders raise errors of many classes for damaged files
        raise ValueError(f"{path} cannot be read as an image ({type(error).__name__}: {error}).") from error
    if frames > 1:
        note(f"{path} has {frames} frames; only the first is used.")
    return _opaque(_eight_bits(upright, ends, path), path, note)


def _ends(file: Image.Image) -> tuple[int, int] | None:
    """Return which values of deep grey are black and white, as Pillow reads the file; None if they are not known."""
    if file.format == "PPM" and file.mode == "I":  # Pillow scales every largest value of a PGM file to 65535
        return 0, 65535
    if not file.mode.startswith("I;16"):
        return None
    tags = getattr(file, "tag_v2", {}) if file.format == "TIFF" else {}
    largest = 2 ** int(tags.get(BITSPERSAMPLE, (16,))[0]) - 1
    return (largest, 0) if tags.get(PHOTOMETRIC_INTERPRETATION) == 0 else (0, largest)


def _eight_bits(image: Image.Image, ends: tuple[int, int] | None, path: str | Path) -> Image.Image:
    """Return an image with 8 bits per channel; ``ends`` are black and white of deep grey."""
    if ends is not None:
        black, white = ends
        levels = (np.asarray(image).astype(np.float64) - black) * 255 / (white - black)
        return Image.fromarray(levels.round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"{path} has 32-bit or signed pixels (mode {image.mode!r}), whose range is not known; save it with 8 bits, "
            "or with 16 bits without a sign."
        )
    return image


def _opaque(image: Image.Image, path: str | Path, note: Note) -> Image.Image:
    """Return an image as RGB; transparent pixels are laid on the background."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    lowest, _ = layered.getchannel("A").getextrema()
    if lowest == 255:
        return layered.convert("RGB")
    note(f"{path} has transparent pixels; they are laid on a {BACKGROUND} background.")
    ground = Image.new("RGBA", layered.size, BACKGROUND)
    return Image.alpha_composite(ground, layered).convert("RGB")
