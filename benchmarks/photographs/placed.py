"""What a scene is: a background and the objects that stand before it, and what is true of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cattrs import Converter

from .backgrounds import SIDE, Background
from .catalogue import CLASSES
from .tints import TINTS

Box = tuple[int, int, int, int]
MIDDLE: Final = (0.42, 0.58)
"""Where the centre of an object lies on neither side, as fractions of the width."""
SIDES: Final = ("left", "right")


@dataclass(frozen=True)
class Placed:
    """An object of a scene.

    Attributes
    ----------
    obj : int
        Class index.
    cutout : int
        Which photograph of the class.
    box : (int, int, int, int)
        Left, top, right and bottom in pixels; right and bottom are the first ones outside.
    flip : bool
        Whether left and right of the photograph are exchanged.
    tint : int or None
        Index into ``TINTS``; None leaves the object its own colours.
    """

    obj: int
    cutout: int
    box: Box
    flip: bool
    tint: int | None


@dataclass(frozen=True)
class PhotoScene:
    """A background, and objects from back to front: a ``lime_xai.worlds.shared.language.Truth``.

    Attributes
    ----------
    background : Crop or Paint
        What is behind all objects.
    objects : tuple of Placed
        Different classes; later ones cover earlier ones.

    Raises
    ------
    ValueError
        If a class occurs twice or is out of range, or a box is empty or leaves the picture.
    """

    background: Background
    objects: tuple[Placed, ...]

    def __post_init__(self) -> None:
        if len(set(self.present)) != len(self.present):
            raise ValueError(f"a class occurs twice in {self.present}; a scene holds each at most once")
        for placed in self.objects:
            left, top, right, bottom = placed.box
            if not 0 <= placed.obj < len(CLASSES):
                raise ValueError(f"class {placed.obj} is out of range; expected 0 to {len(CLASSES) - 1}")
            if not (0 <= left < right <= SIDE and 0 <= top < bottom <= SIDE):
                raise ValueError(f"box {placed.box} of class {placed.obj} is empty or leaves 0 to {SIDE}")
            if placed.tint is not None and not 0 <= placed.tint < len(TINTS):
                raise ValueError(f"tint {placed.tint} is out of range; expected None or 0 to {len(TINTS) - 1}")

    @property
    def present(self) -> tuple[int, ...]:
        """Class indices of the objects, from back to front."""
        return tuple(placed.obj for placed in self.objects)

    @property
    def absent(self) -> tuple[int, ...]:
        """Class indices of what is not there, ascending."""
        return tuple(sorted(set(range(len(CLASSES))) - set(self.present)))

    @property
    def left_to_right(self) -> tuple[int, ...]:
        """Class indices of the objects by the centres of their boxes."""
        return tuple(placed.obj for placed in sorted(self.objects, key=lambda one: (one.box[0] + one.box[2], one.obj)))

    def index_of(self, obj: int) -> int:
        """Return the place of a class in ``objects`` (ValueError if it is not in the scene)."""
        if obj not in self.present:
            raise ValueError(f"object {obj} is not in the scene; present are {self.present}")
        return self.present.index(obj)

    def value_of(self, attribute: str, obj: int) -> int | None:
        """Return the value of an attribute of an object.

        Parameters
        ----------
        attribute : str
            ``"colour"``: an index into ``TINTS``, None for an object in its own colours. ``"side"``: 0 left, 1 right,
            None where the centre of the box lies within ``MIDDLE``.
        obj : int
            Class index.

        Raises
        ------
        ValueError
            If the object is not in the scene, or for another attribute.
        """
        placed = self.objects[self.index_of(obj)]
        if attribute == "colour":
            return placed.tint
        if attribute != "side":
            raise ValueError(f"unknown attribute {attribute!r}; an object has colour and side")
        centre = (placed.box[0] + placed.box[2]) / 2 / SIDE
        return None if MIDDLE[0] <= centre <= MIDDLE[1] else int(centre > MIDDLE[1])

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes of the objects with what others cover of them, in the order of ``objects``."""
        return tuple(placed.box for placed in self.objects)


def erased(scene: PhotoScene, obj: int) -> PhotoScene:
    """Return the scene without an object; what was behind it shows (ValueError if it is not in the scene)."""
    index = scene.index_of(obj)
    return replace(scene, objects=scene.objects[:index] + scene.objects[index + 1 :])


def emptied(scene: PhotoScene) -> PhotoScene:
    """Return the background of a scene, without objects."""
    return replace(scene, objects=())


_CONVERTER: Final = Converter(forbid_extra_keys=True)


def scene_to_json(scene: PhotoScene, names: Sequence[str]) -> dict[str, Any]:
    """Return a scene as JSON-ready data, in which classes have their names."""
    data: dict[str, Any] = _CONVERTER.unstructure(scene)
    return data | {"objects": [one | {"obj": names[one["obj"]]} for one in data["objects"]]}


def scene_from_json(data: Mapping[str, Any], names: Sequence[str]) -> PhotoScene:
    """Return the scene that ``scene_to_json`` wrote.

    Raises
    ------
    ValueError
        If the data are no scene, or name a class that is not among ``names``.
    """
    try:
        objects = [one | {"obj": names.index(one["obj"])} for one in data["objects"]]
        return _CONVERTER.structure(dict(data) | {"objects": objects}, PhotoScene)
    except Exception as error:  # cattrs collects any errors of values into groups
        raise ValueError(f"no scene of these classes: {error}") from error
