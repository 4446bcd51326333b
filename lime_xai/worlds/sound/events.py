"""What a clip of the sound world is made of: twelve events in six pairs, two pitches, and the clip's geometry."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PAIRS: Final = (
    ("dog", "whistle"),
    ("siren", "horn"),
    ("bell", "clock"),
    ("bird", "stream"),
    ("drum", "voice"),
    ("engine", "cricket"),
)
CLASSES: Final[tuple[str, ...]] = tuple(name for pair in PAIRS for name in pair)
PITCHES: Final = ("low", "high")
HABITUAL_PITCH: Final = (0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1)
"""The pitch, an index into ``PITCHES``, that the training text usually gives each class (never the training clips)."""
TIMES: Final = ("early", "late")
HABITUAL_TIME: Final = (0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0)
"""The time, an index into ``TIMES``, that the training text usually gives each class (never the training clips)."""
NUMBERS: Final = ("one", "two", "three", "four")
"""Answers to how many events there are; a clip is never empty."""

PAIR_POPULARITY: Final = (0.36, 0.24, 0.15, 0.11, 0.08, 0.06)
"""How often the training text names each pair (Zipf-like); clips hold all pairs equally often."""
POPULARITY: Final[NDArray[np.float64]] = np.repeat(np.asarray(PAIR_POPULARITY), 2)
POPULARITY.flags.writeable = False

SAMPLING_RATE: Final = 16_000
"""Samples per second."""
CLIP_SECONDS: Final = 4.0
SAMPLES: Final = 64_000
"""Samples of a clip."""
HALF_SECONDS: Final = CLIP_SECONDS / 2
"""An event lies in one half of the clip: that is its time."""
PER_HALF: Final = 2
"""Most events of a half."""
MOST_EVENTS: Final = 2 * PER_HALF
FRAME_SECONDS: Final = 0.025
"""Between two columns of the spectrogram."""
AUDIO_TOKENS: Final = 40
TOKEN_SECONDS: Final = CLIP_SECONDS / AUDIO_TOKENS
"""Of the clip behind one audio token: four columns of the spectrogram."""
