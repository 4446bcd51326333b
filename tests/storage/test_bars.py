"""Models load without the progress bars of transformers, whose settings stay as a user has them."""

import contextlib

import pytest
from transformers.utils import logging

from lime_xai.command.loading import Checkpoint, load_model
from lime_xai.storage.bars import no_bars
from lime_xai.worlds import bundled_model
from lime_xai.worlds.scene import WORLD

LOADERS = {
    "bundled_model": bundled_model,
    "world": lambda: WORLD.load_model(WORLD.shipped),
    "command, embedded": lambda: load_model(Checkpoint("scene")),
    "command, folder": lambda: load_model(Checkpoint(str(WORLD.shipped))),
}


@pytest.fixture(autouse=True)
def shown():
    """Bars are enabled, whatever ran before."""
    before = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    yield
    if not before:
        logging.disable_progress_bar()


@pytest.mark.parametrize("name", LOADERS)
def test_a_model_loads_without_a_bar(name, capsys):
    LOADERS[name]()
    assert capsys.readouterr().err == ""
    assert logging.is_progress_bar_enabled()
    assert logging._tqdm_hook is None


def test_a_hook_of_the_user_is_set_again_after_an_error(capsys):
    def hook(make, args, kwargs):
        return make(*args, **kwargs)

    logging.set_tqdm_hook(hook)
    try:
        with contextlib.suppress(KeyError), no_bars():
            assert list(logging.tqdm([1, 2], desc="hidden")) == [1, 2]
            raise KeyError
        assert logging._tqdm_hook is hook
        assert list(logging.tqdm([1, 2], desc="shown")) == [1, 2]
    finally:
        logging.set_tqdm_hook(None)
    printed = capsys.readouterr().err
    assert "shown" in printed
    assert "hidden" not in printed
