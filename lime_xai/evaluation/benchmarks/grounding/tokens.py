"""Which tokens lie in a region.

A token belongs to a region if at least half of what it stands for does: of its area, or of its time. Where the layout
of the tokens is not known, the region's tokens are not known either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lime_xai.attribution.events import check_inside, union
from lime_xai.attribution.time import sound_of, token_times
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.model.layouts.layout import Box, ImageLayout, Tile, UnknownLayout
from lime_xai.model.layouts.pixels import Part, image_parts
from lime_xai.model.layouts.reading import NotKnown, Reading
from lime_xai.model.prompt import Prompt

from .regions import TimeRegion, overlap

_TOLERANCE = 1e-3
"""Below one half: pixels have 8 bits, and processors compute in float32."""

_VISIBLE = 0.01
"""Part of the largest difference of white and black, from which a pixel is one of the picture and no padding."""


@dataclass(frozen=True, eq=False)
class TokenRegion:
    """The tokens of a medium, and which of them lie in a region.

    Attributes
    ----------
    positions : Tensor
        ``[N]`` long: positions in the prompt of the tokens that stand for a part of the medium.
    inside : Tensor
        ``[N]`` bool.
    """

    positions: Tensor
    inside: Tensor


def sound_tokens(prompt: Prompt, region: TimeRegion) -> TokenRegion:
    """Return the tokens of the only sound of a prompt of one row.

    Raises
    ------
    NotKnown
        If the seconds per token are not known, or no token lies in the region.
    ValueError
        For events that go on behind the sound.
    """
    layout = sound_of(prompt.layouts[0], 0)
    try:
        times = token_times(layout, 0)
    except ValueError as error:
        raise NotKnown(str(error)) from error
    check_inside(region.events, float(times.max()), float((times[:, 1] - times[:, 0]).max()))
    inside = np.zeros(len(times))
    for start, stop in union([(event.start, event.stop) for event in region.events]):
        inside += (np.minimum(times[:, 1], stop) - np.maximum(times[:, 0], start)).clip(min=0)
    return _found(torch.tensor(layout.positions), inside / (times[:, 1] - times[:, 0]))


def picture_tokens(prompt: Prompt, coverage: Floats, ask: Callable[[Image.Image], Prompt]) -> TokenRegion:
    r"""Return the tokens of the only picture of a prompt of one row.

    The processor that cropped, resized, padded or cut the picture does the same to three pictures of its size: the
    region in white on black (:math:`m`), all white (:math:`w`) and all black (:math:`k`). In each pixel that the model
    receives, the region has the part :math:`(m - k) / (w - k)`, whatever the normalisation; where :math:`w = k`, the
    pixel is padding. The part of a token is the mean over its cell.

    Parameters
    ----------
    prompt : Prompt
        Of the picture.
    coverage : numpy.ndarray
        ``[H, W]``, 0 to 1: the part of each pixel of the picture file, upright, that is in the region.
    ask : callable
        Returns the prompt of the same question about another picture.

    Raises
    ------
    NotKnown
        If the layout is not known, the inputs are of a form that is not read, or no token lies in the region.
    """
    layout = _only_layout(prompt)
    # From 1 to 255: tiles that are zero everywhere are padding to some families.
    levels = (1 + coverage * 254).round().astype(np.uint8)
    shown = [_parts(ask(_grey(one)), layout) for one in (levels, np.full_like(levels, 255), np.ones_like(levels))]
    found = []
    scale = max(float((white - black).abs().max()) for (white, _), (black, _) in zip(*shown[1:], strict=True))
    for tile, (mask, box), (white, _), (black, _) in zip(layout.tiles, *shown, strict=True):
        span = white - black
        if scale <= 0 or bool((span < -_VISIBLE * scale).any()):
            raise NotKnown("the processor does not keep white brighter than black, so a mask cannot be followed")
        seen = span > _VISIBLE * scale
        part = torch.where(seen, (mask - black) / torch.where(seen, span, 1.0), 0.0).clamp(0, 1)
        found.append(_means(tile, part.numpy(), box).reshape(-1))
    positions = torch.tensor([position for tile in layout.tiles for position in tile.positions])
    return _found(positions, np.concatenate(found))


def _found(positions: Tensor, parts: Floats) -> TokenRegion:
    inside = torch.from_numpy(parts >= 0.5 - _TOLERANCE)
    if not bool(inside.any()):
        raise NotKnown(f"no token lies in the region by half or more; the largest part is {parts.max():.2f}")
    return TokenRegion(positions, inside)


def _only_layout(prompt: Prompt) -> ImageLayout:
    """Return the layout of the only picture of the only row."""
    found = [layout for layout in prompt.layouts[0] if layout.modality == "image"]
    if len(found) != 1:
        raise NotKnown(f"the prompt has {len(found)} pictures; expected one")
    (layout,) = found
    reason = layout.reason if isinstance(layout, (ImageLayout, UnknownLayout)) else "it is laid out as a video"
    if not isinstance(layout, ImageLayout) or reason is not None:
        raise NotKnown(f"the layout of the picture is not known: {reason}")
    return layout


def _grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels).convert("RGB")


def _parts(prompt: Prompt, like: ImageLayout) -> list[tuple[Tensor, Box]]:
    """Return the brightness ``[H, W]`` float64 of each tile, and what part of the picture it shows."""
    layout = _only_layout(prompt)
    same = [(tile.grid, tile.box) for tile in layout.tiles] == [(tile.grid, tile.box) for tile in like.tiles]
    if not same:
        raise NotKnown("the processor cuts a picture of the same size in another way, so a mask cannot be followed")
    reading = Reading(prompt.model.config, prompt.inputs, prompt.positions, "image", prompt.processor)
    (parts,) = image_parts(reading, [layout])
    return [_shown(part) for part in parts]


def _shown(part: Part) -> tuple[Tensor, Box]:
    if part.box is None:
        raise NotKnown("the place of a tile in the picture is not known")
    return part.pixels.double().mean(0), part.box


def _means(tile: Tile, values: Floats, box: Box) -> Floats:
    """Return the mean ``[rows, columns]`` of pixels ``[H, W]`` that show ``box`` over each cell of a tile.

    What of a cell lies beside the pixels counts as zero.
    """
    x0, y0, x1, y1 = box if tile.box is None else tile.box
    down = _weights(tile.rows, y0, y1, values.shape[0], box[1], box[3])
    across = _weights(tile.columns, x0, x1, values.shape[1], box[0], box[2])
    found: Floats = down @ values @ across.T
    return found


def _weights(cells: int, start: float, stop: float, pixels: int, first: float, last: float) -> Floats:
    """Return the part ``[cells, pixels]`` of the length of each cell that each pixel covers."""
    edges = np.linspace(first, last, pixels + 1)
    bounds = np.linspace(start, stop, cells + 1)
    return np.stack([overlap(edges, a, b) / (b - a) for a, b in pairwise(bounds)])
