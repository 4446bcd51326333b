"""Looking for other threads that run a model."""

import gc
import os
import subprocess
import sys

import pytest
from torch import nn

from lime_xai.model import exclusive

AMONG_THREADS = """
import gc, random, threading, time
from torch import nn
from lime_xai.model.exclusive import wait_for_running

class Cycle:
    def __init__(self):
        self.own = self
    def __del__(self):
        time.sleep(1e-3)  # lets other threads run

def start_and_end():
    while True:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

for _ in range(3):
    threading.Thread(target=start_and_end, daemon=True).start()
model = nn.Identity()
draws = random.Random(0)
for _ in range(200):
    for _ in range(5):
        Cycle()
    gc.set_threshold(gc.get_count()[0] + draws.randrange(1, 40))  # one is due soon, at any allocation
    wait_for_running(model)
print("done", flush=True)
"""


def test_the_search_ends_while_threads_start_and_garbage_is_collected():
    """A process of its own: without the protection it waits for ever, and no signal reaches Python."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", AMONG_THREADS], env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert ran.stdout == "done\n"


@pytest.mark.parametrize("collects", [True, False])
def test_collection_is_off_during_the_search_and_as_before_after_it(collects, monkeypatch):
    seen = []

    def frames():
        seen.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", frames)
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        exclusive._runs_elsewhere(nn.Identity())
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False]
