"""The parameters of an edit: additive deltas or gains on the keys and values of cached slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lime_rules.stream.tangents import UNSCALED, KVScaling


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer's cache: rows, key/value heads, positions, head sizes, device and dtype."""

    batch: int
    heads: int
    positions: int
    key_size: int
    value_size: int
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, positions: int) -> LayerShape:
        """Read the sizes off keys and values ``[B, Hkv, n, D]``."""
        return cls(keys.shape[0], keys.shape[1], positions, keys.shape[3], values.shape[3], keys.device, keys.dtype)


class Deltas:
    """Base: parameters per layer and how they change keys and values.

    Parameters are float32 (float64 for float64 caches) on their layer's device and start at zero, which leaves
    keys and values as they are.

    Parameters
    ----------
    shapes : mapping of int to LayerShape
        The layers to edit.
    masks : mapping of str to Tensor
        ``[B, P]`` per modality (and ``text``): where slots may change.
    edit : {"keys", "values", "both"}
        What may change.
    """

    def __init__(self, shapes: Mapping[int, LayerShape], masks: Mapping[str, Tensor], edit: str) -> None:
        self.shapes = dict(shapes)
        self.parts = ("keys", "values") if edit == "both" else (edit,)
        self.parameters: dict[tuple[int, str, str], Tensor] = {}
        self.masks: dict[tuple[int, str], Tensor] = {}
        moved: dict[tuple[torch.device, torch.dtype, str], Tensor] = {}
        for layer, shape in self.shapes.items():
            dtype = torch.promote_types(shape.dtype, torch.float32)
            for modality, mask in masks.items():
                place = (shape.device, dtype, modality)
                if place not in moved:
                    moved[place] = mask.to(shape.device, dtype)[:, None, :, None]
                self.masks[layer, modality] = moved[place]
            for part in self.parts:
                for modality, size in self.sizes(shape, part, masks).items():
                    zeros = torch.zeros(size, device=shape.device, dtype=dtype)
                    self.parameters[layer, part, modality] = zeros.requires_grad_()

    def sizes(self, shape: LayerShape, part: str, masks: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each modality's parameter in a layer."""
        raise TypeError(f"{type(self).__name__} must define sizes().")

    def edited(self, layer: int, part: str, states: Tensor, start: int) -> Tensor:
        """Return the edited keys or values ``[B, Hkv, n, D]`` of positions ``start`` to ``start + n``."""
        raise TypeError(f"{type(self).__name__} must define edited().")

    def __call__(self, layer: int, keys: Tensor, values: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Edit slots; a ``lime_xai.model.cache.KeyValueEdit``. Layers not named in ``shapes`` pass unchanged."""
        if layer not in self.shapes:
            return keys, values
        both = {"keys": keys, "values": values}
        for part in self.parts:
            both[part] = self.edited(layer, part, both[part], start).to(both[part].dtype)
        return both["keys"], both["values"]

    def with_scaling(self, layer: int, keys: Tensor, values: Tensor, start: int) -> tuple[Tensor, Tensor, KVScaling]:
        """Edit slots for a relevance stream: as ``__call__``, with factors that attention applies to the result."""
        return *self(layer, keys, values, start), UNSCALED

    def gains(self, layers: int) -> dict[str, Tensor]:
        """Return the gains on values by modality, ``[B, L, Hkv]``, 0 in layers without; empty for other deltas.

        Parameters
        ----------
        layers : int
            Number of decoder layers ``L``.
        """
        return {}

    def tensors(self) -> list[Tensor]:
        """Return all parameters, in a fixed order."""
        return list(self.parameters.values())


class FreeDeltas(Deltas):
    """One additive delta per slot, head and channel: ``K + dK``, ``V + dV`` (the paper's form)."""

    def sizes(self, shape: LayerShape, part: str, masks: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """Return one parameter ``[B, Hkv, P, D]`` for all modalities together."""
        width = shape.key_size if part == "keys" else shape.value_size
        return {"all": (shape.batch, shape.heads, shape.positions, width)}

    def edited(self, layer: int, part: str, states: Tensor, start: int) -> Tensor:
        """Add the delta where the masks allow it."""
        stop = start + states.shape[2]
        masks = [mask for (index, _), mask in self.masks.items() if index == layer]
        allowed = torch.stack(masks).amax(0)[:, :, start:stop]
        return states + self.parameters[layer, part, "all"][:, :, start:stop] * allowed


class GainDeltas(Deltas):
    """One factor per layer, key/value head and modality: ``V + a V`` on the slots of that modality."""

    def sizes(self, shape: LayerShape, part: str, masks: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """Return one parameter ``[B, Hkv, 1, 1]`` per modality."""
        return dict.fromkeys(masks, (shape.batch, shape.heads, 1, 1))

    def edited(self, layer: int, part: str, states: Tensor, start: int) -> Tensor:
        """Multiply by one plus the gains of each slot's modality."""
        return states * self._factors(layer, part, start, start + states.shape[2])[..., None]

    def with_scaling(self, layer: int, keys: Tensor, values: Tensor, start: int) -> tuple[Tensor, Tensor, KVScaling]:
        """Return keys and values unchanged, and their factors: no scaled copy of the cache is made."""
        if layer not in self.shapes:
            return keys, values, UNSCALED
        span = start, start + keys.shape[2]
        factors = {part: self._factors(layer, part, *span) for part in self.parts}
        return keys, values, KVScaling(None, factors.get("keys"), factors.get("values"))

    def _factors(self, layer: int, part: str, start: int, stop: int) -> Tensor:
        """Return one plus the gain of each slot, ``[B, Hkv, stop - start]``."""
        factor: Tensor | float = 1.0
        for (index, modality), mask in self.masks.items():
            if index == layer:
                factor = factor + self.parameters[layer, part, modality][..., 0] * mask[:, :, start:stop, 0]
        if not isinstance(factor, Tensor):
            raise ValueError(f"There are no slots to edit in layer {layer}.")
        return factor

    def gains(self, layers: int) -> dict[str, Tensor]:
        """Return the gains on values by modality, ``[B, L, Hkv]``, 0 in layers without."""
        found: dict[str, Tensor] = {}
        for (layer, part, modality), parameter in self.parameters.items():
            if part == "values":
                gain = parameter.detach()[:, :, 0, 0].cpu()
                found.setdefault(modality, gain.new_zeros(gain.shape[0], layers, gain.shape[1]))[:, layer] = gain
        return found


DELTAS: dict[str, type[Deltas]] = {"free": FreeDeltas, "gain": GainDeltas}
"""Kinds of deltas by name."""
