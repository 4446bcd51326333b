"""Builders of tiny models with tiles, videos or vision of their own, beside those in ``family_pictures``."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_parts import AUDIO, IMAGE, SMALL, VIDEO, VOCABULARY, Parts, clip, image, siglip, text

TILES: dict[str, Any] = {"image_grid_pinpoints": [[28, 28], [28, 56], [56, 28]]}
QFORMER: dict[str, Any] = SMALL | {"model_type": "blip_2_qformer", "encoder_hidden_size": 32}


def llava_next_video() -> Parts:
    features = image(1, 2, 3, 28, 28) | {"image_sizes": torch.tensor([[28, 28]])}
    return _llava_next_video(28), features


def llava_next_video_video() -> Parts:
    return _llava_next_video(56), {"pixel_values_videos": torch.zeros(1, 2, 3, 56, 56)}


def _llava_next_video(size: int) -> hf.PreTrainedModel:
    config = hf.LlavaNextVideoConfig(
        text_config=text("llama"),
        vision_config=clip() | {"image_size": size},
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        **TILES,
    )
    return hf.LlavaNextVideoForConditionalGeneration(config)


def llava_onevision_video() -> Parts:
    config = hf.LlavaOnevisionConfig(
        text_config=text("qwen2"),
        vision_config=siglip(56),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        **TILES,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), {"pixel_values_videos": torch.zeros(1, 2, 3, 56, 56)}


def gemma3n() -> Parts:
    return _gemma3n(), image(1, 3, 64, 64)


def gemma3n_audio() -> Parts:
    features = {
        "input_features": torch.zeros(1, 64, 16),
        "input_features_mask": torch.ones(1, 64, dtype=torch.bool),
    }
    return _gemma3n(), features


def _gemma3n() -> hf.PreTrainedModel:
    decoder = text(
        "gemma3n_text",
        num_hidden_layers=4,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        intermediate_size=[64] * 4,
        activation_sparsity_pattern=[0.95, 0.0, 0.0, 0.0],
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCABULARY,
        num_kv_shared_layers=2,
        altup_num_inputs=2,
        laurel_rank=4,
    )
    hearing = {
        "vocab_size": 4,
        "vocab_offset": VOCABULARY + 4,
        "input_feat_size": 16,
        "hidden_size": 32,
        "conf_num_attention_heads": 4,
        "conf_num_hidden_layers": 1,
        "conf_attention_chunk_size": 4,
        "conf_attention_context_left": 5,
        "sscp_conv_channel_size": (8, 4),
    }
    seeing = {
        "architecture": "test_efficientnet",
        "hidden_size": 256,
        "vocab_size": 4,
        "vocab_offset": VOCABULARY,
    }
    config = hf.Gemma3nConfig(
        text_config=decoder | {"vocab_size": VOCABULARY + 8},
        vision_config=seeing,
        audio_config=hearing,
        vision_soft_tokens_per_image=4,
        audio_soft_tokens_per_image=4,
        image_token_id=IMAGE,
        audio_token_id=AUDIO,
        boi_token_id=95,
        eoi_token_id=96,
        boa_token_id=93,
        eoa_token_id=94,
    )
    return hf.Gemma3nForConditionalGeneration(config)


def gemma4_unified() -> Parts:
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = hf.Gemma4UnifiedConfig(
        text_config=text("gemma4_unified_text", sliding_window=8, layer_types=layers),
        vision_config={
            "model_type": "gemma4_unified_vision",
            "patch_size": 4,
            "pooling_kernel_size": 1,
            "mm_embed_dim": 32,
            "output_proj_dims": 32,
        },
        audio_config=None,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boi_token_id=95,
        eoi_token_id=96,
    )
    positions = torch.cartesian_prod(torch.arange(2), torch.arange(2)).flip(1)[None]
    return hf.Gemma4UnifiedForConditionalGeneration(config), image(1, 4, 48) | {"image_position_ids": positions}


def granite4_vision() -> Parts:
    config = hf.Granite4VisionConfig(
        text_config=text("granite4_vision_text"),
        vision_config=clip() | {"image_size": 56, "hidden_size": 64},
        qformer_config=QFORMER,
        image_token_index=IMAGE,
        downsample_rate="1/2",
        deepstack_layer_map=[[-1, 0]],
        spatial_target_layers=[1, 1, 1, 1],
        **{"image_grid_pinpoints": [[56, 56], [56, 112], [112, 56]]},
    )
    features = image(1, 2, 3, 56, 56) | {"image_sizes": torch.tensor([[56, 56]])}
    return hf.Granite4VisionForConditionalGeneration(config), features


def granite_docling() -> Parts:
    config = hf.GraniteDoclingConfig(
        text_config=text("granite_docling_text", embedding_multiplier=1.0, logits_scaling=1.0, residual_multiplier=1.0),
        vision_config=SMALL
        | {
            "image_size": 64,
            "patch_size": 8,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0],
            "use_fine_route": False,
        },
        image_token_id=IMAGE,
    )
    features = image(1, 1, 3, 64, 64) | {"pixel_attention_mask": torch.ones(1, 1, dtype=torch.bool)}
    return hf.GraniteDoclingForConditionalGeneration(config), features


TOKENS = {
    "llava_next_video": ("image", 10),
    "llava_next_video_video": ("video", 8),
    "llava_onevision_video": ("video", 9),
    "gemma3n_audio": ("audio", 4),
    "granite4_vision": ("image", 10),
}
