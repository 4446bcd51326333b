"""The architecture of the scene world's model: a real LLaVA of one million parameters."""

import hashlib

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lime_xai.worlds.scene.objects import IMAGE_SIZE, IMAGE_TOKENS, PATCH_SIZE
from lime_xai.worlds.scene.text import BOS, EOS, IMAGE, MAX_LENGTH, PAD, VOCABULARY

VISION_WIDTH = 96


def build_config() -> LlavaConfig:
    """Return the configuration: CLIP tower 3 x 96, Llama decoder 4 x 128 with two key-value heads."""
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=VISION_WIDTH,
    )
    text = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
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


def build_model(seed: int) -> LlavaForConditionalGeneration:
    """Return a model with random weights; torch's global generator is left as it was.

    Parameters
    ----------
    seed : int
        Seed of the initial weights.

    Returns
    -------
    transformers.LlavaForConditionalGeneration
        The model on the CPU, float32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlavaForConditionalGeneration = LlavaForConditionalGeneration(build_config())
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
        Shape [B, 36, 96], what the projector is given.
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
        Patch features [B, 36, 96] for the image tokens; without it there must be none.

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


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
