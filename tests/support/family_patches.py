"""Builders of tiny models that see patches with a grid, continued from ``family_grids``."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_grids import flat_patches, square_patches
from .family_parts import IMAGE, MROPE, QWEN_TOKENS, SMALL, VIDEO, Parts, qwen_patches, text


def lfm3_vl() -> Parts:
    decoder = text(
        "lfm3",
        num_hidden_layers=4,
        sliding_window=8,
        conv_L_cache=3,
        layer_types=["conv", "full_attention", "conv", "sliding_attention"],
    )
    tower = SMALL | {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}
    config = hf.Lfm3VlConfig(text_config=decoder, vision_config=tower, projector_hidden_size=64, **QWEN_TOKENS)
    return hf.Lfm3VlForConditionalGeneration(config), flat_patches(16, 2)


def minimax_m3_vl() -> Parts:
    decoder = text(
        "minimax_m3_vl_text",
        num_local_experts=4,
        num_experts_per_tok=2,
        dense_intermediate_size=32,
        shared_intermediate_size=32,
        rotary_dim=8,
        mlp_layer_types=["dense", "sparse", "sparse"],
        layer_types=["full_attention"] * 3,
    )
    tower = SMALL | {"image_size": 56}
    config = hf.MiniMaxM3VLConfig(
        text_config=decoder,
        vision_config=tower,
        projector_hidden_size=32,
        merged_hidden_size=128,
        image_token_index=IMAGE,
        video_token_index=VIDEO,
    )
    return hf.MiniMaxM3SparseForConditionalGeneration(config), qwen_patches()


def _muse_decoder(model_type: str, **more: Any) -> dict[str, Any]:
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    more |= {"sliding_window": 8, "layer_types": layers, "layer_rope_theta": [1e4, 1e4, 0]}
    return text(model_type, output_multiplier=1.0, qk_scale_factor=1.0, **more)


MUSE_VISION: dict[str, Any] = SMALL | {
    "pos_emb_height": 4,
    "pos_emb_width": 4,
    "max_position_embeddings": 16,
    "layer_types": ["window_attention", "full_attention"],
}


def muse_glimmer() -> Parts:
    config = hf.MuseGlimmerConfig(
        text_config=_muse_decoder("muse_glimmer_text"),
        vision_config=MUSE_VISION,
        out_hidden_size=128,
        projector_hidden_size=32,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
    )
    return hf.MuseGlimmerForConditionalGeneration(config), qwen_patches()


def muse_spark() -> Parts:
    sparse = {
        "moe_intermediate_size": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "moe_hidden_size": 32,
        "mlp_layer_types": ["dense", "sparse", "sparse"],
    }
    hearing = {"hidden_sizes": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "out_hidden_size": 32}
    config = hf.MuseSparkConfig(
        text_config=_muse_decoder("muse_spark_text", **sparse),
        vision_config=MUSE_VISION,
        audio_config=hearing,
        out_hidden_size=128,
        projector_hidden_size=32,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=98,
    )
    return hf.MuseSparkForConditionalGeneration(config), qwen_patches()


def paddleocr_vl() -> Parts:
    config = hf.PaddleOCRVLConfig(
        text_config=text("paddleocr_vl_text", rope_parameters=MROPE),
        vision_config=SMALL | {"image_size": 56},
        **QWEN_TOKENS,
    )
    return hf.PaddleOCRVLForConditionalGeneration(config), square_patches(14)


def video_llama_3() -> Parts:
    config = hf.VideoLlama3Config(
        text_config=text("qwen2"), vision_config=SMALL, image_token_id=IMAGE, video_token_id=VIDEO
    )
    features = flat_patches(16) | {"image_merge_sizes": torch.tensor([2])}
    return hf.VideoLlama3ForConditionalGeneration(config), features


def inkling2() -> Parts:
    return hf.Inkling2ForConditionalGeneration(hf.Inkling2Config(**_inkling2("inkling2_text"))), _merged_pictures()


def inkling2_loop() -> Parts:
    more = {"loop_layer_index_start": 1, "loop_layer_index_end": 2, "loop_num_passes": 2, "loop_gate_rank": 4}
    config = hf.Inkling2LoopConfig(**_inkling2("inkling2_loop_text", **more))
    return hf.Inkling2LoopForConditionalGeneration(config), _merged_pictures()


def _merged_pictures() -> dict[str, torch.Tensor]:
    """Four squares of 2 x 2 patches, channels last."""
    return {"pixel_values": torch.zeros(4, 40, 40, 3), "image_grid_thw": torch.tensor([[1, 2, 2]])}


def _inkling2(model_type: str, **more: Any) -> dict[str, Any]:
    decoder = text(
        model_type,
        unpadded_vocab_size=128,
        swa_num_attention_heads=4,
        swa_num_key_value_heads=2,
        swa_head_dim=8,
        sliding_window_size=8,
        d_rel=4,
        rel_extent=32,
        layer_types=["hybrid_sliding", "hybrid_sliding", "hybrid"],
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_layers_per_attn_res_block=1,
        **more,
    )
    tower = SMALL | {"posemb_grid_size": 4, "projection_hidden_dim": 32, "text_hidden_size": 32}
    return {"text_config": decoder, "vision_config": tower, "image_token_id": IMAGE}
