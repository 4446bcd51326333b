"""Benchmarks by name: importing this package registers them."""

from . import air_bench as air_bench
from . import amber_discriminative as amber_discriminative
from . import amber_generative as amber_generative
from . import audio_captions as audio_captions
from . import audio_hallucination as audio_hallucination
from . import chair as chair
from . import dash_b as dash_b
from . import mmhal as mmhal
from . import own as own
from . import pope as pope
from . import world as world
