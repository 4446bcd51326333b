"""What of a model must be the same after a call."""


def hooks_of(model):
    """All hooks but those with which transformers itself collects hidden states and never takes away."""
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = [hook for module in model.modules() for table in tables for hook in getattr(module, table).values()]
    return [hook for hook in found if not str(getattr(hook, "__module__", "")).startswith("transformers.")]


def state(model):
    """Configs, attention, flags, forwards and generation settings."""
    configs = [vars(module).get("config") for module in model.modules()]
    return {
        "configs": [id(config) for config in configs],
        "attention": [getattr(config, "_attn_implementation", None) for config in configs],
        "flags": [(p.requires_grad, p.dtype, p.device) for p in model.parameters()],
        "training": [module.training for module in model.modules()],
        "forwards": ["forward" in vars(module) for module in model.modules()],
        "generation": (id(model.generation_config), repr(model.generation_config)),
    }


def bare_state(model):
    """Hooks and configs of the decoder; transformers leaves hooks of its own on vision towers."""
    parts = [model, model.get_output_embeddings(), *model.get_decoder().modules()]
    return [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in parts]
