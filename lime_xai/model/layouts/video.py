"""Videos: frames of one grid each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .grids import GRID_THW, grid_thw, merge_size, patch_grid
from .layout import Layout, Tile, VideoLayout
from .reading import NotKnown, Reading, register_layout


def frames(
    modality: str, count: int, rows: int, columns: int, *, after: int = 0, seconds: float | None = None
) -> VideoLayout:
    """Return the layout of frames one after another, with tokens after them that stand for no part."""
    size = rows * columns
    tiles = tuple(Tile(rows, columns, tuple(range(n * size, (n + 1) * size))) for n in range(count))
    return VideoLayout(modality, tuple(range(count * size + after)), tiles, seconds)


@register_layout(*GRID_THW, modality="video")
def video_grid_thw(reading: Reading) -> list[Layout]:
    """Frames, rows and columns of ``video_grid_thw``; seconds per frame where the inputs say them."""
    merge = merge_size(reading)
    grids = reading.tensor("video_grid_thw").tolist()
    seconds = _seconds(reading, len(grids))
    return [
        frames(reading.modality, count, rows // merge, columns // merge, seconds=step)
        for (count, rows, columns), step in zip(grids, seconds, strict=True)
    ]


@register_layout("video_llama_3", modality="video")
def video_merge_sizes(reading: Reading) -> list[Layout]:
    """As ``video_grid_thw``, with a merge size per video in the inputs; not known where compression removes tokens."""
    grids = reading.tensor("video_grid_thw").tolist()
    sizes = reading.tensor("video_merge_sizes").tolist()
    kept = reading.inputs.get("video_compression_mask")
    if kept is not None and not bool(kept.bool().all()):
        raise NotKnown("video_compression_mask removes tokens of frames that are like the frame before")
    return [
        frames(reading.modality, count, rows // merge, columns // merge)
        for (count, rows, columns), merge in zip(grids, sizes, strict=True)
    ]


def _seconds(reading: Reading, count: int) -> Sequence[float | None]:
    """Return the seconds per frame of tokens of each video, where the inputs say them."""
    for name in ("second_per_grid_ts", "video_second_per_grid"):
        values = reading.inputs.get(name)
        if values is not None and len(values) == count:
            return [float(value) for value in values]
    return [None] * count


@register_layout("glm4v", "glm4v_moe", "glm46v", "glm_ocr")
def frames_as_images(reading: Reading) -> list[Layout]:
    """Images, and videos whose frames are written with image tokens between the tokens that open and close a video."""
    if reading.inputs.get("video_grid_thw") is None:
        return grid_thw(reading)
    merge = merge_size(reading)
    images = grid_thw(reading) if reading.inputs.get("image_grid_thw") is not None else []
    videos = [
        frames(reading.modality, count, rows // merge, columns // merge)
        for count, rows, columns in reading.tensor("video_grid_thw").tolist()
    ]
    pending: dict[bool, list[Layout]] = {True: [*videos[::-1]], False: [*images[::-1]]}
    found: list[Layout] = []
    for row, runs in enumerate(reading.runs):
        position = 0
        while position < len(runs):
            source = pending[_inside_video(reading, row, runs[position][0])]
            if not source:
                raise NotKnown("the prompt has more images or videos than the inputs")
            found.append(source.pop())
            left = len(found[-1].positions)
            while left > 0 and position < len(runs):
                left -= runs[position][1] - runs[position][0]
                position += 1
    return found


def _inside_video(reading: Reading, row: int, position: int) -> bool:
    """Whether a position lies between the tokens that open and close a video."""
    opening, closing = reading.config.video_start_token_id, reading.config.video_end_token_id
    marks = [token for token in reading.ids[row][:position] if token in (opening, closing)]
    return bool(marks) and marks[-1] == opening


@register_layout("llava_onevision", modality="video")
def pooled_frames(reading: Reading) -> list[Layout]:
    """Frames pooled 2 x 2 to half their sides, rounded up, and one newline token after the last."""
    rows, columns = (math.ceil(side / 2) for side in patch_grid(reading, name="pixel_values_videos"))
    videos, count = reading.tensor("pixel_values_videos").shape[:2]
    return [frames(reading.modality, count, rows, columns, after=1)] * videos


@register_layout("llava_next_video", modality="video")
def strided_frames(reading: Reading) -> list[Layout]:
    """Frames pooled with ``spatial_pool_stride``."""
    rows, columns = patch_grid(reading, reading.config.spatial_pool_stride, "pixel_values_videos")
    videos, count = reading.tensor("pixel_values_videos").shape[:2]
    return [frames(reading.modality, count, rows, columns)] * videos
