"""The sound world: events in clips of four seconds, and a tiny Qwen2-Audio that hallucinates because of its text."""

from .clips import Clip, Event, event_tokens, independent_clip, place, render, silence, themed_clip
from .events import AUDIO_TOKENS, CLASSES, PITCHES, SAMPLING_RATE, TIMES, TOKEN_SECONDS
from .text import LANGUAGE, build_processor, build_tokenizer, choice_question, messages, prompt
from .world import DEFAULT_NOISE, EVALUATION_VARIANTS, WORLD

evaluation_set = WORLD.evaluation_set
load_model = WORLD.load_model

__all__ = [
    "AUDIO_TOKENS",
    "CLASSES",
    "DEFAULT_NOISE",
    "EVALUATION_VARIANTS",
    "LANGUAGE",
    "PITCHES",
    "SAMPLING_RATE",
    "TIMES",
    "TOKEN_SECONDS",
    "WORLD",
    "Clip",
    "Event",
    "build_processor",
    "build_tokenizer",
    "choice_question",
    "evaluation_set",
    "event_tokens",
    "independent_clip",
    "load_model",
    "messages",
    "place",
    "prompt",
    "render",
    "silence",
    "themed_clip",
]
