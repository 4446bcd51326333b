"""Everything that a call must leave as it was: the model, its inputs, the process."""

import random
import threading
import time
from collections.abc import Mapping

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.nn.modules import module as modules
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

import lime_xai
from lime_xai.evaluation.conformance.state import model_state, remembered
from lime_xai.model import exclusive
from lime_xai.model.layouts.reading import LAYOUTS
from lime_xai.policies import registry

_LASTING = ("tqdm_monitor",)
"""Threads that libraries start once and keep."""
_PATIENCE = 100
"""Hundredths of a second that threads have to end: those of progress bars end a moment after their bar."""


def _threads():
    """Return the names of running threads; those that are about to end are waited for."""
    for _ in range(_PATIENCE):
        found = {thread.name for thread in threading.enumerate() if thread.name not in _LASTING}
        if len(found) == 1:
            break
        time.sleep(0.01)
    return found


def of_process():
    """Return global settings and registries by name."""
    return {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads of torch": torch.get_num_threads(),
        "threads": _threads(),
        "uses of models": len(exclusive._USES),
        "waiting threads": set(exclusive._WAITING),
        "global hooks": [
            len(getattr(modules, name))
            for name in vars(modules)
            if name.startswith("_global_") and name.endswith("_hooks")
        ],
        "registries": [
            sorted(map(str, one)) for one in (lime_xai.METHODS, lime_xai.POLICIES, registry._CLASSES, LAYOUTS)
        ],
        "attention functions": sorted(AttentionInterface._global_mapping),
        "mask functions": sorted(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping),
        "matplotlib": matplotlib.get_backend(),
    }


def of_random_numbers():
    """Return the states of all generators of random numbers."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - libraries draw from the global generator
    return {
        "torch's random numbers": torch.get_rng_state().tolist(),
        "Python's random numbers": random.getstate(),
        "NumPy's random numbers": (kind, keys.tolist(), *rest),
    }


def of_model(subject):
    """Return a model's state, its weights and buffers included."""
    found = model_state(subject.model)
    if subject.variant != "meta":
        tensors = [*subject.model.parameters(), *subject.model.buffers()]
        found["weights and buffers"] = [tensor.detach().clone() for tensor in tensors]
    # Weights may be written and put back, bit for bit: parameter randomisation does so.
    found["parameters"] = [(id(p), p.requires_grad, p.dtype, p.device) for p in subject.model.parameters()]
    found["buffers"] = [id(buffer) for buffer in subject.model.buffers()]
    return found


def of_memory(subject):
    """Return what modules remember of their last call."""
    return remembered(subject.model)


def of_inputs(value):
    """Return a copy of inputs, to be compared later."""
    if isinstance(value, Tensor):
        return (value.dtype, value.device, value.requires_grad, value.detach().clone())
    if isinstance(value, lime_xai.Prompt):
        return of_inputs(value.inputs)
    if isinstance(value, Mapping):
        return {key: of_inputs(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [of_inputs(one) for one in value]
    return id(value)


def equal(one, other):
    """Whether two states are equal; NaN equals NaN."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.is_meta or other.is_meta:
            return one.shape == other.shape and one.is_meta == other.is_meta
        return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)


def differences(before, after):
    """Return the names of the entries that differ."""
    return [name for name in before if not equal(before[name], after.get(name))]
