"""Builders of tiny models that see patches with a grid (frames, rows, columns), as Qwen2-VL's processor gives them."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_parts import (
    EXPERTS,
    IMAGE,
    MROPE,
    QWEN3_VISION,
    QWEN_TOKENS,
    SMALL,
    VIDEO,
    Parts,
    qwen2_5_vision,
    qwen_patches,
    text,
)

GLM_TOKENS: dict[str, Any] = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "image_start_token_id": 95,
    "image_end_token_id": 96,
    "video_start_token_id": 91,
    "video_end_token_id": 92,
}
GLM_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
ROUTED: dict[str, Any] = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
LINEAR: dict[str, Any] = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}
FLAT_GRID = torch.tensor([[1, 4, 4]])


def flat_patches(size: int, frames: int = 1, count: int = 16) -> dict[str, torch.Tensor]:
    """One picture of 4 x 4 patches of ``size`` x ``size`` pixels."""
    return {"pixel_values": torch.zeros(count, 3 * frames * size * size), "image_grid_thw": FLAT_GRID}


def square_patches(size: int) -> dict[str, torch.Tensor]:
    """The same, with each patch as a small picture."""
    return {"pixel_values": torch.zeros(16, 3, size, size), "image_grid_thw": FLAT_GRID}


def no_head_dim(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "head_dim"}


def qwen2_5_vl_video() -> Parts:
    config = hf.Qwen2_5_VLConfig(
        text_config=text("qwen2_5_vl_text", rope_parameters=MROPE), vision_config=qwen2_5_vision(), **QWEN_TOKENS
    )
    features = {"pixel_values_videos": torch.zeros(32, 1176), "video_grid_thw": torch.tensor([[2, 4, 4]])}
    return hf.Qwen2_5_VLForConditionalGeneration(config), features


def qwen3_5() -> Parts:
    decoder = text("qwen3_5_text", rope_parameters=MROPE | {"partial_rotary_factor": 1.0}, **LINEAR)
    config = hf.Qwen3_5Config(text_config=decoder, vision_config=QWEN3_VISION, **QWEN_TOKENS)
    return hf.Qwen3_5ForConditionalGeneration(config), qwen_patches(16)


def qwen4_exp() -> Parts:
    decoder = text(
        "qwen4_exp_text",
        rope_parameters=MROPE | {"partial_rotary_factor": 1.0},
        shared_expert_intermediate_size=16,
        hc_count=2,
        hc_lowrank=8,
        ple_embed_dim=16,
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=8,
        indexer_budget=64,
        indexer_compress_ratio=2,
        **EXPERTS,
        **LINEAR | {"layer_types": ["linear_attention", "linear_attention", "indexed_attention"]},
    )
    config = hf.Qwen4ExpConfig(text_config=decoder, vision_config=QWEN3_VISION, **QWEN_TOKENS)
    return hf.Qwen4ExpForConditionalGeneration(config), qwen_patches(16)


def cosmos3_omni() -> Parts:
    config = hf.Cosmos3OmniConfig(
        text_config=text("qwen3_vl_text", rope_parameters=MROPE),
        vision_config=QWEN3_VISION | {"deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return hf.Cosmos3OmniForConditionalGeneration(config), qwen_patches(16)


def cosmos3_edge() -> Parts:
    config = hf.Cosmos3EdgeConfig(
        text_config=text("cosmos3_edge_text", rope_parameters=MROPE),
        vision_config=SMALL | {"patch_size": 16, "num_patches": 16},
        projector_hidden_size=64,
        **QWEN_TOKENS,
    )
    return hf.Cosmos3EdgeForConditionalGeneration(config), flat_patches(16)


def cohere_compass() -> Parts:
    config = hf.CohereCompassConfig(
        text_config=text(
            "cohere_compass_text", rope_parameters={"full_attention": MROPE}, layer_types=["full_attention"] * 3
        ),
        vision_config=QWEN3_VISION | {"deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return hf.CohereCompassForConditionalGeneration(config), qwen_patches(16)


def ernie4_5_vl_moe() -> Parts:
    decoder = text(
        "ernie4_5_vl_moe_text",
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        moe_intermediate_size=[16, 16],
        moe_k=2,
        moe_num_experts=4,
        moe_num_shared_experts=1,
    )
    tokens = GLM_TOKENS
    tower = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    config = hf.Ernie4_5_VLMoeConfig(text_config=no_head_dim(decoder), vision_config=tower, **tokens)
    return hf.Ernie4_5_VLMoeForConditionalGeneration(config), flat_patches(14)


def exaone4_5() -> Parts:
    config = hf.Exaone4_5_Config(
        text_config=text("exaone4", sliding_window=None, layer_types=["full_attention"] * 3),
        vision_config=qwen2_5_vision() | {"num_key_value_heads": 2},
        image_token_id=IMAGE,
        video_token_id=VIDEO,
    )
    return hf.Exaone4_5_ForConditionalGeneration(config), qwen_patches()


def hyperclovax_vision_v2() -> Parts:
    config = hf.HyperCLOVAXVisionV2Config(
        text_config=text("hyperclovax"), vision_config=qwen2_5_vision(), image_token_id=IMAGE, video_token_id=VIDEO
    )
    return hf.HyperCLOVAXVisionV2ForConditionalGeneration(config), qwen_patches()


def glm4v() -> Parts:
    config = hf.Glm4vConfig(
        text_config=text("glm4v_text", rope_parameters=MROPE), vision_config=GLM_VISION, **GLM_TOKENS
    )
    return hf.Glm4vForConditionalGeneration(config), qwen_patches()


def glm46v() -> Parts:
    config = hf.Glm46VConfig(
        text_config=text("glm4v_text", rope_parameters=MROPE),
        vision_config=GLM_VISION | {"model_type": "glm4v_vision"},
        **GLM_TOKENS,
    )
    return hf.Glm46VForConditionalGeneration(config), qwen_patches()


def glm4v_moe() -> Parts:
    decoder = text(
        "glm4v_moe_text", rope_parameters=MROPE | {"partial_rotary_factor": 1.0}, first_k_dense_replace=1, **ROUTED
    )
    config = hf.Glm4vMoeConfig(text_config=decoder, vision_config=GLM_VISION, **GLM_TOKENS)
    return hf.Glm4vMoeForConditionalGeneration(config), qwen_patches()


def glm_ocr() -> Parts:
    config = hf.GlmOcrConfig(
        text_config=text("glm_ocr_text", rope_parameters=MROPE), vision_config=GLM_VISION, **GLM_TOKENS
    )
    return hf.GlmOcrForConditionalGeneration(config), qwen_patches()


def glm5_next() -> Parts:
    decoder = text(
        "glm5_next_text",
        num_hidden_layers=4,
        mlp_layer_types=["dense", "sparse", "sparse", "sparse"],
        layer_types=["linear_attention", "linear_attention", "linear_attention", "indexed_attention"],
        indexer_types=["full"] * 4,
        index_topk=64,
        index_head_dim=8,
        index_n_heads=2,
        index_kpool=2,
        linear_head_dim=8,
        linear_num_heads=4,
        hc_mult=2,
        hc_sinkhorn_iters=3,
        **ROUTED,
        **LATENT | {"qk_rope_head_dim": 0, "qk_nope_head_dim": 16},
    )
    config = hf.Glm5NextConfig(
        text_config=no_head_dim(decoder),
        vision_config=GLM_VISION | {"projection_intermediate_size": 64},
        **GLM_TOKENS,
    )
    return hf.Glm5NextForConditionalGeneration(config), qwen_patches()


def hunyuan_vl() -> Parts:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1, 1]}
    tower = SMALL | {"num_key_value_heads": 4, "out_hidden_size": 32, "text_hidden_size": 32, "max_image_size": 64}
    config = hf.HunYuanVLConfig(
        text_config=text("hunyuan_vl_text", rope_parameters=rope),
        vision_config=tower,
        image_token_id=IMAGE,
        im_start_id=95,
        im_end_id=96,
        im_newline_id=92,
    )
    return hf.HunYuanVLForConditionalGeneration(config), flat_patches(16)


def hy_v4_vl() -> Parts:
    decoder = text(
        "hy_v4_vl_text",
        rope_parameters=MROPE,
        mlp_layer_types=["dense", "sparse", "sparse"],
        layer_types=["indexed_attention"] * 3,
        indexer_types=["full", "full", "shared"],
        index_topk=64,
        index_head_dim=16,
        index_n_heads=2,
        hc_mult=2,
        **ROUTED,
        **LATENT,
    )
    tower = SMALL | {"num_key_value_heads": 4, "out_hidden_size": 32, "max_image_size": 64}
    config = hf.HYV4VLConfig(text_config=decoder, vision_config=tower, image_token_id=IMAGE, video_token_id=VIDEO)
    return hf.HYV4VLForConditionalGeneration(config), flat_patches(16)


def kimi_k25() -> Parts:
    decoder = text("deepseek_v3", first_k_dense_replace=1, **ROUTED, **LATENT)
    config = hf.Kimi_K25Config(
        text_config=no_head_dim(decoder),
        vision_config=SMALL | {"pos_emb_height": 4, "pos_emb_width": 4},
        projection_hidden_size=32,
        **QWEN_TOKENS,
    )
    return hf.Kimi_K25ForConditionalGeneration(config), square_patches(14)


TOKENS = {"qwen2_5_vl_video": ("video", 8), "hunyuan_vl": ("image", 8), "hy_v4_vl": ("image", 6)}
