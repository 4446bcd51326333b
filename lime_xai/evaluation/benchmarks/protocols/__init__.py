"""Benchmarks by name: importing this package registers them."""

from . import amber_generative as amber_generative
from . import audio_captions as audio_captions
from . import chair as chair
