"""Checks of where perceptual tokens lie: layouts of images, videos and sounds, and regions on them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lime_xai.attribution.regions import box_groups
from lime_xai.model.layouts.layout import Layout
from lime_xai.model.prompt import Prompt

from .check import MismatchError, UnavailableError, register_check
from .subject import Subject

HALVES = [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)]
"""Left and right half of a picture."""


def layouts_of(prompt: Prompt) -> Sequence[Layout]:
    """Return the layouts of a prompt's first row, one per image, video or sound.

    Raises
    ------
    UnavailableError
        If nothing is perceived by placeholders.
    """
    layouts = prompt.layouts[0]
    if not layouts:
        raise UnavailableError("the prompt has no placeholders")
    return layouts


@register_check("grids")
def check_layouts(subject: Subject) -> None:
    """Every perceptual token has its place: each layout holds the positions of its item, and no other."""
    prompt = subject.prompt()
    layouts = layouts_of(prompt)
    places = prompt.positions.perceptual[0].nonzero()[:, 0].tolist()
    listed = sorted(place for layout in layouts for place in layout.positions)
    if listed != places:
        raise MismatchError(f"layouts hold the positions {listed}, perceived are {places}")
    _check_tiles(layouts)
    _check_given_grids(subject, layouts)
    for layout in layouts:
        reason = getattr(layout, "reason", None)
        if reason and not layout.tiles:
            raise UnavailableError(f"unknown: {reason}")


def _check_tiles(layouts: Sequence[Layout]) -> None:
    for layout in layouts:
        inside = [place for tile in layout.tiles for place in tile.positions]
        if len(set(inside)) != len(inside) or not set(inside) <= set(layout.positions):
            raise MismatchError(f"tiles of positions {layout.positions} overlap, or hold other positions: {inside}")


def _check_given_grids(subject: Subject, layouts: Sequence[Layout]) -> None:
    """Compare with grids of patches that the inputs name: tokens are patches, or squares of them."""
    for name, modality in (("image_grid_thw", "image"), ("video_grid_thw", "video")):
        given = subject.inputs.get(name)
        same = [layout for layout in layouts if layout.modality == modality and layout.tiles]
        if not isinstance(given, Tensor) or len(same) != len(given):
            continue
        for layout, (_, rows, columns) in zip(same, given.tolist(), strict=True):
            for tile in layout.tiles:
                if tile.rows * columns != tile.columns * rows:
                    raise MismatchError(f"{tile.rows} x {tile.columns} tokens of {rows} x {columns} patches")


@register_check("regions")
def check_regions(subject: Subject) -> None:
    """Two boxes, the left and the right half of a picture, take the tokens whose centres lie in them."""
    prompt = subject.prompt()
    layouts = layouts_of(prompt)
    if "image" not in prompt.positions.modalities:
        raise UnavailableError("regions are boxes of images, and the prompt has none")
    ids = box_groups(prompt, HALVES).ids
    first = next(layout for layout in layouts if layout.modality == "image")
    expected = {
        place: int(x >= 0.5)
        for tile in first.tiles
        for place, x in zip(tile.positions, tile.centres()[:, 0].tolist(), strict=True)
    }
    found = {place: int(ids[place]) for place in expected}
    outside = [place for place in range(len(ids)) if place not in expected and int(ids[place]) >= 0]
    if found != expected or outside:
        raise MismatchError(f"box_groups gave {found} and {outside} outside, expected {expected}")
    if not isinstance(ids, Tensor):
        raise MismatchError("groups have no tensor of ids")
