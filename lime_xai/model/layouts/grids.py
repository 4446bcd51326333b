"""Images of one grid: of a fixed size, or as the inputs say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from .layout import WHOLE, Box, ImageLayout, Layout, Tile
from .reading import NotKnown, Reading, mixed, register_layout

_MIXED = "every token is read from the whole picture by a resampler"
for _family in ("idefics2", "blip-2", "instructblip", "kosmos-2"):
    register_layout(_family)(mixed(_MIXED))
register_layout("instructblipvideo", modality="video")(mixed(_MIXED))
register_layout("mllama")(mixed("the decoder attends to the picture by cross-attention"))


def single_grid(
    modality: str, rows: int, columns: int, *, before: int = 0, after: int = 0, box: Box | None = WHOLE
) -> ImageLayout:
    """Return the layout of one grid, with tokens before and after it that stand for no part of the picture."""
    cells = rows * columns
    tile = Tile(rows, columns, tuple(range(before, before + cells)), box)
    return ImageLayout(modality, tuple(range(before + cells + after)), (tile,))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width, from one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def patch_grid(reading: Reading, merge: int = 1, name: str = "pixel_values") -> tuple[int, int]:
    """Return rows and columns of a picture's tokens: the patches of the pixels, ``merge`` x ``merge`` to a token."""
    height, width = reading.tensor(name).shape[-2:]
    down, across = pair(reading.config.vision_config.patch_size)
    return height // down // merge, width // across // merge


@register_layout("llava", "vipllava")
def fixed_grid(reading: Reading) -> list[Layout]:
    """Patches of the pixels, row by row; behind a class token if that is kept."""
    if reading.inputs.get("image_sizes") is not None:
        return sized_grid(reading)
    rows, columns = patch_grid(reading)
    images = len(reading.tensor("pixel_values"))
    extra = reading.count // images - rows * columns
    if extra not in (0, 1) or (extra == 1 and reading.config.vision_feature_select_strategy != "full"):
        raise NotKnown(f"{reading.count} tokens for {images} images are not {rows} x {columns} patches each")
    return [single_grid(reading.modality, rows, columns, before=extra)] * images


@register_layout("paligemma", "deepseek_vl", "janus")
def all_patches(reading: Reading) -> list[Layout]:
    """One token per patch of the pixels, row by row; the class token, if there is one, is left out."""
    rows, columns = patch_grid(reading)
    return [single_grid(reading.modality, rows, columns)] * len(reading.tensor("pixel_values"))


@register_layout("mistral3", "lighton_ocr")
def sized_grid(reading: Reading) -> list[Layout]:
    """Patches of pictures of different sizes, padded to one; break tokens after each row are text (Pixtral)."""
    down, across = pair(reading.config.vision_config.patch_size)
    merge = getattr(reading.config, "spatial_merge_size", 1)
    return [
        single_grid(reading.modality, height // down // merge, width // across // merge)
        for height, width in reading.tensor("image_sizes").tolist()
    ]


def merge_size(reading: Reading) -> int:
    """Return how many patches in a row one token takes, in families with ``image_grid_thw``."""
    vision = reading.config.vision_config
    for name in ("spatial_merge_size", "merge_kernel_size"):
        value = getattr(vision, name, None)
        if value is not None:
            down, across = pair(value)
            if down != across:
                raise NotKnown(f"{name} is {down} x {across}")
            return down
    raise NotKnown("the vision config has no spatial_merge_size")


GRID_THW = (
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen2_5_omni_thinker",
    "qwen3_omni_moe_thinker",
    "exaone4_5",
)
"""Families whose inputs say frames, rows and columns of patches, and whose tokens lie row by row."""


IMAGE_GRID_THW = ("qwen4_exp", "cosmos3_omni", "cohere_compass", "hyperclovax_vision_v2")
"""Families of which the same is known for images alone."""


@register_layout(*GRID_THW, *IMAGE_GRID_THW, "paddleocr_vl", "kimi_k25")
def grid_thw(reading: Reading) -> list[Layout]:
    """Rows and columns of ``image_grid_thw``, in patches; ``merge`` x ``merge`` patches to a token, row by row."""
    merge = merge_size(reading)
    return [
        single_grid(reading.modality, rows // merge, columns // merge)
        for _, rows, columns in _still(reading.tensor("image_grid_thw"))
    ]


@register_layout("video_llama_3")
def grid_thw_merge_sizes(reading: Reading) -> list[Layout]:
    """As ``grid_thw``, with a merge size per image in the inputs."""
    sizes = reading.tensor("image_merge_sizes").tolist()
    return [
        single_grid(reading.modality, rows // merge, columns // merge)
        for (_, rows, columns), merge in zip(_still(reading.tensor("image_grid_thw")), sizes, strict=True)
    ]


def _still(grid: Tensor) -> list[list[int]]:
    """Return the rows of ``image_grid_thw``.

    Raises
    ------
    NotKnown
        If an image has several frames.
    """
    found: list[list[int]] = grid.tolist()
    if any(row[0] != 1 for row in found):
        raise NotKnown("image_grid_thw has images of several frames")
    return found


@register_layout("hunyuan_vl")
def grid_thw_newlines(reading: Reading) -> list[Layout]:
    """As ``grid_thw``, with a token that opens the image, one after each row and one that closes it."""
    merge = merge_size(reading)
    found: list[Layout] = []
    for _, down, across in _still(reading.tensor("image_grid_thw")):
        rows, columns = down // merge, across // merge
        cells = tuple(1 + row * (columns + 1) + column for row in range(rows) for column in range(columns))
        size = rows * (columns + 1) + 2
        found.append(ImageLayout(reading.modality, tuple(range(size)), (Tile(rows, columns, cells),)))
    return found


@register_layout("gemma4")
def position_ids(reading: Reading) -> list[Layout]:
    """Patches at the places of ``image_position_ids``, pooled ``k`` x ``k``, row by row; -1: padding."""
    pool = reading.config.vision_config.pooling_kernel_size
    found: list[Layout] = []
    for places in reading.tensor("image_position_ids"):
        columns, rows = (int(side) + 1 for side in places.amax(0))
        if rows % pool or columns % pool or int((places >= 0).all(-1).sum()) != rows * columns:
            raise NotKnown(f"the {rows} x {columns} patches of image_position_ids are not pooled {pool} x {pool}")
        found.append(single_grid(reading.modality, rows // pool, columns // pool))
    return found


_CROPS = "here are some crops to help you see better"


@register_layout("gemma3")
def pooled_grid(reading: Reading) -> list[Layout]:
    """Square of ``mm_tokens_per_image`` tokens per run; pan and scan adds crops whose place the inputs do not say.

    The processor writes crops behind a sentence. Without a processor's tokenizer to read it, three or more images in a
    row may be a picture and its crops.
    """
    side = math.isqrt(reading.config.mm_tokens_per_image)
    found: list[Layout] = []
    crop = ImageLayout(
        reading.modality,
        tuple(range(side**2)),
        single_grid("", side, side, box=None).parts,
        "it may be a crop by pan and scan, and the inputs do not say of what part",
    )
    for row, runs in enumerate(reading.runs):
        cropped, end = False, 0
        for start, stop in runs:
            before = reading.text(row, end, start)
            cropped = len(runs) > 2 if before is None else _CROPS in before or (cropped and not before.strip())
            images = max(1, (stop - start) // side**2)
            found += [crop if cropped else single_grid(reading.modality, side, side)] * images
            end = stop
    return found
