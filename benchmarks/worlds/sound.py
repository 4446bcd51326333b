"""The sound world to train on: a real Qwen2-Audio of one million parameters, and its audio encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2Config,
)

from lime_xai.worlds.shared.language import Truth
from lime_xai.worlds.sound.clips import Clip, event_tokens, independent_clip, render, themed_clip
from lime_xai.worlds.sound.events import AUDIO_TOKENS, CLASSES, HALF_SECONDS, SAMPLING_RATE, TIMES, TOKEN_SECONDS
from lime_xai.worlds.sound.text import (
    AUDIO,
    AUDIO_BEGIN,
    AUDIO_END,
    FIRST_QUESTION,
    LANGUAGE,
    LAST_QUESTION,
    MEL_BINS,
    VOCABULARY,
    build_feature_extractor,
    build_processor,
    choice_question,
)
from lime_xai.worlds.sound.world import four_options

from .corpus import Style
from .documents import IGNORED
from .plan import Plan
from .stages import PerceptionStage
from .subject import Size, Subject

TRAINING_NOISE = (0.0, 0.02)


SIZES: Final[Mapping[str, Size]] = MappingProxyType({"1m": Size(96, 256, 3, 128, 320, 4, 4, 2)})
"""Sizes of models by name: parameters in millions."""


def build_config(size: str = "1m") -> Qwen2AudioConfig:
    """Return the configuration of a model.

    Parameters
    ----------
    size : str
        A key of ``SIZES``.

    Raises
    ------
    KeyError
        If there is no such size.
    """
    dims = SIZES[size]
    audio = Qwen2AudioEncoderConfig(
        num_mel_bins=MEL_BINS,
        d_model=dims.tower_width,
        encoder_ffn_dim=dims.tower_inner,
        encoder_layers=dims.tower_layers,
        encoder_attention_heads=4,
        max_source_positions=2 * AUDIO_TOKENS,
        encoder_layerdrop=0.0,
    )
    text = Qwen2Config(**dims.decoder_settings(VOCABULARY))
    kind: Any = Qwen2AudioConfig
    config: Qwen2AudioConfig = kind(audio_config=audio, text_config=text, audio_token_index=VOCABULARY[AUDIO])
    return config


def first(rng: np.random.Generator, truth: Truth) -> tuple[str, str]:
    """Ask what comes first."""
    return FIRST_QUESTION, CLASSES[truth.present[0]]


def last(rng: np.random.Generator, truth: Truth) -> tuple[str, str]:
    """Ask what comes last."""
    return LAST_QUESTION, CLASSES[truth.present[-1]]


def choice(rng: np.random.Generator, truth: Truth) -> tuple[str, str]:
    """Ask which of four classes sounds; one does. Its partner is another of the four, if that does not sound."""
    options, right = four_options(rng, truth)
    return choice_question(options), CLASSES[right]


def by_onset(rng: np.random.Generator, truth: Truth) -> list[int]:
    """Return what sounds in the order of the onsets."""
    return list(truth.present)


class SoundSubject(Subject):
    """The sound world."""

    style = Style(
        LANGUAGE,
        {
            "caption": 0.25,
            "attributes": 0.18,
            "inventory": 0.08,
            "count": 0.05,
            "first": 0.06,
            "last": 0.04,
            "choice": 0.06,
        },
        {"first": first, "last": last, "choice": choice},
        by_onset,
    )
    slots = (VOCABULARY[AUDIO_BEGIN], *(VOCABULARY[AUDIO],) * AUDIO_TOKENS, VOCABULARY[AUDIO_END])
    placeholder = VOCABULARY[AUDIO]
    sizes = SIZES

    def __init__(self) -> None:
        self._extractor: Any = build_feature_extractor()

    def new_model(self, size: str) -> Qwen2AudioForConditionalGeneration:
        """Return a model with weights drawn from torch's global generator; its positions are learnt, too."""
        model: Any = Qwen2AudioForConditionalGeneration(build_config(size))
        self.tower(model).requires_grad_(True)
        built: Qwen2AudioForConditionalGeneration = model
        return built

    def build_processor(self) -> Any:
        """Return the processor that is saved beside the model."""
        return build_processor()

    def tower(self, model: Any) -> nn.Module:
        """Return the audio encoder."""
        return _part(model, "audio_tower")

    def projector(self, model: Any) -> nn.Module:
        """Return what maps its features to the width of the decoder."""
        return _part(model, "multi_modal_projector")

    def perceive(self, rng: np.random.Generator, truths: Sequence[Any]) -> Tensor:
        """Draw the spectrograms of clips, float32 of shape [B, 64, 160]."""
        samples = render(rng, truths, noise=TRAINING_NOISE)
        made = self._extractor(list(samples), sampling_rate=SAMPLING_RATE, padding="max_length", return_tensors="pt")
        features: Tensor = made["input_features"]
        return features

    def features(self, model: Any, perceived: Tensor) -> Tensor:
        """Return the encoder's features of spectrograms, shape [B, 40, D]."""
        features: Tensor = self.tower(model)(perceived).last_hidden_state
        return features


def _part(model: Any, name: str) -> nn.Module:
    """Return a part of a Qwen2-Audio model; releases of transformers before 5.24 keep it one level higher."""
    part: nn.Module = getattr(model if hasattr(model, name) else model.model, name)
    return part


SUBJECT: Final = SoundSubject()


@dataclass(frozen=True)
class SoundPlan(Plan):
    """Settings of the sound world; the defaults are those of the shipped model.

    Attributes
    ----------
    hearing_steps, hearing_batch, hearing_rate : int, int, float
        Of the hearing stage: optimiser steps, clips per step, highest learning rate.

    """

    sizes = SIZES
    hearing_steps: int = 2000
    hearing_batch: int = 48
    hearing_rate: float = 1.5e-3
    text_steps: int = 1400
    alignment_steps: int = 2000

    def independent(self, rng: np.random.Generator) -> Clip:
        """Draw what tag words stand in for."""
        return independent_clip(rng)

    def spoken(self, rng: np.random.Generator) -> Clip:
        """Draw what text without a context speaks of."""
        return themed_clip(rng)

    def aligned(self, rng: np.random.Generator) -> tuple[Clip, Clip]:
        """Draw what the text of an alignment document tells of, and what the clip holds: the same."""
        clip = independent_clip(rng)
        return clip, clip


def sounding(clips: Sequence[Clip]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return which classes sound behind each audio token, and their pitch.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        1 where a class sounds, and its pitch there (``IGNORED`` elsewhere), both of shape [B, 40, 12].
    """
    there = np.zeros((len(clips), AUDIO_TOKENS, len(CLASSES)), np.float32)
    pitches = np.full(there.shape, IGNORED, np.int64)
    for row, clip in enumerate(clips):
        for event in clip.events:
            tokens = list(event_tokens(event))
            there[row, tokens, event.obj] = 1
            pitches[row, tokens, event.obj] = event.pitch
    return there, pitches


class HearingStage(PerceptionStage):
    """Every audio token names the classes that sound, their pitch, and the half of the clip."""

    name = "hearing"
    outputs = 2 * len(CLASSES) + len(TIMES)
    plan: SoundPlan

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        clips = [independent_clip(rng) for _ in range(self.plan.hearing_batch)]
        there, pitches = (torch.from_numpy(labels) for labels in sounding(clips))
        scores: Any = self.scores(self.subject.perceive(rng, clips))
        named, pitched, halves = scores.split((len(CLASSES), len(CLASSES), len(TIMES)), dim=-1)
        heard = there > 0
        loss = functional.binary_cross_entropy_with_logits(named, there)
        loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(pitched[heard], pitches[heard].float())
        seconds = np.arange(AUDIO_TOKENS) * TOKEN_SECONDS
        wanted = torch.from_numpy((seconds >= HALF_SECONDS).astype(np.int64)).expand(len(clips), -1)
        loss = loss + 0.2 * functional.cross_entropy(halves.flatten(0, 1), wanted.flatten())
        found = (named > 0)[heard].float().mean()
        right = ((pitched > 0) == (pitches > 0))[heard].float().mean()
        return loss, {"events found": found.item(), "pitch right": right.item()}
