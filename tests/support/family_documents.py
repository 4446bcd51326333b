"""Builders of tiny models that read documents, and of others whose vision takes inputs of its own kind."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_grids import FLAT_GRID, LATENT, LINEAR, ROUTED, no_head_dim
from .family_parts import AUDIO, IMAGE, MROPE, SMALL, VIDEO, Parts, image, text

SAM: dict[str, Any] = {
    "hidden_size": 32,
    "output_channels": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 128,
    "patch_size": 16,
    "global_attn_indexes": [1],
    "window_size": 2,
    "mlp_dim": 64,
}


def got_ocr2() -> Parts:
    config = hf.GotOcr2Config(
        text_config=text("qwen2"), vision_config=SAM | {"patch_size": 16}, image_token_index=IMAGE
    )
    return hf.GotOcr2ForConditionalGeneration(config), image(1, 3, 128, 128)


def deepseek_ocr2() -> Parts:
    encoder = text("deepseek_ocr2_encoder", num_hidden_layers=2)
    decoder = text("deepseek_ocr2_text", mlp_layer_types=["dense", "sparse", "sparse"], **ROUTED)
    config = hf.DeepseekOcr2Config(
        text_config=decoder,
        vision_config={"sam_config": SAM | {"downsample_channels": [16, 32]}, "encoder_config": no_head_dim(encoder)},
        image_token_id=IMAGE,
    )
    return hf.DeepseekOcr2ForConditionalGeneration(config), image(1, 3, 128, 128)


def unlimited_ocr() -> Parts:
    decoder = text(
        "unlimited_ocr_text",
        mlp_layer_types=["dense", "sparse", "sparse"],
        layer_types=["reference_sliding_attention"] * 3,
        sliding_window=64,
        **ROUTED,
    )
    vision = {
        "sam_config": SAM | {"downsample_channels": [16, 32]},
        "encoder_config": SMALL | {"image_size": 28, "patch_size": 14},
    }
    config = hf.UnlimitedOcrConfig(text_config=decoder, vision_config=vision, image_token_id=IMAGE)
    return hf.UnlimitedOcrForConditionalGeneration(config), image(1, 3, 128, 128)


def step3p7() -> Parts:
    decoder = text(
        "step3p5",
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        share_expert_dim=16,
        mlp_layer_types=["dense", "sparse", "sparse"],
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        sliding_window=8,
        num_sliding_attention_heads=4,
        query_pre_attn_scalar=8,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1e4},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )
    tower = SMALL | {"image_size": 56, "patch_size": 14, "max_position_embeddings": 16}
    config = hf.Step3p7Config(text_config=decoder, vision_config=tower, image_token_id=IMAGE)
    return hf.Step3p7ForConditionalGeneration(config), image(1, 3, 112, 112)


def _minicpm(config_class: Any, tower: dict[str, Any], **more: Any) -> Any:
    decoder = text("qwen3_5_text", rope_parameters=MROPE | {"partial_rotary_factor": 1.0}, **LINEAR)
    vision = SMALL | {"image_size": 56, "patch_size": 14, "insert_layer_id": 0} | tower
    return config_class(
        text_config=decoder,
        vision_config=vision,
        insert_layer_id=0,
        patch_size=14,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        **more,
    )


def _packed(side: int) -> dict[str, torch.Tensor]:
    """A picture of ``side`` x ``side`` patches, side by side."""
    return {"pixel_values": torch.zeros(1, 3, 14, side**2 * 14), "target_sizes": torch.tensor([[side, side]])}


def minicpm_ocr() -> Parts:
    return hf.MiniCPMOcrForConditionalGeneration(_minicpm(hf.MiniCPMOcrConfig, {})), _packed(4)


def minicpmv4_6() -> Parts:
    config = _minicpm(hf.MiniCPMV4_6Config, {}, image_size=56)
    return hf.MiniCPMV4_6ForConditionalGeneration(config), _packed(8)


def minicpmv4_7() -> Parts:
    more = {"image_start_id": 95, "image_end_id": 96, "slice_start_id": 91, "slice_end_id": 92, "newline_id": 90}
    config = _minicpm(hf.MiniCPMV4_7Config, {}, image_size=56, **more)
    return hf.MiniCPMV4_7ForConditionalGeneration(config), _packed(8)


def molmo2() -> Parts:
    tower = SMALL | {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "image_size": [28, 28],
        "patch_size": 14,
        "num_position_embeddings": 4,
    }
    adapter = {
        "vision_feature_layer": [1, 0],
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 8,
        "intermediate_size": 64,
        "text_hidden_size": 32,
    }
    config = hf.Molmo2Config(
        text_config=text("molmo2_text", additional_vocab_size=8),
        vision_config=tower,
        adapter_config=adapter,
        image_start_token_id=95,
        image_end_token_id=96,
        low_res_image_start_token_id=91,
        frame_start_token_id=89,
        frame_end_token_id=90,
        image_patch_id=IMAGE,
    )
    features = {
        "pixel_values": torch.zeros(1, 4, 3 * 14 * 14),
        "image_token_pooling": torch.arange(4)[:, None],
        "image_grids": torch.tensor([[0, 0, 2, 2]]),
        "image_num_crops": torch.tensor([1]),
    }
    return hf.Molmo2ForConditionalGeneration(config), features


def fuyu() -> Parts:
    decoder = text("persimmon")
    del decoder["num_key_value_heads"], decoder["head_dim"]
    config = hf.FuyuConfig(text_config=decoder, patch_size=14, image_token_id=IMAGE)
    return hf.FuyuForCausalLM(config), image(1, 4, 3 * 14 * 14)


def lfm2_vl() -> Parts:
    decoder = text(
        "lfm2",
        num_hidden_layers=3,
        layer_types=["conv", "full_attention", "conv"],
        block_multiple_of=8,
    )
    tower = SMALL | {"model_type": "siglip2_vision_model", "patch_size": 14, "num_patches": 16}
    config = hf.Lfm2VlConfig(text_config=decoder, vision_config=tower, projector_hidden_size=64, image_token_id=IMAGE)
    features = image(1, 16, 3 * 14 * 14) | {
        "spatial_shapes": torch.tensor([[4, 4]]),
        "pixel_attention_mask": torch.ones(1, 16, dtype=torch.long),
    }
    return hf.Lfm2VlForConditionalGeneration(config), features


def inkling() -> Parts:
    return _inkling(), {"pixel_values": torch.zeros(4, 2, 8, 8, 3)}


def inkling_audio() -> Parts:
    bins = torch.randint(0, 16, (1, 6, 4), generator=torch.Generator().manual_seed(0))
    return _inkling(), {"audio_input_ids": bins}


def _inkling() -> hf.PreTrainedModel:
    decoder = text(
        "inkling_text",
        swa_num_attention_heads=4,
        swa_num_key_value_heads=2,
        swa_head_dim=8,
        sliding_window_size=8,
        d_rel=4,
        rel_extent=32,
        layer_types=["hybrid_sliding", "hybrid_sliding", "hybrid"],
        mlp_layer_types=["dense", "sparse", "sparse"],
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_shared_experts=1,
        logits_mup_width_multiplier=1.0,
    )
    config = hf.InklingConfig(
        text_config=decoder,
        vision_config={"text_hidden_size": 32, "patch_size": 8, "hidden_size": 16, "n_layers": 2},
        audio_config={"n_mel_bins": 4, "mel_vocab_size": 16, "text_hidden_size": 32},
        image_token_id=IMAGE,
        audio_token_id=AUDIO,
        image_bos_token_id=95,
        audio_bos_token_id=93,
    )
    return hf.InklingForConditionalGeneration(config)


def dots3_note() -> Parts:
    rope = {"rope_type": "default", "rope_theta": 1e4}
    decoder = text(
        "dots3_note_text",
        mlp_layer_types=["dense", "sparse", "sparse"],
        layer_types=["indexed_attention", "indexed_attention", "sliding_attention"],
        sliding_window=8,
        index_topk=64,
        index_head_dim=16,
        index_n_heads=2,
        rope_parameters={"sliding_attention": rope, "indexed_attention": rope},
        head_dim=16,
        swa_head_dim=16,
        swa_qk_nope_head_dim=8,
        swa_v_head_dim=8,
        **ROUTED,
        **LATENT,
    )
    seeing = SMALL | {
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "mlp_layer_types": ["dense", "sparse"],
        "adapter_in_dim": 32,
        "adapter_out_dim": 32,
    }
    hearing = SMALL | {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "feature_size": 16,
        "downsample_hidden_size": 8,
        "adapter_input_size": 32,
        "adapter_out_dim": 32,
        "conv_output_size": 16,
    }
    config = hf.Dots3NoteConfig(
        text_config=decoder,
        vision_config=seeing,
        audio_config=hearing,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
    )
    features = {"pixel_values": torch.zeros(16, 3 * 14 * 14), "image_grid_thw": FLAT_GRID}
    return hf.Dots3NoteForConditionalGeneration(config), features


def nemotron_h_omni() -> Parts:
    decoder = text(
        "nemotron_h",
        num_hidden_layers=4,
        layers_block_type=["linear_attention", "moe", "full_attention", "mlp"],
        use_mamba_kernels=False,
        ssm_state_size=8,
        mamba_num_heads=4,
        mamba_head_dim=8,
        n_groups=2,
        expand=1,
        chunk_size=8,
        moe_shared_expert_intermediate_size=16,
        **ROUTED,
    )
    del decoder["num_hidden_layers"]
    tower = {
        "model_type": "radio",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "mlp_ratio": 2.0,
        "patch_size": 14,
        "image_size": 56,
        "max_img_size": 56,
        "num_cls_tokens": 1,
        "num_registers": 1,
        "summary_idxs": [0],
        "video_temporal_patch_size": 2,
    }
    config = hf.NemotronH_Omni_Reasoning_V3_Config(
        text_config=decoder,
        vision_config=tower,
        audio_config=None,
        projector_hidden_size=32,
        vision_hidden_size=32,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
    )
    features = {"pixel_values": torch.zeros(16, 3 * 14 * 14), "image_grid_hw": torch.tensor([[4, 4]])}
    return hf.NemotronH_Omni_Reasoning_V3(config), features


TOKENS = {
    "deepseek_ocr2": ("image", 145),
    "unlimited_ocr": ("image", 7),
    "inkling_audio": ("audio", 6),
}
