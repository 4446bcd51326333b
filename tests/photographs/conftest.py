import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.photo_models import drawn_world, tiny_words
from support.photographs import asked_about

from benchmarks.photographs.__main__ import FOLDER
from benchmarks.photographs.model import tiny
from benchmarks.photographs.packages import found


@pytest.fixture(scope="session")
def parts():
    """Where the parts lie: in LIME_PHOTOGRAPHS, else in the default folder; without them the error says what to run."""
    return found(Path(os.environ.get("LIME_PHOTOGRAPHS", FOLDER)))


@pytest.fixture
def small():
    """A tiny model and its processor."""
    return tiny(0)


@pytest.fixture
def photo():
    """A wide picture of random colours."""
    colours = torch.randint(0, 256, (3, 5, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Image.fromarray(colours.numpy()).resize((300, 150), Image.Resampling.BILINEAR)


@pytest.fixture
def asked(small, photo):
    """The inputs of a question about it."""
    return asked_about(small[1], photo)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The world of drawn cut-outs."""
    return drawn_world(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def evaluation(world):
    """Three of its scenes."""
    return world.evaluation_set(seed=3, scenes=3)


@pytest.fixture(scope="module")
def model_and_processor():
    """A tiny model that knows its words, and its processor."""
    return tiny_words()
