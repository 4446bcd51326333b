"""Counting the calls that a model makes to its decoder and to its towers."""

from contextlib import contextmanager
from dataclasses import dataclass

TOWERS = ("vision_tower", "visual", "vision_model", "audio_tower")
"""Names of the modules that encode images and sounds."""


@dataclass
class Calls:
    """Completed calls of the decoder, and calls of towers, so far."""

    decoder: int = 0
    tower: int = 0


def towers(model):
    """The towers of a model: no tower inside another."""
    decoder = model.get_decoder()
    found = [module for name, module in model.named_modules() if name.rpartition(".")[2] in TOWERS]
    inner = {id(part) for tower in found for part in tower.modules() if part is not tower}
    return [tower for tower in found if id(tower) not in inner and tower is not decoder]


@contextmanager
def counted(model):
    """Context that counts calls; yields them."""
    calls = Calls()

    def of_decoder(module, args, output):
        calls.decoder += 1

    def of_tower(module, args):
        calls.tower += 1

    handles = [model.get_decoder().register_forward_hook(of_decoder)]
    handles += [tower.register_forward_pre_hook(of_tower) for tower in towers(model)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
