"""Every registered policy, and some in other forms, for tests over the registry on models that are placed otherwise."""

import torch

from lime_xai import POLICIES, Calibration, Constant, Contrast, Edit, Reweight
from lime_xai.storage.weights import weights_hash

FORMS = {
    **{name: lambda model, kind, make=make: make() for name, make in POLICIES.items()},
    "paper over the cache": lambda model, kind: Edit.paper("cache", 0.01),
    "reweight, full": lambda model, kind: Reweight(relevance="full"),
    "reweight, backward": lambda model, kind: Reweight(direction="backward"),
    "contrast, slot": lambda model, kind: Contrast("slot"),
    "constant": lambda model, kind: Constant(made_up_calibration(model, kind)),
}
"""Policies by name, from a model whose weights are loaded and the modality that it perceives."""


def made_up_calibration(model, kind):
    config = model.config.get_text_config()
    gains = torch.full((config.num_hidden_layers, config.num_key_value_heads), 0.1)
    return Calibration(weights_hash(model), "direct", 1, 1, torch.zeros(config.vocab_size), {kind: gains})


def outcome(call):
    """Return what a call returns, or the kind and message of its refusal."""
    try:
        return call()
    except (ValueError, TypeError, NotImplementedError) as error:
        return type(error), str(error)
