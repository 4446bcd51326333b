"""The model: Qwen2-Audio's class of transformers with Whisper tiny's encoder for sounds and SmolLM2 for language.

``Qwen2AudioForConditionalGeneration`` was chosen because its encoder has Whisper's layers, and its configuration takes
any language model that transformers knows by ``model_type``, here ``llama``. ``from_pretrained`` loads the whole from a
folder without code of this project. The projector is one linear map.

The window is three seconds: 300 columns of Whisper's spectrogram, 150 positions, 75 audio tokens after the pooling. A
shorter sound has fewer tokens; a longer one is refused by ``lime_xai.read_sound``.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    LlamaForCausalLM,
    Qwen2AudioConfig,
    Qwen2AudioEncoder,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from benchmarks.photographs.model import (
    MARKS,
    PLACEHOLDER,
    TEMPLATE,
    bytes_tokenizer,
    fast_tokenizer,
    greedy,
    tiny_language,
)
from benchmarks.photographs.packages import Parts
from benchmarks.photographs.weights import language_model

from .clips import SECONDS
from .whisper import tower, tower_config

BEGIN, FINISH = MARKS["start_image_token"], MARKS["end_image_token"]
"""Marks around a sound; special tokens without another use, as those around a picture."""
MARK: Final = f"{BEGIN}{PLACEHOLDER}{FINISH}"
"""What the chat template writes for a sound."""
HEARING_TEMPLATE: Final = TEMPLATE.replace("'image'", "'audio'").replace(PLACEHOLDER, MARK).replace("image", "audio")
"""SmolLM2's chat template for content in parts, without a system prompt."""
_AUDIO: Final = {"audio_bos_token": BEGIN, "audio_eos_token": FINISH, "audio_token": PLACEHOLDER}


def build(parts: Parts, seed: int, seconds: int = SECONDS) -> tuple[Any, Qwen2AudioProcessor]:
    """Return the model, float32, in evaluation mode, with a projector that was not trained, and its processor.

    Parameters
    ----------
    parts : Parts
        Where the weights are.
    seed : int
        Of the projector.
    seconds : int
        Of the window.
    """
    language, tokenizer = language_model(parts)
    return _joined(tower(parts.whisper, seconds), language, tokenizer.backend_tokenizer, seed, seconds)


def tiny(seed: int, seconds: int = 1) -> tuple[Any, Qwen2AudioProcessor]:
    """Return a model of the same classes with random weights, for tests, and its processor; nothing is read.

    Parameters
    ----------
    seed : int
        Of all weights; torch's global generator is left as it was.
    seconds : int
        Of the window.
    """
    words = bytes_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Qwen2AudioEncoder(tower_config(seconds, layers=2, width=32, heads=4, inner=64, bands=16))
        return _joined(encoder, tiny_language(words), words, seed, seconds)


def processor_for(tokens: Tokenizer, bands: int, seconds: int) -> Qwen2AudioProcessor:
    """Return what prepares sounds and text.

    Parameters
    ----------
    tokens : Tokenizer
        SmolLM2's, or another with its special tokens.
    bands : int
        Of the spectrogram; Whisper tiny has 80.
    seconds : int
        Of the window.
    """
    extractor: Any = WhisperFeatureExtractor
    kind: Any = Qwen2AudioProcessor
    found: Qwen2AudioProcessor = kind(
        feature_extractor=extractor(feature_size=bands, chunk_length=seconds),
        tokenizer=fast_tokenizer(tokens, _AUDIO),
        chat_template=HEARING_TEMPLATE,
        **_AUDIO,
    )
    return found


def clip_embeddings(model: Any, features: Tensor) -> Tensor:
    """Return what the projector makes of the encoder's features [B, T, D]: shape [B, T, E]."""
    made: Tensor = model.model.multi_modal_projector(features)
    return made


def _joined(
    encoder: Qwen2AudioEncoder, language: LlamaForCausalLM, tokens: Tokenizer, seed: int, seconds: int
) -> tuple[Any, Qwen2AudioProcessor]:
    """Return a model of an encoder and a language model, whose weights it copies, with a new projector."""
    hearing: Any = encoder.config
    processor: Any = processor_for(tokens, hearing.num_mel_bins, seconds)
    kind: Any = Qwen2AudioConfig
    config = kind(
        audio_config=hearing,
        text_config=language.config,
        audio_token_index=processor.audio_token_id,
        tie_word_embeddings=False,  # this class never ties them
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):  # its weights are replaced, and the generator is left as it was
        model: Any = Qwen2AudioForConditionalGeneration(config)
    model.model.audio_tower.load_state_dict(encoder.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.lm_head.load_state_dict(language.lm_head.state_dict())
    words: Tensor = language.model.embed_tokens.weight
    draw_projector(model.model.multi_modal_projector.linear, float(words.detach().norm(dim=-1).mean()), seed)
    model.generation_config = greedy(language)
    model.train(False)
    return model, processor


@torch.no_grad()
def draw_projector(linear: nn.Linear, length: float, seed: int) -> None:
    """Draw the weights of a projector, whose outputs are then about as long as embeddings of words.

    Parameters
    ----------
    linear : Linear
        The projector, behind a norm: its inputs have about unit variance.
    length : float
        Mean Euclidean norm of embeddings of words.
    seed : int
        Of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(linear.weight, std=length / (linear.in_features * linear.out_features) ** 0.5, generator=generator)
    nn.init.zeros_(linear.bias)
