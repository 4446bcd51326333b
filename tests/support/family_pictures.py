"""Builders of tiny models that see whole pictures or tiles of them, as LLaVA does."""

from __future__ import annotations

import torch
import transformers as hf

from .family_parts import IMAGE, SMALL, VIDEO, VOCABULARY, Parts, clip, image, pixtral, siglip, text


def vipllava() -> Parts:
    config = hf.VipLlavaConfig(
        text_config=text("llama"), vision_config=clip(), image_token_index=IMAGE, vision_feature_layers=[-1, -2]
    )
    config.vision_feature_layer = [-1, -2]
    return hf.VipLlavaForConditionalGeneration(config), image(1, 3, 28, 28)


def video_llava() -> Parts:
    return _video_llava(), {"pixel_values_images": torch.zeros(1, 3, 28, 28)}


def video_llava_video() -> Parts:
    return _video_llava(), {"pixel_values_videos": torch.zeros(1, 2, 3, 28, 28)}


def _video_llava() -> hf.PreTrainedModel:
    config = hf.VideoLlavaConfig(
        text_config=text("llama"),
        vision_config=clip(),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
    )
    return hf.VideoLlavaForConditionalGeneration(config)


def aria() -> Parts:
    config = hf.AriaConfig(
        text_config=text("aria_text", moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1),
        vision_config=SMALL | {"model_type": "idefics3_vision", "image_size": 28, "patch_size": 14},
        projector_patch_to_query_dict={4: 4},
        image_token_index=IMAGE,
    )
    return hf.AriaForConditionalGeneration(config), image(1, 3, 28, 28)


def cohere2_vision() -> Parts:
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = hf.Cohere2VisionConfig(
        text_config=text("cohere2", sliding_window=8, layer_types=layers),
        vision_config=siglip(56),
        image_token_id=IMAGE,
        alignment_intermediate_size=64,
    )
    return hf.Cohere2VisionForConditionalGeneration(config), image(1, 3, 56, 56)


def deepseek_vl() -> Parts:
    config = hf.DeepseekVLConfig(text_config=text("llama"), vision_config=siglip(), image_token_id=IMAGE)
    return hf.DeepseekVLForConditionalGeneration(config), image(1, 3, 28, 28)


def deepseek_vl_hybrid() -> Parts:
    high = {
        "model_type": "sam_vision_model",
        "hidden_size": 32,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 128,
        "patch_size": 32,
        "global_attn_indexes": [1],
        "window_size": 2,
        "mlp_dim": 64,
    }
    config = hf.DeepseekVLHybridConfig(
        text_config=text("llama"),
        vision_config=siglip(),
        high_res_vision_config=high,
        image_token_id=IMAGE,
    )
    features = image(1, 3, 28, 28) | {"high_res_pixel_values": torch.zeros(1, 3, 128, 128)}
    return hf.DeepseekVLHybridForConditionalGeneration(config), features


def fast_vlm() -> Parts:
    config = hf.FastVlmConfig(
        text_config=text("qwen2"),
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "test_efficientnet",
            "do_pooling": True,
            "hidden_size": 256,
        },
        image_token_index=IMAGE,
    )
    return hf.FastVlmForConditionalGeneration(config), image(1, 3, 64, 64)


def perception_lm() -> Parts:
    tower = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_large_patch14_336",
        "model_args": {
            "embed_dim": 32,
            "img_size": [56, 56],
            "depth": 2,
            "num_heads": 4,
            "global_pool": "",
            "use_post_transformer_norm": False,
            "init_values": 0.1,
            "ref_feat_shape": [4, 4],
        },
    }
    config = hf.PerceptionLMConfig(
        text_config=text("llama"),
        vision_config=tower,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        projector_pooling_ratio=2,
    )
    return hf.PerceptionLMForConditionalGeneration(config), image(1, 1, 3, 56, 56)


def idefics2() -> Parts:
    config = hf.Idefics2Config(
        text_config=text("mistral", sliding_window=None),
        vision_config=SMALL | {"image_size": 28, "patch_size": 14},
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
            "num_key_value_heads": 2,
        },
        image_token_id=IMAGE,
    )
    return hf.Idefics2ForConditionalGeneration(config), image(1, 1, 3, 28, 28)


def janus() -> Parts:
    tower = SMALL | {"image_size": 28, "patch_size": 14, "projection_dim": 32, "num_image_tokens": 4}
    config = hf.JanusConfig(
        text_config=text("llama"),
        vision_config=tower,
        vq_config={
            "base_channels": 32,
            "latent_channels": 32,
            "embed_dim": 8,
            "num_embeddings": 16,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 1,
            "num_patches": 4,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        image_token_id=IMAGE,
    )
    return hf.JanusForConditionalGeneration(config), image(1, 3, 28, 28)


def lighton_ocr() -> Parts:
    config = hf.LightOnOcrConfig(
        text_config=text("qwen3"), vision_config=pixtral(56), spatial_merge_size=2, image_token_id=IMAGE
    )
    features = image(1, 3, 56, 56) | {"image_sizes": torch.tensor([[56, 56]])}
    return hf.LightOnOcrForConditionalGeneration(config), features


def mistral_large4() -> Parts:
    decoder = text(
        "mistral_large4_text",
        mlp_layer_types=["dense", "sparse", "sparse"],
        moe_intermediate_size=16,
        n_routed_experts=4,
        n_shared_experts=1,
        num_experts_per_tok=2,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        index_topk=64,
        index_head_dim=16,
        index_n_heads=2,
        layer_types=["indexed_attention"] * 3,
        indexer_types=["full"] * 3,
        no_rope_layers=[1, 1, 0],
        kv_source_layers=[0, 1, 2],
        num_key_value_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    del decoder["head_dim"]
    config = hf.MistralLarge4Config(text_config=decoder, vision_config=pixtral(56), image_token_index=IMAGE)
    features = image(1, 3, 56, 56) | {"image_sizes": torch.tensor([[56, 56]])}
    return hf.MistralLarge4ForConditionalGeneration(config), features


def llama4() -> Parts:
    decoder = text(
        "llama4_text",
        intermediate_size_mlp=64,
        num_experts_per_tok=1,
        num_local_experts=2,
        interleave_moe_layer_step=2,
        no_rope_layers=[1, 1, 0],
        attention_chunk_size=64,
    )
    tower = SMALL | {
        "image_size": 56,
        "patch_size": 14,
        "vision_output_dim": 32,
        "projector_input_dim": 32,
        "projector_output_dim": 32,
        "intermediate_size": 128,
    }
    config = hf.Llama4Config(text_config=decoder, vision_config=tower, image_token_index=IMAGE)
    return hf.Llama4ForConditionalGeneration(config), image(1, 3, 56, 56)


def ovis2() -> Parts:
    config = hf.Ovis2Config(
        text_config=text("qwen2"),
        vision_config=SMALL
        | {"image_size": 28, "patch_size": 14, "vocab_size": 16, "hidden_stride": 1, "num_visual_indicator_tokens": 5},
        image_token_id=IMAGE,
        visual_indicator_token_ids=(86, 87, 88, 89, 90),
        vocab_size=VOCABULARY,
        hidden_size=32,
    )
    return hf.Ovis2ForConditionalGeneration(config), image(1, 3, 28, 28)


def qianfan_ocr() -> Parts:
    tower = SMALL | {"image_size": [56, 56], "patch_size": [14, 14], "drop_path_rate": 0.0}
    config = hf.QianfanOCRConfig(text_config=text("qwen3"), vision_config=tower, image_token_id=IMAGE)
    return hf.QianfanOCRForConditionalGeneration(config), image(1, 3, 56, 56)


TOKENS = {"video_llava_video": ("video", 10)}
