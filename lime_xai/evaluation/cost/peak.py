"""The largest amount of memory that a call takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_is_known(device: torch.device) -> bool:
    """Return whether the peak can be read: on CUDA, and for the CPU on Linux."""
    return device.type == "cuda" or (device.type == "cpu" and _CLEAR.exists())


def peak_bytes(device: torch.device, run: Callable[[], None]) -> int:
    """Return the largest amount of memory while a function runs, in bytes, weights included.

    On CUDA it is what tensors take (``torch.cuda.max_memory_allocated``). On the CPU it is the resident memory of the
    process, with Python and all libraries, so that a process of its own is needed for each figure.

    Parameters
    ----------
    device : torch.device
        Where the model is.
    run : callable
        What is measured.

    Raises
    ------
    OSError
        If the system does not tell the peak of a process: only Linux does so here.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device))
    _CLEAR.write_text("5", encoding="ascii")  # forget the peak of loading the model
    run()
    status = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
