"""The architecture of the scene world's model: a real LLaVA of one million parameters, or of five."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lime_xai.worlds.scene.objects import IMAGE_SIZE, IMAGE_TOKENS, PATCH_SIZE
from lime_xai.worlds.scene.text import BOS, EOS, IMAGE, MAX_LENGTH, PAD, VOCABULARY


@dataclass(frozen=True)
class Size:
    """Widths and depths of a model.

    Attributes
    ----------
    vision_width, vision_inner, vision_layers : int
        Of the CLIP tower, which has four heads.
    width, inner, layers, heads, key_value_heads : int
        Of the Llama decoder.
    """

    vision_width: int
    vision_inner: int
    vision_layers: int
    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int


SIZES: Final[Mapping[str, Size]] = MappingProxyType(
    {
        "1m": Size(96, 256, 3, 128, 320, 4, 4, 2),
        "5m": Size(128, 384, 4, 256, 640, 6, 8, 4),
    }
)
"""Sizes of models by name: parameters in millions."""


def build_config(size: str = "1m") -> LlavaConfig:
    """Return the configuration of a model.

    Parameters
    ----------
    size : str
        A key of ``SIZES``; the shipped model is a ``"1m"``: CLIP tower 3 x 96, Llama decoder 4 x 128.

    Raises
    ------
    KeyError
        If there is no such size.
    """
    dims = SIZES[size]
    vision = CLIPVisionConfig(
        hidden_size=dims.vision_width,
        intermediate_size=dims.vision_inner,
        num_hidden_layers=dims.vision_layers,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=dims.vision_width,
    )
    text = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=dims.width,
        intermediate_size=dims.inner,
        num_hidden_layers=dims.layers,
        num_attention_heads=dims.heads,
        num_key_value_heads=dims.key_value_heads,
        head_dim=dims.width // dims.heads,
        max_position_embeddings=MAX_LENGTH,
        rms_norm_eps=1e-5,
        bos_token_id=VOCABULARY[BOS],
        eos_token_id=VOCABULARY[EOS],
        pad_token_id=VOCABULARY[PAD],
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=VOCABULARY[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )


def build_model(seed: int, size: str = "1m") -> LlavaForConditionalGeneration:
    """Return a model with random weights; torch's global generator is left as it was.

    Parameters
    ----------
    seed : int
        Seed of the initial weights.
    size : str
        A key of ``SIZES``.

    Returns
    -------
    transformers.LlavaForConditionalGeneration
        The model on the CPU, float32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlavaForConditionalGeneration = LlavaForConditionalGeneration(build_config(size))
    settings = model.generation_config
    settings.bos_token_id, settings.eos_token_id = VOCABULARY[BOS], VOCABULARY[EOS]
    settings.pad_token_id = VOCABULARY[PAD]
    return model


def patch_features(model: LlavaForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return the vision tower's patch features.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        The model.
    pixels : Tensor
        uint8 images, shape [B, 72, 72, 3].

    Returns
    -------
    Tensor
        Shape [B, 36, D], what the projector is given.
    """
    scaled = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
    features: Tensor = model.model.vision_tower(pixel_values=scaled).last_hidden_state[:, 1:]
    return features


def answer_logits(
    model: LlavaForConditionalGeneration, tokens: Tensor, wanted: Tensor, features: Tensor | None = None
) -> Tensor:
    """Return next-token logits at chosen positions of a right-padded training batch.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        The model.
    tokens : Tensor
        Token ids, shape [B, T], padded on the right (so that causal attention needs no mask).
    wanted : Tensor
        Boolean mask of positions, shape [B, T].
    features : Tensor, optional
        Patch features [B, 36, D] for the image tokens; without it there must be none.

    Returns
    -------
    Tensor
        Shape [N, V] for the N wanted positions.
    """
    decoder = model.model.language_model
    embedded = decoder.embed_tokens(tokens)
    if features is not None:
        slots = (tokens == VOCABULARY[IMAGE])[..., None]
        embedded = embedded.masked_scatter(slots, model.model.multi_modal_projector(features))
    hidden = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
    logits: Tensor = model.lm_head(hidden[wanted])
    return logits
