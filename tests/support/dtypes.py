"""Another default dtype of torch for a while."""

from contextlib import contextmanager

import torch


@contextmanager
def default_dtype(dtype):
    """Context in which torch's default dtype is another one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
