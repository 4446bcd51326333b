"""Configs and inputs that several tiny models share."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import Tensor

VOCABULARY = 128
IMAGE, AUDIO, VIDEO = 99, 98, 97
Parts = tuple[hf.PreTrainedModel, dict[str, Tensor]]

MROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
QWEN_TOKENS: dict[str, Any] = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": 95,
    "vision_end_token_id": 96,
}
QWEN3_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 4,
    "patch_size": 16,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def text(model_type: str, **options: Any) -> dict[str, Any]:
    """Return the config of a three-layer decoder with two query heads per key-value head."""
    plain = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return plain | options


def clip() -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 32,
        **SMALL,
    }


def siglip(image_size: int = 28, **options: Any) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        "image_size": image_size,
        "patch_size": 14,
        **SMALL,
        **options,
    }


def pixtral(image_size: int) -> dict[str, Any]:
    return {"model_type": "pixtral", "head_dim": 8, "image_size": image_size, "patch_size": 14, **SMALL}


def image(*shape: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.zeros(shape)}


def qwen_patches(patch_size: int = 14) -> dict[str, Tensor]:
    pixels = torch.zeros(16, 3 * 2 * patch_size * patch_size)
    return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, 4, 4]])}


def qwen2_5_vision() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
