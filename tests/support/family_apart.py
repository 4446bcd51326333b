"""Builders of tiny models that keep images or sounds out of their decoder's input, or decode in a way of their own.

They are encoder-decoders, read by cross-attention, merge in the decoder, or call ``generate`` of a language model
inside.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_parts import IMAGE, SMALL, VIDEO, VOCABULARY, Parts, image, siglip, text

BERT: dict[str, Any] = SMALL | {"vocab_size": VOCABULARY, "max_position_embeddings": 64}
QFORMER: dict[str, Any] = BERT | {"encoder_hidden_size": 32, "cross_attention_frequency": 1}
TOWER: dict[str, Any] = SMALL | {"image_size": 28, "patch_size": 14}
SPECIAL: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
QUESTION: dict[str, torch.Tensor] = {
    "qformer_input_ids": torch.tensor([[3, 4, 5]]),
    "qformer_attention_mask": torch.ones(1, 3, dtype=torch.long),
}


def blip() -> Parts:
    decoder = BERT | SPECIAL | {"encoder_hidden_size": 32, "projection_dim": 32, "sep_token_id": 2}
    config = hf.BlipConfig(text_config=decoder, vision_config=TOWER | {"projection_dim": 32}, projection_dim=32)
    return hf.BlipForConditionalGeneration(config), image(1, 3, 28, 28)


def blip_2() -> Parts:
    config = hf.Blip2Config(
        vision_config=TOWER,
        qformer_config=QFORMER,
        text_config=text("llama"),
        num_query_tokens=4,
        image_token_index=IMAGE,
        image_text_hidden_size=32,
    )
    return hf.Blip2ForConditionalGeneration(config), image(1, 3, 28, 28)


def instructblip() -> Parts:
    config = hf.InstructBlipConfig(
        vision_config=TOWER,
        qformer_config=QFORMER,
        text_config=text("llama"),
        num_query_tokens=4,
        image_token_index=IMAGE,
    )
    return hf.InstructBlipForConditionalGeneration(config), image(1, 3, 28, 28) | QUESTION


def instructblipvideo() -> Parts:
    config = hf.InstructBlipVideoConfig(
        vision_config=TOWER,
        qformer_config=QFORMER,
        text_config=text("llama"),
        num_query_tokens=2,
        video_token_index=VIDEO,
    )
    return hf.InstructBlipVideoForConditionalGeneration(config), image(1, 2, 3, 28, 28) | QUESTION


def git() -> Parts:
    decoder = BERT | SPECIAL
    return hf.GitForCausalLM(hf.GitConfig(vision_config=TOWER, **decoder)), image(1, 3, 28, 28)


def kosmos_2() -> Parts:
    decoder = {
        "vocab_size": VOCABULARY,
        "embed_dim": 32,
        "layers": 2,
        "ffn_dim": 64,
        "attention_heads": 4,
        "max_position_embeddings": 64,
        **SPECIAL,
    }
    config = hf.Kosmos2Config(text_config=decoder, vision_config=TOWER, latent_query_num=4)
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[:, 4:8] = True
    return hf.Kosmos2ForConditionalGeneration(config), image(1, 3, 28, 28) | {"image_embeds_position_mask": mask}


def kosmos_2_5() -> Parts:
    decoder = {
        "vocab_size": VOCABULARY,
        "embed_dim": 32,
        "layers": 2,
        "ffn_dim": 64,
        "attention_heads": 4,
        "max_position_embeddings": 64,
        **SPECIAL,
    }
    tower = SMALL | {"patch_embed_hidden_size": 12, "head_dim": 8, "max_num_patches": 16}
    config = hf.Kosmos2_5Config(text_config=decoder, vision_config=tower, latent_query_num=4)
    patches = torch.zeros(1, 4, 2 + 12)  # row and column of each patch, counted from 1, then its pixels
    patches[0, :, 0] = torch.tensor([1, 1, 2, 2])
    patches[0, :, 1] = torch.tensor([1, 2, 1, 2])
    mask = torch.zeros(1, 12, dtype=torch.long)
    mask[:, 4:8] = 1
    features = {
        "flattened_patches": patches,
        "width": torch.tensor([2]),
        "height": torch.tensor([2]),
        "image_embeds_position_mask": mask,
    }
    return hf.Kosmos2_5ForConditionalGeneration(config), features


def idefics() -> Parts:
    decoder = text("idefics")
    del decoder["model_type"], decoder["head_dim"], decoder["num_key_value_heads"]
    tower = {
        "embed_dim": 32,
        "image_size": 28,
        "patch_size": 14,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = hf.IdeficsConfig(vision_config=tower, alpha_initializer="ones", **decoder)
    features = image(1, 1, 3, 28, 28) | {"image_attention_mask": torch.ones(1, 12, 1, dtype=torch.long)}
    return hf.IdeficsForVisionText2Text(config), features


def whisper() -> Parts:
    config = hf.WhisperConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=64,
        decoder_start_token_id=1,
        **SPECIAL,
    )
    return hf.WhisperForConditionalGeneration(config), {"input_features": torch.zeros(1, 16, 40)}


def vision_encoder_decoder() -> Parts:
    encoder = hf.ViTConfig(**TOWER)
    decoder = hf.BertConfig(is_decoder=True, add_cross_attention=True, **BERT, **SPECIAL)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return hf.VisionEncoderDecoderModel(config), image(1, 3, 28, 28)


def t5gemma2() -> Parts:
    layers = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"], "sliding_window": 8}
    encoder = {
        "text_config": text("t5gemma2_text", query_pre_attn_scalar=8, **layers),
        "vision_config": siglip(),
        "mm_tokens_per_image": 4,
        "image_token_index": IMAGE,
        "boi_token_index": 95,
        "eoi_token_index": 96,
    }
    decoder = text("t5gemma2_decoder", query_pre_attn_scalar=8, **layers)
    config = hf.T5Gemma2Config(encoder=encoder, decoder=decoder, image_token_index=IMAGE)
    return hf.T5Gemma2ForConditionalGeneration(config), image(1, 3, 28, 28)


TOKENS = {"whisper": ("audio", 1), "instructblipvideo": ("video", 4)}
