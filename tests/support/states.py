"""What else must be the same after a call than the state that conformance compares (``model_state``)."""

import warnings

import numpy as np
import torch

from lime_xai.evaluation.conformance.state import hooks_of as hooks_of_module
from lime_xai.evaluation.conformance.state import model_state
from lime_xai.model import exclusive


def hooks_of(model):
    """All hooks but those with which transformers itself collects hidden states and never takes away."""
    return [hook for module in model.modules() for hook in hooks_of_module(module)]


def whole_state(model):
    """Everything of a model that a call may touch: contents bit for bit, and the identity of what it holds."""
    modules = dict(model.named_modules())
    return {
        **model_state(model),
        # without versions: the metric of randomised weights changes weights and puts them back, bit for bit
        "parameters": [(id(p), p.requires_grad, p.dtype, p.device) for p in model.parameters()],
        "gradients": [p.grad for p in model.parameters()],
        "weights": {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()},
        "buffers": {name: tensor.clone() for name, tensor in model.named_buffers()},
        "config objects": [id(vars(module).get("config")) for module in modules.values()],
        "attributes": {name: sorted(set(vars(module)) - _OF_TRANSFORMERS) for name, module in modules.items()},
        "in use": _in_use(model),
    }


_OF_TRANSFORMERS = {"_output_capturing_hooks_installed"}
"""What transformers itself sets at the first call and never takes away."""


def _in_use(model):
    """Who uses or waits for the model, as ``lime_xai.model.exclusive`` keeps it."""
    return exclusive._USES.get(model), set(exclusive._WAITING), exclusive._CONDITION._is_owned()


def process_state():
    """What is set for the whole process, and the state of the global random generators."""
    kernels = torch.backends.cuda
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "default dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "attention kernels": (
            kernels.flash_sdp_enabled(),
            kernels.mem_efficient_sdp_enabled(),
            kernels.math_sdp_enabled(),
            kernels.cudnn_sdp_enabled(),
        ),
        "warning filters": list(warnings.filters),
        "random": torch.random.get_rng_state(),
        "numpy random": np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global generator is what is looked at
        "anomaly mode": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
    }


def differences(before, after):
    """Names of the entries that are not the same in both; tensors are compared bit for bit."""
    return [name for name, value in before.items() if not same(value, after[name])]


def same(one, other):
    """Whether two values are the same; tensors inside containers are compared bit for bit, NaN being equal to NaN."""
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or one.shape != other.shape or one.dtype != other.dtype:
            return False
        return torch.equal(one.detach().nan_to_num(), other.detach().nan_to_num())
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
