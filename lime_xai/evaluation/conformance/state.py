"""What of a model must be the same after a call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def model_state(model: PreTrainedModel) -> dict[str, Any]:
    """Return parameters, flags, configs, hooks and generation settings of a model, to be compared later.

    Parameters
    ----------
    model : PreTrainedModel
        Not changed.

    Returns
    -------
    dict of str to object
        One entry per kind of state.
    """
    modules = list(model.modules())
    configs = [vars(module).get("config") for module in modules]
    return {
        "parameters": [(id(p), p._version, p.requires_grad, p.dtype, p.device) for p in model.parameters()],
        "training mode": [module.training for module in modules],
        "config objects": [id(config) for config in configs],
        "attention implementations": [getattr(config, "_attn_implementation", None) for config in configs],
        "forward functions": ["forward" in vars(module) for module in modules],
        "hooks": [[id(hook) for hook in hooks_of(module)] for module in modules],
        "generation_config": (id(model.generation_config), repr(model.generation_config)),
    }


def hooks_of(module: torch.nn.Module) -> list[Any]:
    """Return the hooks of a module but those by which transformers collects hidden states, which it never removes."""
    found = [hook for table in _HOOKS for hook in getattr(module, table).values()]
    return [hook for hook in found if not str(getattr(hook, "__module__", "")).startswith("transformers.")]


def remembered(model: PreTrainedModel) -> dict[str, Tensor | None]:
    """Return tensors that modules keep as plain attributes, the position offsets of Qwen-VL for example."""
    found = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) or (value is None and name == "rope_deltas"):
                found[f"{path}.{name}".lstrip(".")] = None if value is None else value.detach().clone()
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return which entries of a state changed, as text; empty if none did."""
    return ", ".join(name for name, value in before.items() if not _equal(value, after.get(name)))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return bool(one == other) if not isinstance(one, Tensor) and not isinstance(other, Tensor) else False
