"""Device maps for accelerate: every decoder layer is a part of its own, and so is everything beside the layers."""


def parts_of(model):
    """Return the names of modules that cover a model's weights once: decoder layers, and what holds none of them."""
    layers = set(model.get_decoder().layers)
    found = {}

    def visit(module, name):
        if module in layers or not layers & set(module.modules()):
            found[name] = module
            return
        for key, child in module.named_children():
            visit(child, f"{name}.{key}".lstrip("."))

    visit(model, "")
    covered = {weight for module in found.values() for weight in module.parameters()}
    assert covered == set(model.parameters())
    return found
