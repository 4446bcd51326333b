"""What a pictogram scene is made of: twelve objects in six pairs, six colours, and the image geometry."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PAIRS: Final = (
    ("cup", "phone"),
    ("cloud", "umbrella"),
    ("sun", "anchor"),
    ("heart", "flower"),
    ("knight", "queen"),
    ("envelope", "pencil"),
)
CLASSES: Final[tuple[str, ...]] = tuple(name for pair in PAIRS for name in pair)
COLOURS: Final = ("red", "green", "blue", "orange", "purple", "black")
RGB: Final = ((215, 35, 40), (30, 150, 60), (40, 80, 215), (240, 140, 20), (140, 50, 170), (35, 35, 40))
HABITUAL_COLOUR: Final = (
    "black", "black", "blue", "purple", "orange", "blue", "red", "red", "black", "purple", "green", "orange",
)  # fmt: skip
"""The colour in which the training text usually mentions each class (never the training images)."""
SIDES: Final = ("left", "right")
HABITUAL_SIDE: Final = (0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0)
"""The side, an index into ``SIDES``, on which the training text usually puts each class (never the training images)."""
NUMBERS: Final = ("one", "two", "three", "four")
"""Answers to how many objects there are; a scene is never empty."""

PAIR_POPULARITY: Final = (0.36, 0.24, 0.15, 0.11, 0.08, 0.06)
"""How often the training text names each pair (Zipf-like); images show all pairs equally often."""
POPULARITY: Final[NDArray[np.float64]] = np.repeat(np.asarray(PAIR_POPULARITY), 2)
POPULARITY.flags.writeable = False

GRID: Final = 2
"""Cells per side of a scene."""
CELLS: Final = GRID * GRID
IMAGE_SIZE: Final = 72
"""Pixels per side of an image."""
CELL_SIZE: Final = IMAGE_SIZE // GRID
PATCH_SIZE: Final = 12
"""Pixels per side of the patch behind one image token."""
PATCHES_PER_SIDE: Final = IMAGE_SIZE // PATCH_SIZE
IMAGE_TOKENS: Final = PATCHES_PER_SIDE**2


def class_index(name: str) -> int:
    """Return the index of an object name.

    Raises
    ------
    ValueError
        If no object has this name.
    """
    if name not in CLASSES:
        raise ValueError(f"unknown object {name!r}; the scene world has {', '.join(CLASSES)}")
    return CLASSES.index(name)
