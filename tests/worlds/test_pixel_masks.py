"""The exact pixels of objects."""

import numpy as np
import pytest

from lime_xai.worlds.scene import evaluation_set, pixel_mask


def test_a_mask_is_where_the_picture_is_not_paper():
    evaluation = evaluation_set(seed=7, scenes=6, noise=0.0)
    for index, scene in enumerate(evaluation.scenes):
        pixels = np.asarray(evaluation.images[index]).astype(int)
        paper = np.median(pixels, axis=(0, 1))
        found = sum(pixel_mask(evaluation, index, obj).astype(int) for obj in scene.present)
        assert found.max() == 1
        away = np.abs(pixels - paper).max(-1)
        assert away[found == 1].min() > 10
        assert np.median(away[found == 0]) <= 1


def test_an_object_that_is_not_there_has_no_mask():
    evaluation = evaluation_set(seed=7, scenes=1)
    with pytest.raises(ValueError, match="is not in the scene"):
        pixel_mask(evaluation, 0, evaluation.scenes[0].absent[0])
