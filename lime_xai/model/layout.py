"""How the tokens of an image lie in the picture, as far as the model's config determines it."""

from __future__ import annotations

import math

from transformers import PreTrainedConfig

Grid = tuple[int, int]
"""Rows and columns of tokens."""


def image_grid(config: PreTrainedConfig, tokens: int) -> Grid | None:
    """Return rows and columns of an image's tokens, or None where they are not known.

    A square number of tokens is taken as a square. Families whose grid follows the picture (``spatial_merge_size`` in
    the vision config) may have any grid of that many tokens, so that nothing is known of them here.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model.
    tokens : int
        Number of consecutive image tokens.
    """
    side = math.isqrt(tokens)
    vision = getattr(config, "vision_config", None)
    known = side * side == tokens and getattr(vision, "spatial_merge_size", None) is None
    return (side, side) if known else None
