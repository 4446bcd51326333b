"""Tiny models that hear, with sounds of several lengths: an oracle of which frames a token stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor

from . import family_audio as audio
from .family_parts import AUDIO, text
from .layout_families import localise
from .versions import built


@dataclass(frozen=True)
class SoundCase:
    """A family that hears.

    Attributes
    ----------
    make : callable
        Returns the model.
    lengths : tuple of tuple of int
        Valid feature frames of the windows of each sound.
    tokens : tuple of int
        Audio tokens of each sound, as the model takes them.
    rows : tuple of tuple of int
        Which sounds each row of the batch holds.
    width : int
        Feature frames of a window.
    mask : str or None
        Name of the mask of valid frames ``[N, F]``.
    """

    make: Callable[[], Any]
    lengths: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    width: int
    mask: str | None = None
    last: bool = True

    def build(self) -> tuple[Any, dict[str, Tensor]]:
        torch.manual_seed(0)
        model = built(self.make)
        model.eval().requires_grad_(False)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() >= 2:
                    parameter.normal_(0, 0.15)
        localise(model)
        return model, self.inputs(model)

    def inputs(self, model: Any) -> dict[str, Tensor]:
        windows = [length for sound in self.lengths for length in sound]
        generator = torch.Generator().manual_seed(5)
        features = torch.randn(len(windows), 16, self.width, generator=generator)
        valid = torch.arange(self.width)[None] < torch.tensor(windows)[:, None]
        rows = [
            [1, 5, *(token for sound in row for token in (93, *[AUDIO] * self.tokens[sound], 94)), 7]
            for row in self.rows
        ]
        length = max(map(len, rows))
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        found = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        found["input_features"] = features * valid[:, None] if self.last else features.transpose(1, 2)
        if self.mask is not None:
            found[self.mask] = valid.long()
        return found


def _audioflamingo3() -> Any:
    tower = {
        "num_mel_bins": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "hidden_size": 32, "max_source_positions": 20,
    }  # fmt: skip
    config = hf.AudioFlamingo3Config(audio_config=tower, text_config=text("qwen2"), audio_token_id=AUDIO)
    return hf.AudioFlamingo3ForConditionalGeneration(config)


def _glmasr() -> Any:
    tower = {
        "num_mel_bins": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "hidden_size": 32, "max_position_embeddings": 40,
    }  # fmt: skip
    config = hf.GlmAsrConfig(audio_config=tower, text_config=text("llama"), audio_token_id=AUDIO)
    return hf.GlmAsrForConditionalGeneration(config)


def _qwen3_omni_thinker() -> Any:
    config = audio.qwen3_omni_thinker()[0].config
    config.audio_config.update({"n_window": 50, "n_window_infer": 400, "max_source_positions": 200})
    return hf.Qwen3OmniMoeThinkerForConditionalGeneration(config)


def granite_speech() -> Any:
    tower = {
        "input_dim": 16, "num_layers": 2, "hidden_dim": 32, "num_heads": 4, "dim_head": 8, "output_dim": 16,
        "context_size": 16, "max_pos_emb": 32, "conv_kernel_size": 1, "conv_expansion_factor": 2,
    }  # fmt: skip
    projector = {
        "model_type": "blip_2_qformer", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 64, "encoder_hidden_size": 32, "cross_attention_frequency": 1,
    }  # fmt: skip
    config = hf.GraniteSpeechConfig(
        text_config=text("granite"), encoder_config=tower, projector_config=projector, audio_token_index=AUDIO,
        has_lora_adapter=False, window_size=6, downsample_rate=3,
    )  # fmt: skip
    return hf.GraniteSpeechForConditionalGeneration(config)


SOUNDS: dict[str, SoundCase] = {
    "qwen2_audio": SoundCase(
        lambda: audio.qwen2_audio()[0], ((40,), (26,), (40,)), (10, 6, 10), ((0,), (1, 2)), 40, "feature_attention_mask"
    ),
    "qwen2_5_omni_thinker": SoundCase(
        lambda: audio.qwen2_5_omni_thinker()[0], ((60,), (33,), (26,)), (15, 8, 6), ((0,), (1, 2)), 60,
        "feature_attention_mask",
    ),
    "voxtral": SoundCase(lambda: audio.voxtral()[0], ((40,), (40, 40)), (5, 10), ((0,), (1,)), 40),
    "qwen3_asr": SoundCase(
        lambda: audio.qwen3_asr()[0], ((250,), (130,)), (33, 17), ((0,), (1,)), 300, "input_features_mask"
    ),
    "qwen3_omni_thinker": SoundCase(
        _qwen3_omni_thinker, ((250,), (130,)), (33, 17), ((0,), (1,)), 250, "feature_attention_mask"
    ),
    "audioflamingo3": SoundCase(
        _audioflamingo3, ((40, 26), (40,)), (16, 10), ((0,), (1,)), 40, "input_features_mask"
    ),
    "glmasr": SoundCase(_glmasr, ((40, 26), (40,)), (8, 5), ((0,), (1,)), 40, "input_features_mask"),
}  # fmt: skip
