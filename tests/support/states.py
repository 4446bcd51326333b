"""What of a model must be the same after a call: the state that conformance compares, in parts."""

from lime_xai.evaluation.conformance import state as conformance


def hooks_of(model):
    """All hooks but those with which transformers itself collects hidden states and never takes away."""
    return [hook for module in model.modules() for hook in conformance.hooks_of(module)]


def state(model):
    """Parameters, configs, attention, flags, forwards and generation settings; hooks are compared by ``hooks_of``."""
    return {name: value for name, value in conformance.model_state(model).items() if name != "hooks"}


def bare_state(model):
    """Hooks and configs of the decoder; transformers leaves hooks of its own on vision towers."""
    parts = [model, model.get_output_embeddings(), *model.get_decoder().modules()]
    return [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in parts]
