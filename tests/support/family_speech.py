"""Builders of tiny models that hear, beside those in ``family_audio``."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_audio import spectrogram
from .family_grids import ROUTED, no_head_dim
from .family_parts import AUDIO, SMALL, Parts, text

ROTARY: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}


def masked(frames: int) -> dict[str, torch.Tensor]:
    """A spectrogram of which all frames count."""
    return {"input_features": spectrogram(frames), "input_features_mask": torch.ones(1, frames, dtype=torch.long)}


def glmasr() -> Parts:
    tower = SMALL | {"num_key_value_heads": 4, "num_mel_bins": 16, "intermediate_size": 128}
    config = hf.GlmAsrConfig(text_config=text("llama"), audio_config=tower, audio_token_id=AUDIO)
    return hf.GlmAsrForConditionalGeneration(config), masked(40)


FLAMINGO: dict[str, Any] = SMALL | {"num_mel_bins": 16, "max_source_positions": 20}


def audioflamingo3() -> Parts:
    config = hf.AudioFlamingo3Config(text_config=text("qwen2"), audio_config=FLAMINGO, audio_token_id=AUDIO)
    return hf.AudioFlamingo3ForConditionalGeneration(config), masked(40)


def musicflamingo() -> Parts:
    config = hf.MusicFlamingoConfig(
        text_config=text("qwen2"),
        audio_config=FLAMINGO | {"model_type": "audioflamingo3_encoder"},
        audio_token_id=AUDIO,
        audio_bos_token_id=93,
        audio_eos_token_id=94,
        head_dim=32,
        rope_parameters=ROTARY | {"partial_rotary_factor": 0.5},
    )
    return hf.MusicFlamingoForConditionalGeneration(config), masked(40)


def fun_asr_nano() -> Parts:
    tower = SMALL | {
        "num_mel_bins": 4,
        "num_stacked_frames": 4,
        "num_timestamp_prediction_layers": 1,
        "fsmn_kernel_size": 3,
    }
    adaptor = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 8, "projector_hidden_size": 32}
    config = hf.FunAsrNanoConfig(
        text_config=text("qwen3"), audio_config=tower, adaptor_config=adaptor, audio_token_id=AUDIO
    )
    features = {"input_features": torch.zeros(1, 6, 16), "input_features_mask": torch.ones(1, 6, dtype=torch.long)}
    return hf.FunAsrNanoForConditionalGeneration(config), features


def omniasr() -> Parts:
    tower = SMALL | {
        "conv_dim": (16, 16),
        "conv_kernel": (10, 8),
        "conv_stride": (5, 8),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "layerdrop": 0.0,
    }
    config = hf.OmniASRConfig(text_config=text("llama"), audio_config=tower, audio_token_id=AUDIO)
    features = {"input_values": torch.zeros(1, 1, 250), "padding_mask": torch.ones(1, 250, dtype=torch.long)}
    return hf.OmniASRForConditionalGeneration(config), features


def moss_transcribe_diarize() -> Parts:
    tower = SMALL | {"num_mel_bins": 16, "max_source_positions": 20}
    config = hf.MossTranscribeDiarizeConfig(
        text_config=text("qwen3"), audio_config=tower, audio_token_id=AUDIO, audio_chunk_size=400
    )
    features = masked(40) | {"padding_mask": torch.ones(1, 400, dtype=torch.long)}
    return hf.MossTranscribeDiarizeForConditionalGeneration(config), features


def _granite(config_class: Any, **more: Any) -> Any:
    encoder = {
        "input_dim": 16,
        "num_layers": 2,
        "hidden_dim": 32,
        "feedforward_mult": 2,
        "num_heads": 4,
        "dim_head": 8,
        "output_dim": 8,
        "context_size": 20,
        "max_pos_emb": 32,
        "conv_kernel_size": 3,
    }
    projector = SMALL | {"model_type": "blip_2_qformer", "encoder_hidden_size": 32, "cross_attention_frequency": 1}
    return config_class(
        text_config=text("granite", attention_multiplier=0.35),
        encoder_config=encoder | more,
        projector_config=projector,
        audio_token_index=AUDIO,
        has_lora_adapter=False,
        downsample_rate=5,
        window_size=15,
    )


def _granite_features() -> dict[str, torch.Tensor]:
    return {"input_features": torch.zeros(1, 30, 16), "input_features_mask": torch.ones(1, 6, dtype=torch.bool)}


def granite_speech() -> Parts:
    config = _granite(hf.GraniteSpeechConfig)
    return hf.GraniteSpeechForConditionalGeneration(config), _granite_features()


def granite_speech_plus() -> Parts:
    config = _granite(hf.GraniteSpeechPlusConfig)
    return hf.GraniteSpeechPlusForConditionalGeneration(config), _granite_features()


def vibevoice_asr() -> Parts:
    encoder = {
        "model_type": "vibevoice_acoustic_tokenizer_encoder",
        "hidden_size": 16,
        "kernel_size": 3,
        "num_filters": 4,
        "downsampling_ratios": (4, 5),
        "depths": (1, 1, 1),
        "ffn_expansion": 2,
        "vae_std": 0.0,
    }
    config = hf.VibeVoiceAsrConfig(
        text_config=text("qwen2"),
        semantic_tokenizer_encoder_config=encoder,
        acoustic_tokenizer_encoder_config=encoder,
        audio_token_id=AUDIO,
        audio_bos_token_id=93,
        audio_eos_token_id=94,
        acoustic_tokenizer_chunk_size=400,
    )
    features = {"input_values": torch.zeros(1, 1, 120), "padding_mask": torch.ones(1, 120, dtype=torch.bool)}
    return hf.VibeVoiceAsrForConditionalGeneration(config), features


def nemotron3_5_transcribe() -> Parts:
    decoder = text(
        "nemotron_h",
        layers_block_type=["linear_attention", "moe", "full_attention"],
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
    hearing = SMALL | {"num_key_value_heads": 4, "num_mel_bins": 16}
    listening = {
        "audio_config": hearing,
        "head_config": {"hidden_size": 16, "num_speakers": 2, "audio_hidden_size": 32},
        "streaming_config": {"num_speakers": 2},
    }
    config = hf.Nemotron3_5TranscribeConfig(
        text_config=decoder,
        audio_config={"asr_config": hearing, "diarization_config": listening},
        word_timestamp_config=no_head_dim(SMALL) | {"num_key_value_heads": 4, "vocab_size": 16, "blank_token_id": 15},
        audio_token_id=AUDIO,
    )
    features = {"input_features": torch.zeros(1, 64, 16), "input_features_mask": torch.ones(1, 64, dtype=torch.bool)}
    return hf.Nemotron3_5TranscribeForConditionalGeneration(config), features


def voxtral_realtime() -> Parts:
    tower = SMALL | {"num_mel_bins": 16, "head_dim": 8, "sliding_window": 8, "vocab_size": 16}
    config = hf.VoxtralRealtimeConfig(
        text_config=text("voxtral_realtime_text", sliding_window=8),
        audio_config=tower,
        hidden_size=32,
        audio_length_per_tok=8,
    )
    return hf.VoxtralRealtimeForConditionalGeneration(config), {"input_features": spectrogram(320)}


TOKENS = {
    name: ("audio", count)
    for name, count in {
        "glmasr": 5,
        "audioflamingo3": 10,
        "musicflamingo": 10,
        "fun_asr_nano": 6,
        "omniasr": 6,
        "moss_transcribe_diarize": 5,
        "granite_speech": 6,
        "granite_speech_plus": 6,
        "vibevoice_asr": 6,
        "nemotron3_5_transcribe": 8,
        "voxtral_realtime": 12,
    }.items()
}
