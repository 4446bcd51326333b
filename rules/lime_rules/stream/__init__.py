"""The rules in forward mode: tangents beside a model's own forward pass."""
