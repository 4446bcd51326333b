import os
from pathlib import Path

import pytest
from support.heard import said, tiny_ears, tones

from benchmarks.photographs.__main__ import FOLDER
from benchmarks.photographs.packages import OF_RECORDINGS, found
from benchmarks.recordings.world import RecordingWorld


@pytest.fixture(scope="session")
def parts_heard():
    """Where the parts lie: in LIME_PHOTOGRAPHS, else in the default folder; without them the error says what to run."""
    return found(Path(os.environ.get("LIME_PHOTOGRAPHS", FOLDER)), OF_RECORDINGS)


@pytest.fixture(scope="session")
def recorded():
    """Tones in place of recordings."""
    return tones()


@pytest.fixture(scope="session")
def heard_world(recorded):
    """The world of tones."""
    return RecordingWorld(recorded, said())


@pytest.fixture
def encoder():
    """A tiny model that hears, and its processor."""
    return tiny_ears()
