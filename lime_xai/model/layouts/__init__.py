"""How the tokens of images, videos and sounds lie in what they were made from.

``read_layouts`` is the one function that says so. What it knows of a family is registered by ``register_layout`` in the
modules of this package, one function per mechanism.
"""

from . import anyres, grids, sound, tiles, video  # noqa: F401 - they register what they know
from .reading import LAYOUTS, NotKnown, Reading, read_layouts, register_layout

__all__ = ["LAYOUTS", "NotKnown", "Reading", "read_layouts", "register_layout"]
