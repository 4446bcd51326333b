"""Builders of tiny models that turn pictures into ids of a codebook."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from .family_grids import no_head_dim
from .family_parts import AUDIO, IMAGE, VOCABULARY, Parts, image, text

VQ: dict[str, Any] = {
    "base_channels": 32,
    "latent_channels": 32,
    "channel_multiplier": [1, 2],
    "num_res_blocks": 1,
    "embed_dim": 8,
}


def chameleon() -> Parts:
    decoder = text("chameleon")
    del decoder["model_type"], decoder["head_dim"]
    names = {"<image>": IMAGE, **{f"IMGIMG{letter}Z": 60 + i for i, letter in enumerate("ABCDEFGHIJ")}}
    words = {f"w{i}": i for i in range(VOCABULARY) if i not in names.values()}
    config = hf.ChameleonConfig(
        vq_config=VQ | {"num_embeddings": 8, "resolution": 8},
        vocabulary_map=words | names,
        image_token_id=IMAGE,
        **decoder,
    )
    return hf.ChameleonForConditionalGeneration(config), image(1, 3, 8, 8)


def emu3() -> Parts:
    decoder = text("emu3_text_model")
    names = {f"<|visual token {i:06d}|>": 60 + i for i in range(8)}
    names |= {"<image>": IMAGE, "<|extra_200|>": 80, "<|image start|>": 95, "<|image end|>": 96}
    words = {f"w{i}": i for i in range(VOCABULARY) if i not in names.values()}
    config = hf.Emu3Config(
        text_config=no_head_dim(decoder),
        vq_config=VQ | {"codebook_size": 8, "temporal_downsample_factor": 1, "hidden_size": 64, "latent_channels": 4},
        vocabulary_map=words | names,
        image_token_id=IMAGE,
    )
    features = image(1, 3, 8, 8) | {"image_sizes": torch.tensor([[8, 8]])}
    return hf.Emu3ForConditionalGeneration(config), features


def apertus1p5() -> Parts:
    config = hf.Apertus1p5Config(
        text_config=text("apertus1p5_text", rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        vision_config=VQ | {"codebook_size": 8, "latent_channels": 8, "resolution": 8, "attn_resolutions": (4,)},
        audio_config={"num_filters": 4, "hidden_size": 16, "codebook_size": 8, "codebook_dim": 16},
        image_token_id=IMAGE,
        audio_token_id=AUDIO,
        image_token_offset=60,
        audio_token_offset=68,
    )
    features = image(1, 3, 8, 8) | {"image_sizes": torch.tensor([[8, 8]])}
    return hf.Apertus1p5ForConditionalGeneration(config), features


TOKENS = {"chameleon": ("image", 16), "emu3": ("image", 20), "apertus1p5": ("image", 16)}
