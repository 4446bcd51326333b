"""Random numbers of torch: drawn again from where they were before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Draws:
    """The state of torch's generators: that of the CPU, and those of a model's other devices.

    Attributes
    ----------
    cpu : Tensor
        State of the CPU's generator.
    kind : str
        Type of the other devices, ``cuda`` if there are none.
    others : dict of int to Tensor
        State of the generator of each.
    """

    cpu: Tensor
    kind: str
    others: dict[int, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> Draws:
        """Return the present state for the devices of a model."""
        places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
        used = sorted((place.type, place.index or 0) for place in places if place.type not in ("cpu", "meta"))
        kind = used[0][0] if used else "cuda"
        others = {index: torch.get_device_module(kind).get_rng_state(index) for _, index in used}
        return cls(torch.get_rng_state(), kind, others)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Context in which numbers are drawn as from this state on; after it, the state is that from before."""
        with torch.random.fork_rng(devices=list(self.others), device_type=self.kind):
            torch.set_rng_state(self.cpu)
            module: Any = torch.get_device_module(self.kind) if self.others else None
            for index, state in self.others.items():
                module.set_rng_state(state, index)
            yield
