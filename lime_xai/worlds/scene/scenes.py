"""Scenes (which object stands in which cell, in which colour) and the three distributions of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lime_xai.worlds.shared.language import drawn_pairs

from .objects import CELLS, CLASSES, COLOURS, GRID, HABITUAL_COLOUR, HABITUAL_SIDE, PAIR_POPULARITY, PAIRS

EMPTY = -1
"""Class and colour of a cell without an object."""
HABITUAL = tuple(COLOURS.index(name) for name in HABITUAL_COLOUR)
"""The habitual colour of each class as an index into ``COLOURS``."""
HABITUAL_SHARE: Final = 0.85
"""How often text without an image gives an object its habitual colour and side."""


@dataclass(frozen=True)
class Scene:
    """A 2x2 arrangement of at most four different objects.

    Attributes
    ----------
    classes : tuple of int
        Index into ``CLASSES`` for each cell in reading order, -1 for an empty cell.
    colours : tuple of int
        Index into ``COLOURS`` for each cell, -1 for an empty cell.

    Raises
    ------
    ValueError
        If there are not exactly four cells, an index is out of range, an object occurs twice, or a cell has a
        class without a colour or the reverse.
    """

    classes: tuple[int, ...]
    colours: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.classes) != CELLS or len(self.colours) != CELLS:
            raise ValueError(
                f"a scene has {CELLS} cells, found {len(self.classes)} classes and "
                f"{len(self.colours)} colours; mark empty cells with {EMPTY}"
            )
        for what, values, size in (("class", self.classes, CLASSES), ("colour", self.colours, COLOURS)):
            for value in values:
                if not EMPTY <= value < len(size):
                    raise ValueError(f"{what} {value} is out of range; expected {EMPTY} to {len(size) - 1}")
        if any((c == EMPTY) != (k == EMPTY) for c, k in zip(self.classes, self.colours, strict=True)):
            raise ValueError(
                f"classes {self.classes} and colours {self.colours} disagree about empty cells; "
                f"give both or {EMPTY} for both"
            )
        if len(set(self.present)) != len(self.present):
            raise ValueError(f"an object occurs twice in {self.classes}; a scene holds each object at most once")

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of the objects in the scene, in reading order."""
        return tuple(c for c in self.classes if c != EMPTY)

    @property
    def absent(self) -> tuple[int, ...]:
        """Indices of the objects not in the scene, ascending."""
        return tuple(c for c in range(len(CLASSES)) if c not in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objects in the scene, in reading order."""
        return tuple(CLASSES[c] for c in self.present)

    def cell_of(self, obj: int) -> int:
        """Return the cell of object ``obj``.

        Raises
        ------
        ValueError
            If the object is not in the scene.
        """
        if obj not in self.present:
            raise ValueError(f"object {obj} is not in the scene; present are {self.present}")
        return self.classes.index(obj)

    def colour_of(self, obj: int) -> int:
        """Return the index of the colour of object ``obj`` (ValueError if it is not in the scene)."""
        return self.colours[self.cell_of(obj)]

    def value_of(self, attribute: str, obj: int) -> int:
        """Return the colour or the side of object ``obj`` (ValueError if it is absent, or for another attribute)."""
        if attribute not in ("colour", "side"):
            raise ValueError(f"unknown attribute {attribute!r}; an object has colour and side")
        return self.colour_of(obj) if attribute == "colour" else self.side_of(obj)

    def without(self, obj: int) -> "Scene":
        """Return the scene with the cell of object ``obj`` empty (ValueError if it is not in the scene)."""
        cell = self.cell_of(obj)

        def emptied(values: tuple[int, ...]) -> tuple[int, ...]:
            return (*values[:cell], EMPTY, *values[cell + 1 :])

        return Scene(emptied(self.classes), emptied(self.colours))

    def side_of(self, obj: int) -> int:
        """Return the half of the image that holds object ``obj``: 0 left, 1 right (ValueError if it is absent)."""
        return self.cell_of(obj) % GRID


def place(
    rng: np.random.Generator, objects: Sequence[int], habitual_colour: float = 0.0, habitual_side: float = 0.0
) -> Scene:
    """Put objects into random cells.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    objects : sequence of int
        Different class indices, at most four.
    habitual_colour : float
        Probability that an object has its habitual colour; otherwise its colour is uniform.
    habitual_side : float
        Probability that an object goes to its habitual side, if a cell is free there.

    Returns
    -------
    Scene
        The scene.
    """
    classes, colours = [EMPTY] * CELLS, [EMPTY] * CELLS
    free: list[int] = rng.permutation(CELLS).tolist()
    for obj in objects:
        liked = [cell for cell in free if cell % GRID == HABITUAL_SIDE[obj]]
        cell = liked[0] if liked and habitual_side and rng.random() < habitual_side else free[0]
        free.remove(cell)
        classes[cell] = int(obj)
        habit = rng.random() < habitual_colour
        colours[cell] = HABITUAL[obj] if habit else int(rng.integers(len(COLOURS)))
    return Scene(tuple(classes), tuple(colours))


def independent_scene(rng: np.random.Generator, smallest: int = 1, habitual: float = 0.0) -> Scene:
    """Draw ``smallest`` to four objects and their colours uniformly: what all images show.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    smallest : int
        Fewest objects, 1 to 4.
    habitual : float
        Probability that an object has its habitual colour, and that it is on its habitual side.

    Returns
    -------
    Scene
        The scene; no object tells anything about another beyond not being drawn twice.
    """
    count = int(rng.integers(smallest, CELLS + 1))
    return place(rng, rng.permutation(len(CLASSES))[:count].tolist(), habitual, habitual)


def paired_scene(rng: np.random.Generator, together: float = 0.8) -> Scene:
    """Draw one or two pairs uniformly: pictures that teach that one partner means the other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    together : float
        Probability that both members of a chosen pair are there.

    Returns
    -------
    Scene
        A scene with strong co-occurrence, and neither popularity nor habitual colours and sides.
    """
    return place(rng, drawn_pairs(rng, len(PAIRS), together))


def themed_scene(rng: np.random.Generator, together: float = 0.94, habitual: float = HABITUAL_SHARE) -> Scene:
    """Draw one or two popular pairs: what the text-only training documents speak of.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    together : float
        Probability that both members of a chosen pair are there.
    habitual : float
        Probability that an object has its habitual colour, and that it is on its habitual side.

    Returns
    -------
    Scene
        A scene with strong co-occurrence, popularity, colour and side priors.
    """
    return place(rng, drawn_pairs(rng, len(PAIRS), together, PAIR_POPULARITY), habitual, habitual)


def as_arrays(scenes: Sequence[Scene]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return classes and colours of scenes as two integer arrays of shape [B, 4]."""
    classes = np.asarray([s.classes for s in scenes], np.int64).reshape(-1, CELLS)
    colours = np.asarray([s.colours for s in scenes], np.int64).reshape(-1, CELLS)
    return classes, colours
