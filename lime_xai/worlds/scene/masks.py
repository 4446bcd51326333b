"""The exact pixels of the objects of evaluation sets."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lime_xai.worlds.shared.evaluation import EvaluationSet, draw_scenes

from .images import object_masks
from .objects import CELL_SIZE, GRID, IMAGE_SIZE
from .world import WORLD


def pixel_mask(evaluation: EvaluationSet, scene: int, obj: int) -> NDArray[np.bool_]:
    """Return the pixels that an object covers by more than half: its glyph in the picture, exactly.

    Parameters
    ----------
    evaluation : EvaluationSet
        As the scene world's ``evaluation_set`` returned it.
    scene : int
        Index of the scene.
    obj : int
        Class index of the object.

    Returns
    -------
    numpy.ndarray
        Bool of shape [72, 72].

    Raises
    ------
    ValueError
        If the object is not in the scene.
    """
    cell = evaluation.scenes[scene].cell_of(obj)
    masks = _masks(evaluation.seed, len(evaluation.scenes))
    found = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
    top, left = (CELL_SIZE * part for part in divmod(cell, GRID))
    found[top : top + CELL_SIZE, left : left + CELL_SIZE] = masks[scene, cell] > 0.5
    return found


@lru_cache(maxsize=4)
def _masks(seed: int, scenes: int) -> NDArray[np.float32]:
    rng, drawn, _ = draw_scenes(WORLD, seed, scenes)
    return object_masks(rng, drawn)
