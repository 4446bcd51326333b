"""Work in a copy of this process, which a test may kill."""

import os
import warnings

import torch


def child(work):
    """Begin work in a copy of this process; return its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # threads of libraries, none of which the child uses
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            work()
            status = 0
        finally:
            os._exit(status)
    return pid
