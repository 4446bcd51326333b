"""Builders of tiny models that see: each returns a model and perceptual inputs of the right shapes."""

from __future__ import annotations

import torch
import transformers as hf

from .family_parts import (
    AUDIO,
    EXPERTS,
    IMAGE,
    MROPE,
    QWEN3_VISION,
    QWEN_TOKENS,
    SMALL,
    VIDEO,
    VOCABULARY,
    Parts,
    clip,
    image,
    pixtral,
    qwen2_5_vision,
    qwen_patches,
    siglip,
    text,
)


def llava() -> Parts:
    config = hf.LlavaConfig(
        text_config=text("llama"), vision_config=clip(), image_token_index=IMAGE, vision_feature_layer=-1
    )
    return hf.LlavaForConditionalGeneration(config), image(1, 3, 28, 28)


def llava_mistral_sliding() -> Parts:
    config = hf.LlavaConfig(
        text_config=text("mistral", sliding_window=6),
        vision_config=clip(),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
    )
    return hf.LlavaForConditionalGeneration(config), image(1, 3, 28, 28)


def llava_next() -> Parts:
    config = hf.LlavaNextConfig(
        text_config=text("llama"),
        vision_config=clip(),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        image_grid_pinpoints=[[28, 28], [28, 56], [56, 28]],
    )
    features = image(1, 2, 3, 28, 28) | {"image_sizes": torch.tensor([[28, 28]])}
    return hf.LlavaNextForConditionalGeneration(config), features


def llava_onevision() -> Parts:
    config = hf.LlavaOnevisionConfig(
        text_config=text("qwen2"),
        vision_config=siglip(),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=[[28, 28], [28, 56], [56, 28]],
    )
    features = image(1, 2, 3, 28, 28) | {"image_sizes": torch.tensor([[28, 28]])}
    return hf.LlavaOnevisionForConditionalGeneration(config), features


def llava_pixtral() -> Parts:
    config = hf.LlavaConfig(
        text_config=text("mistral", sliding_window=None),
        vision_config=pixtral(56),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    features = image(1, 3, 28, 28) | {"image_sizes": torch.tensor([[28, 28]])}
    return hf.LlavaForConditionalGeneration(config), features


def qwen2_vl() -> Parts:
    config = hf.Qwen2VLConfig(
        text_config=text("qwen2_vl_text", rope_parameters=MROPE),
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 14},
        **QWEN_TOKENS,
    )
    return hf.Qwen2VLForConditionalGeneration(config), qwen_patches()


def qwen2_5_vl() -> Parts:
    config = hf.Qwen2_5_VLConfig(
        text_config=text("qwen2_5_vl_text", rope_parameters=MROPE),
        vision_config=qwen2_5_vision(),
        **QWEN_TOKENS,
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), qwen_patches()


def qwen3_vl() -> Parts:
    config = hf.Qwen3VLConfig(
        text_config=text("qwen3_vl_text", rope_parameters=MROPE),
        vision_config=QWEN3_VISION | {"deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return hf.Qwen3VLForConditionalGeneration(config), qwen_patches(16)


def qwen3_vl_moe() -> Parts:
    config = hf.Qwen3VLMoeConfig(
        text_config=text("qwen3_vl_moe_text", rope_parameters=MROPE, num_local_experts=4, **EXPERTS),
        vision_config=QWEN3_VISION | {"deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return hf.Qwen3VLMoeForConditionalGeneration(config), qwen_patches(16)


def qwen3_5_moe() -> Parts:
    linear_attention = {
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    }
    decoder = text(
        "qwen3_5_moe_text",
        rope_parameters=MROPE | {"partial_rotary_factor": 1.0},
        shared_expert_intermediate_size=16,
        **EXPERTS,
        **linear_attention,
    )
    config = hf.Qwen3_5MoeConfig(text_config=decoder, vision_config=QWEN3_VISION, **QWEN_TOKENS)
    return hf.Qwen3_5MoeForConditionalGeneration(config), qwen_patches(16)


def gemma3() -> Parts:
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = hf.Gemma3Config(
        text_config=text("gemma3_text", sliding_window=8, layer_types=layers, query_pre_attn_scalar=8),
        vision_config=siglip(),
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
        boi_token_index=95,
        eoi_token_index=96,
    )
    return hf.Gemma3ForConditionalGeneration(config), image(1, 3, 28, 28)


def gemma4() -> Parts:
    decoder = text(
        "gemma4_text",
        sliding_window=8,
        num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCABULARY,
        num_kv_shared_layers=2,
    )
    tower = {"model_type": "gemma4_vision", "num_key_value_heads": 4, "head_dim": 8, **SMALL}
    config = hf.Gemma4Config(
        text_config=decoder,
        vision_config=tower | {"patch_size": 4, "pooling_kernel_size": 2},
        audio_config=None,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boi_token_id=95,
        eoi_token_id=96,
    )
    positions = torch.cartesian_prod(torch.arange(4), torch.arange(4)).flip(1)[None]
    return hf.Gemma4ForConditionalGeneration(config), image(1, 16, 48) | {"image_position_ids": positions}


def paligemma() -> Parts:
    config = hf.PaliGemmaConfig(
        text_config=text("gemma"),
        vision_config=siglip(projection_dim=32),
        image_token_index=IMAGE,
        projection_dim=32,
        hidden_size=32,
    )
    return hf.PaliGemmaForConditionalGeneration(config), image(1, 3, 28, 28)


def internvl() -> Parts:
    tower = SMALL | {"image_size": [56, 56], "patch_size": [14, 14]}
    config = hf.InternVLConfig(text_config=text("qwen2"), vision_config=tower, image_token_id=IMAGE)
    return hf.InternVLForConditionalGeneration(config), image(1, 3, 56, 56)


def idefics3() -> Parts:
    tower = SMALL | {"image_size": 32, "patch_size": 8}
    config = hf.Idefics3Config(text_config=text("llama"), vision_config=tower, image_token_id=IMAGE, scale_factor=2)
    return hf.Idefics3ForConditionalGeneration(config), image(1, 1, 3, 32, 32)


def smolvlm() -> Parts:
    tower = SMALL | {"image_size": 32, "patch_size": 8}
    config = hf.SmolVLMConfig(text_config=text("llama"), vision_config=tower, image_token_id=IMAGE, scale_factor=2)
    return hf.SmolVLMForConditionalGeneration(config), image(1, 1, 3, 32, 32)


def mistral3() -> Parts:
    config = hf.Mistral3Config(
        text_config=text("mistral", sliding_window=None), vision_config=pixtral(56), image_token_index=IMAGE
    )
    features = image(1, 3, 56, 56) | {"image_sizes": torch.tensor([[56, 56]])}
    return hf.Mistral3ForConditionalGeneration(config), features


def aya_vision() -> Parts:
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = hf.AyaVisionConfig(
        text_config=text("cohere2", sliding_window=8, layer_types=layers),
        vision_config=siglip(56),
        image_token_index=IMAGE,
    )
    return hf.AyaVisionForConditionalGeneration(config), image(1, 3, 56, 56)


def mllama() -> Parts:
    decoder = text("mllama_text_model", cross_attention_layers=[1])
    del decoder["head_dim"]
    tower = {
        "hidden_size": 32,
        "attention_heads": 4,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "image_size": 28,
        "patch_size": 14,
        "max_num_tiles": 1,
        "intermediate_layers_indices": [0],
        "vision_output_dim": 64,
        "supported_aspect_ratios": [[1, 1]],
    }
    config = hf.MllamaConfig(text_config=decoder, vision_config=tower, image_token_index=IMAGE)
    features = image(1, 1, 1, 3, 28, 28) | {
        "aspect_ratio_ids": torch.tensor([[1]]),
        "aspect_ratio_mask": torch.ones(1, 1, 1, dtype=torch.long),
    }
    model = hf.MllamaForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if name.endswith("_gate"):  # closed at the start: the model would not see
            parameter.data.fill_(0.7)
    return model, features
