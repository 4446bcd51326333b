"""Recordings as a world: the harness of ``lime_xai.worlds`` asks it for clips, erasure and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from transformers import Qwen2AudioForConditionalGeneration

from benchmarks.photographs.language import PhotoLanguage
from benchmarks.photographs.packages import OF_RECORDINGS, found
from benchmarks.photographs.world import PhotoChat, SpokenWorld
from lime_xai.worlds.shared.criteria import UNTAUGHT

from .catalogue import RATE, Recordings, Samples, recordings
from .clips import NOISE, RecordedClip, draw_clip, render_clip, tokens_of, without
from .language import language_of, read_priors
from .model import MARK

FEWEST: Final = 2
"""Recordings in an evaluation clip, at least: a dialogue asks about another one that sounds."""


class HearingRecipe(TypedDict):
    """What training writes of a model of recordings."""

    seed: int


class RecordingWorld(SpokenWorld):
    """Clips of three seconds with two or three recordings, which training has mixed too.

    Parameters
    ----------
    recorded : Recordings
        What is mixed.
    language : PhotoLanguage
        What is said about it.
    """

    name = "recordings"
    description = "recordings of animals and things; Qwen2-Audio's class with Whisper tiny and SmolLM2"
    medium, thing, matter = "sound", "recording", "samples"
    chat = PhotoChat("audio", MARK)
    default_noise = NOISE
    open_kinds = ()
    criteria = ()
    folder = Path(__file__).parent
    extra_advice = "Assemble them: python -m benchmarks.recordings assemble NAME"
    model_class = Qwen2AudioForConditionalGeneration
    recipe = HearingRecipe
    question_rows, caption_rows = 8, 8

    def __init__(self, recorded: Recordings, language: PhotoLanguage) -> None:
        self.recorded, self.language = recorded, language

    def draw(self, rng: np.random.Generator) -> RecordedClip:
        """Draw a clip to evaluate on."""
        return draw_clip(rng, self.recorded, FEWEST)

    def render(self, rng: np.random.Generator, scenes: Sequence[RecordedClip], noise: float) -> list[Samples]:
        """Return the samples of each clip at 16 kHz, float32 of shape [48000]."""
        return [render_clip(rng, scene, self.recorded, noise) for scene in scenes]

    def erase(
        self, medium: Samples, scene: RecordedClip, obj: int, *, noise: float, rng: np.random.Generator
    ) -> Samples:
        """Return a clip without one recording: noise and others stay as they are, and ``rng`` is not used."""
        return without(medium, scene, [obj], self.recorded)

    def emptied(self, medium: Samples, scene: RecordedClip, *, noise: float, rng: np.random.Generator) -> Samples:
        """Return the noise of a clip, without its recordings; ``rng`` is not used."""
        return without(medium, scene, scene.present, self.recorded)

    def nothing(self, medium: Samples) -> Samples:
        """Return digital silence."""
        return np.zeros_like(medium)

    def region(self, scene: RecordedClip, obj: int) -> tuple[int, ...]:
        """Return the audio tokens in which a recording sounds."""
        return tokens_of(scene.placed[scene.index_of(obj)])

    def batch(self, processor: Any, media: Sequence[Samples], texts: Sequence[str]) -> Any:
        """Return what the processor makes of clips and prompts, one of each per row, padded."""
        return processor(audio=list(media), text=list(texts), sampling_rate=RATE, return_tensors="pt", padding=True)

    def kind(self, recipe: Mapping[str, Any]) -> str:
        """Return the kind of its models: no habit was trained in."""
        return UNTAUGHT


def open_world(folder: Path) -> RecordingWorld:
    """Return the recordings with the parts in a folder.

    Raises
    ------
    FileNotFoundError
        If the parts are not there.
    """
    return RecordingWorld(recordings(found(folder, OF_RECORDINGS).stamps), language_of(read_priors()))
