"""Videos for tiny models with their families' own processors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import layout_families as images


@dataclass(frozen=True)
class VideoCase:
    """A family, and what the text holds for a video; ``per``: pictures to a frame of tokens."""

    make: Any
    placeholder: str
    per: int = 2
    size: tuple[int, int] = (84, 56)
    seconds: float | None = None


QWEN = "<|vision_start|><|video_pad|><|vision_end|>"
VIDEOS = {
    "qwen2_vl": VideoCase(images._qwen2_vl, QWEN),
    "qwen3_vl": VideoCase(images._qwen3_vl, "<|video_pad|>", size=(96, 64)),
    "glm4v": VideoCase(images._glm4v, "<|begin_of_video|><|video|><|end_of_video|>"),
    "llava_onevision": VideoCase(images._llava_onevision, "<video>", per=1),
    "video_llama_3": VideoCase(images._video_llama_3, "<|video_pad|>", per=1, size=(112, 84)),
}
FRAMES = 4


def inputs_of(case, processor, frames):
    metadata = [{"fps": 2.0, "total_num_frames": FRAMES, "frames_indices": list(range(FRAMES)), "duration": 2.0}]
    found = processor(
        text=[f"<s> see {case.placeholder} what is that"],
        videos=[np.stack([np.asarray(frame) for frame in frames])],
        video_metadata=metadata,
        do_sample_frames=False,
        return_tensors="pt",
    )
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
