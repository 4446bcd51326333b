"""Builders of tiny models that hear (and some that also see): each returns a model and perceptual inputs."""

from __future__ import annotations

from typing import Any

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
    Parts,
    qwen2_5_vision,
    qwen_patches,
    text,
)

WHISPER: dict[str, Any] = {
    "num_mel_bins": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "d_model": 32,
    "max_source_positions": 20,
}
OMNI_AUDIO: dict[str, Any] = {**WHISPER, "n_window": 10, "output_dim": 32}
OMNI_TOKENS: dict[str, Any] = {"audio_start_token_id": 93, "audio_end_token_id": 94, "user_token_id": 5}


def spectrogram(frames: int) -> torch.Tensor:
    return torch.zeros(1, 16, frames)


def qwen2_audio() -> Parts:
    config = hf.Qwen2AudioConfig(text_config=text("qwen2"), audio_config=WHISPER, audio_token_index=AUDIO)
    mask = torch.ones(1, 40, dtype=torch.long)
    features = {"input_features": spectrogram(40), "feature_attention_mask": mask}
    return hf.Qwen2AudioForConditionalGeneration(config), features


def voxtral() -> Parts:
    tower = SMALL | {"intermediate_size": 128, "num_mel_bins": 16, "max_source_positions": 20}
    config = hf.VoxtralConfig(text_config=text("llama"), audio_config=tower, audio_token_id=AUDIO, hidden_size=32)
    return hf.VoxtralForConditionalGeneration(config), {"input_features": spectrogram(40)}


def qwen2_5_omni_thinker() -> Parts:
    config = hf.Qwen2_5OmniThinkerConfig(
        text_config=text("qwen2_5_omni_text", rope_parameters=MROPE),
        vision_config=qwen2_5_vision(),
        audio_config=OMNI_AUDIO,
        audio_token_index=AUDIO,
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_start_token_id=95,
        vision_end_token_id=96,
        **OMNI_TOKENS,
    )
    mask = torch.ones(1, 40, dtype=torch.long)
    features = {"input_features": spectrogram(40), "feature_attention_mask": mask}
    return hf.Qwen2_5OmniThinkerForConditionalGeneration(config), features


def qwen2_5_omni_thinker_image() -> Parts:
    model, _ = qwen2_5_omni_thinker()
    return model, qwen_patches()


def qwen3_omni_thinker() -> Parts:
    tower = OMNI_AUDIO | {"n_window_infer": 40, "conv_chunksize": 100, "downsample_hidden_size": 8}
    config = hf.Qwen3OmniMoeThinkerConfig(
        text_config=text("qwen3_omni_moe_text", rope_parameters=MROPE, **EXPERTS),
        vision_config=QWEN3_VISION | {"deepstack_visual_indexes": [0]},
        audio_config=tower,
        audio_token_id=AUDIO,
        **QWEN_TOKENS,
        **OMNI_TOKENS,
    )
    return hf.Qwen3OmniMoeThinkerForConditionalGeneration(config), qwen_patches(16)


def qwen3_asr() -> Parts:
    tower = OMNI_AUDIO | {
        "n_window": 50,
        "n_window_infer": 800,
        "conv_chunksize": 500,
        "downsample_hidden_size": 8,
        "max_source_positions": 1500,
    }
    config = hf.Qwen3ASRConfig(text_config=text("qwen3"), audio_config=tower, audio_token_id=AUDIO)
    mask = torch.ones(1, 100, dtype=torch.long)
    features = {"input_features": spectrogram(100), "input_features_mask": mask}
    return hf.Qwen3ASRForConditionalGeneration(config), features


def _phi4_multimodal() -> hf.PreTrainedModel:
    hearing = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_blocks": 2,
        "num_attention_heads": 4,
        "ext_pw_out_channel": 32,
        "depthwise_separable_out_channel": 32,
        "input_size": 16,
        "nemo_conv_channels": 8,
        "nemo_final_size": 2,
        "audio_token_id": AUDIO,
    }
    seeing = {**SMALL, "image_size": 28, "crop_size": 28, "patch_size": 14, "image_token_id": IMAGE}
    decoder = text("phi4_multimodal")
    del decoder["model_type"], decoder["head_dim"]
    config = hf.Phi4MultimodalConfig(audio_config=hearing, vision_config=seeing, **decoder)
    return hf.Phi4MultimodalForCausalLM(config)


def phi4_multimodal_audio() -> Parts:
    features = {
        "audio_input_features": torch.zeros(1, 32, 16),
        "audio_embed_sizes": torch.tensor([4]),
        "audio_attention_mask": torch.ones(1, 32, dtype=torch.bool),
    }
    return _phi4_multimodal(), features


def phi4_multimodal_image() -> Parts:
    features = {
        "image_pixel_values": torch.zeros(1, 2, 3, 28, 28),
        "image_sizes": torch.tensor([[28, 28]]),
        "image_attention_mask": torch.ones(1, 2, 2, 2, dtype=torch.bool),
    }
    return _phi4_multimodal(), features
