"""Random LLaVAs of chosen shapes, and a prompt of image embeddings and text for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

VOCABULARY = 8000
PATCHES = 4
"""Placeholders that one picture of 28 x 28 pixels fills."""


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes and a prompt's.

    Attributes
    ----------
    hidden, inner, layers, heads, shared : int
        Width, width of the MLP, layers, query heads and key/value heads.
    image, text : int
        Positions of the prompt.
    vocabulary : int
        Entries of the vocabulary.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    shared: int
    image: int = 600
    text: int = 100
    vocabulary: int = VOCABULARY


SHAPES = {
    "tiny": Shape(64, 176, 2, 4, 2, image=40, text=10),
    "mid": Shape(512, 1408, 8, 8, 4),
    "wide": Shape(2048, 5632, 6, 32, 16),
    "7b": Shape(4096, 11008, 32, 32, 32, vocabulary=32000),
}


def random_llava(
    shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32, picture: int = 28
) -> LlavaForConditionalGeneration:
    """Return a LLaVA with random weights, seed 0; its vision tower is a formality. ``picture``: pixels of a side."""
    torch.manual_seed(0)
    vision: dict[str, Any] = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": picture,
        "patch_size": 14,
    }
    text = {
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.shared,
        "max_position_embeddings": 4096,
    }
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=shape.vocabulary - 1)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model = LlavaForConditionalGeneration(config)
        finally:
            torch.set_default_dtype(before)
    return model.eval().requires_grad_(False)


def prompt_of(model: LlavaForConditionalGeneration, shape: Shape, rows: int = 1) -> dict[str, Tensor]:
    """Return inputs of ``generate``: small pictures that fill the placeholders, then text, in equal rows."""
    torch.manual_seed(1)
    device = model.device
    pictures = torch.randn(shape.image // PATCHES, 3, 28, 28, device=device, dtype=model.dtype)
    placeholder = torch.full((1, shape.image), shape.vocabulary - 1, device=device)
    text = torch.randint(5, shape.vocabulary - 10, (1, shape.text), device=device)
    ids = torch.cat([placeholder, text], 1).repeat(rows, 1)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pictures.repeat(rows, 1, 1, 1),
    }
