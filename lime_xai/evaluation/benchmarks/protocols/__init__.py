"""Benchmarks, one or a few alike per file; importing this package registers them."""

from . import (
    air_bench,
    amber_discriminative,
    audio_hallucination,
    dash_b,
    own,
    pope,
)

__all__ = [
    "air_bench",
    "amber_discriminative",
    "audio_hallucination",
    "dash_b",
    "own",
    "pope",
]
