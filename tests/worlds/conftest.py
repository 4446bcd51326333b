import pytest
import torch

from lime_xai.worlds.scene.network import build_model
from lime_xai.worlds.scene.text import build_processor


@pytest.fixture(scope="session")
def untrained():
    """A model with random weights and its processor."""
    return build_model(seed=1).eval(), build_processor()


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)
