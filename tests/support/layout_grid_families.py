"""More cases of ``layout_families``: families whose inputs say the grid, with prompts written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import transformers as hf
from PIL import Image
from torch import Tensor

from . import family_audio as audio
from . import family_grids as grids
from . import family_vision as vision
from .family_parts import IMAGE, MROPE, QWEN_TOKENS, SMALL, text
from .layout_families import Case


@dataclass(frozen=True)
class HandProcessor:
    """An image processor, and the number of tokens of each picture."""

    image_processor: Any
    count: Callable[[dict[str, Tensor], int], int]
    tokenizer: Any = field(default_factory=lambda: SimpleNamespace(convert_ids_to_tokens=str, decode=str))

    def encode(self, pictures: Sequence[Sequence[Image.Image]], types: bool) -> dict[str, Tensor]:
        found = dict(self.image_processor(images=[one for row in pictures for one in row], return_tensors="pt"))
        rows, number = [], 0
        for row in pictures:
            ids = [1, 5]
            for _ in row:
                ids += [95, *[IMAGE] * self.count(found, number), 96]
                number += 1
            rows.append([*ids, 7])
        length = max(map(len, rows))
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        found = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        found |= {"input_ids": ids, "attention_mask": (ids != 0).long()}
        if types:
            found["mm_token_type_ids"] = (ids == IMAGE).long()
        return found


@dataclass(frozen=True)
class HandCase(Case):
    """A case whose prompts are written by hand."""

    types: bool = True

    def inputs(self, processor: HandProcessor, pictures: Sequence[Sequence[Image.Image]]) -> dict[str, Tensor]:
        found = processor.encode(pictures, self.types)
        return {name: value for name, value in found.items() if name not in self.unused}


def merged(found: dict[str, Tensor], number: int) -> int:
    """Patches of ``image_grid_thw`` in blocks of four."""
    return int(found["image_grid_thw"][number].prod()) // 4


PIXELS = {"size": {"shortest_edge": 16, "longest_edge": 10**6}, "merge_size": 2}


def _qwen(make: Callable[[], Any], patch: int) -> Callable[[], tuple[Any, HandProcessor]]:
    return lambda: (make()[0], HandProcessor(hf.Qwen2VLImageProcessor(patch_size=patch, **PIXELS), merged))


GLM = {
    "image_token_id": IMAGE, "video_token_id": 97, "image_start_token_id": 95, "image_end_token_id": 96,
    "video_start_token_id": 91, "video_end_token_id": 92,
}  # fmt: skip
GLM_VISION = {
    "depth": 2, "hidden_size": 32, "num_heads": 4, "image_size": 56, "patch_size": 14, "out_hidden_size": 32,
    "intermediate_size": 64,
}  # fmt: skip


def _cohere_compass() -> tuple[Any, HandProcessor]:
    pixels = hf.CohereCompassImageProcessor(patch_size=16, **PIXELS)
    return grids.cohere_compass()[0], HandProcessor(pixels, merged)


def _glm46v() -> tuple[Any, HandProcessor]:
    decoder = text("glm4v_text", rope_parameters=MROPE)
    config = hf.Glm46VConfig(text_config=decoder, vision_config=GLM_VISION | {"model_type": "glm4v_vision"}, **GLM)
    pixels = hf.Glm46VImageProcessor(patch_size=14, **PIXELS)
    return hf.Glm46VForConditionalGeneration(config), HandProcessor(pixels, merged)


def _glm_ocr() -> tuple[Any, HandProcessor]:
    config = hf.GlmOcrConfig(text_config=text("glm_ocr_text", rope_parameters=MROPE), vision_config=GLM_VISION, **GLM)
    pixels = hf.Glm46VImageProcessor(patch_size=14, **PIXELS)
    return hf.GlmOcrForConditionalGeneration(config), HandProcessor(pixels, merged)


def _glm4v_moe() -> tuple[Any, HandProcessor]:
    decoder = text(
        "glm4v_moe_text", rope_parameters=MROPE, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
        n_shared_experts=1, first_k_dense_replace=1,
    )  # fmt: skip
    config = hf.Glm4vMoeConfig(text_config=decoder, vision_config=GLM_VISION, **GLM)
    pixels = hf.Glm4vImageProcessor(patch_size=14, **PIXELS)
    return hf.Glm4vMoeForConditionalGeneration(config), HandProcessor(pixels, merged)


def _paddleocr_vl() -> tuple[Any, HandProcessor]:
    decoder = text("paddleocr_vl_text", rope_parameters=MROPE)
    config = hf.PaddleOCRVLConfig(
        text_config=decoder, vision_config=SMALL | {"image_size": 56, "patch_size": 14}, **QWEN_TOKENS
    )
    pixels = hf.PaddleOCRVLImageProcessor(patch_size=14, min_pixels=16, max_pixels=10**6, merge_size=2)
    return hf.PaddleOCRVLForConditionalGeneration(config), HandProcessor(pixels, merged)


def _hunyuan_vl() -> tuple[Any, HandProcessor]:
    tower = SMALL | {
        "patch_size": 14, "text_hidden_size": 32, "out_hidden_size": 32, "max_image_size": 112, "min_image_size": 28,
        "img_max_token_num": 64, "num_key_value_heads": 4,
    }  # fmt: skip
    decoder = text("hunyuan_vl_text", rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    config = hf.HunYuanVLConfig(
        text_config=decoder, vision_config=tower, image_token_id=IMAGE, im_start_id=95, im_end_id=96, im_newline_id=94
    )
    pixels = hf.HunYuanVLImageProcessor(patch_size=14, **PIXELS)

    def count(found: dict[str, Tensor], number: int) -> int:
        _, rows, columns = found["image_grid_thw"][number].tolist()
        return rows // 2 * (columns // 2 + 1) + 2

    return hf.HunYuanVLForConditionalGeneration(config), HandProcessor(pixels, count)


def _kimi_k25() -> tuple[Any, HandProcessor]:
    decoder = text(
        "deepseek_v3", n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, n_group=1, topk_group=1,
        q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, first_k_dense_replace=1,
        n_shared_experts=1,
    )  # fmt: skip
    del decoder["head_dim"]
    tower = SMALL | {"patch_size": 14, "pos_emb_height": 8, "pos_emb_width": 8}
    config = hf.Kimi_K25Config(text_config=decoder, vision_config=tower, projection_hidden_size=32, **QWEN_TOKENS)
    pixels = hf.Kimi_K25ImageProcessor(patch_size=14, merge_size=2)
    return hf.Kimi_K25ForConditionalGeneration(config), HandProcessor(pixels, merged)


def _gemma4() -> tuple[Any, HandProcessor]:
    config = vision.gemma4()[0].config
    config.vision_config.update({"patch_size": 8})
    pixels = hf.Gemma4ImageProcessor(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2)

    def count(found: dict[str, Tensor], number: int) -> int:
        return int(found["num_soft_tokens_per_image"][number])

    return hf.Gemma4ForConditionalGeneration(config), HandProcessor(pixels, count)


SMALL_TWO = (((56, 56),), ((140, 84), (56, 112)))
OF_32 = (((64, 64),), ((160, 96), (64, 128)))

GRID_CASES: dict[str, Case] = {
    "qwen3_vl_moe": HandCase(_qwen(vision.qwen3_vl_moe, 16), OF_32),
    "qwen3_5_moe": HandCase(_qwen(vision.qwen3_5_moe, 16), OF_32),
    "qwen2_5_omni_thinker": HandCase(_qwen(audio.qwen2_5_omni_thinker, 14), SMALL_TWO, types=False),
    "qwen3_omni_moe_thinker": HandCase(_qwen(audio.qwen3_omni_thinker, 16), OF_32, types=False),
    "qwen4_exp": HandCase(_qwen(grids.qwen4_exp, 16), OF_32),
    "cosmos3_omni": HandCase(_qwen(grids.cosmos3_omni, 16), OF_32),
    "cohere_compass": HandCase(_cohere_compass, OF_32),
    "hyperclovax_vision_v2": HandCase(_qwen(grids.hyperclovax_vision_v2, 14), SMALL_TWO, types=False),
    "glm46v": HandCase(_glm46v, SMALL_TWO),
    "glm_ocr": HandCase(_glm_ocr, SMALL_TWO),
    "glm4v_moe": HandCase(_glm4v_moe, SMALL_TWO),
    "paddleocr_vl": HandCase(_paddleocr_vl, SMALL_TWO),
    "hunyuan_vl": HandCase(_hunyuan_vl, SMALL_TWO, types=False),
    "kimi_k25": HandCase(_kimi_k25, SMALL_TWO, types=False),
    "gemma4": HandCase(_gemma4, SMALL_TWO, unused=("num_soft_tokens_per_image",)),
}
