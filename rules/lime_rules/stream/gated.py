"""The gated MLP in forward mode: ``(a u)' = c (a' u + a u')`` with ``a`` the activated gate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from zennit.core import Hook

from lime_rules.rules import ScaleInputRule, module_jvp
from lime_rules.structure import GatedParts

from .batch import TangentBatch

Place = Callable[[Tensor], Tensor]
"""Selects the factor ``u`` in the output of the inner projection."""

_PLACES: dict[str, tuple[Place, Place]] = {
    "gate first": (lambda y: y.chunk(2, -1)[0], lambda y: y.chunk(2, -1)[1]),
    "gate last": (lambda y: y.chunk(2, -1)[1], lambda y: y.chunk(2, -1)[0]),
    "gate even": (lambda y: y[..., ::2], lambda y: y[..., 1::2]),
    "gate odd": (lambda y: y[..., 1::2], lambda y: y[..., ::2]),
}
"""Layouts of gate and factor in the output of one projection: (gate, factor)."""


def zero_input(module: nn.Module) -> Tensor:
    """Return one zero vector ``[1, 1, in]`` for a linear module; quantised ones hold nothing but buffers."""
    tensors = [t for t in chain(module.parameters(), module.buffers()) if t.device.type != "meta"]
    floats = [t for t in tensors if t.is_floating_point() and t.element_size() > 1]
    like = (floats or [torch.zeros(1)])[0]
    device = tensors[0].device if tensors else like.device
    return torch.zeros(1, 1, int(module.in_features), device=device, dtype=like.dtype)  # type: ignore[arg-type]


class GatedHooks:
    """Captures gate and factor of one gated MLP and rewrites the tangent of their product, call by call.

    Parameters
    ----------
    stream : TangentBatch
        Its hooks do nothing while ``tangents`` is 0.
    module : nn.Module
        The MLP.
    parts : GatedParts
        Its children.
    gate_rule, product_rule : Hook or None
        Rules of the activation and of the product.
    """

    def __init__(
        self,
        stream: TangentBatch,
        module: nn.Module,
        parts: GatedParts,
        gate_rule: Hook | None,
        product_rule: Hook | None,
    ) -> None:
        self.stream, self.module, self.parts, self.gate_rule = stream, module, parts, gate_rule
        self.factor = product_rule.factor if isinstance(product_rule, ScaleInputRule) else 1.0
        self._gate: tuple[Tensor, Tensor] | None = None
        self._made: Tensor | None = None
        self._place = self._find_place()

    def attach(self) -> Callable[[], None]:
        """Put the hooks on; return what takes them off."""
        child = self.module.get_submodule
        undo = ExitStack()
        undo.callback(child(self.parts.inner[-1]).register_forward_hook(self._keep).remove)
        undo.callback(child(self.parts.activation).register_forward_hook(self._activated).remove)
        undo.callback(child(self.parts.down).register_forward_pre_hook(self._multiplied).remove)
        return undo.close

    def _keep(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if self.stream.tangents:
            self._made = output

    def _activated(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if self.stream.tangents:
            primal, tangent = self.stream.split(args[0])
            self._gate = self.stream.split(output)[0], module_jvp(self.gate_rule, module, primal, tangent)

    def _multiplied(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self.stream.tangents:
            return None
        if self._gate is None or self._made is None:
            raise RuntimeError(f"{type(self.module).__name__} did not call its children in the order of a gated MLP.")
        (gate, gate_tangent), (factor, factor_tangent) = self._gate, self.stream.split(self._place(self._made))
        self._gate = self._made = None
        tangent = self.factor * (gate_tangent * factor + gate * factor_tangent)
        return (self.stream.join(self.stream.split(args[0])[0], tangent), *args[1:])

    def _find_place(self) -> Place:
        """Return where the factor is, by calling the MLP once.

        Raises
        ------
        NotImplementedError
            If the gate is not a half of what the projection makes.
        """
        if len(self.parts.inner) > 1:
            return lambda y: y
        inner, activation = (self.module.get_submodule(n) for n in (self.parts.inner[0], self.parts.activation))
        seen: dict[str, Tensor] = {}
        handles = [
            inner.register_forward_hook(lambda m, a, output: seen.update(made=output)),
            activation.register_forward_hook(lambda m, args, output: seen.update(gate=args[0])),
        ]
        probe = zero_input(inner)
        probe = probe + torch.linspace(-1, 1, probe.shape[-1]).to(probe)
        try:
            with torch.no_grad():
                self.module(probe)
        finally:
            for handle in handles:
                handle.remove()
        for gate, factor in _PLACES.values():
            if torch.equal(gate(seen["made"]), seen["gate"]):
                return factor
        raise NotImplementedError(
            f"{type(self.module).__name__} joins gate and factor in {self.parts.inner[0]} in none of the known layouts "
            f"({', '.join(_PLACES)}); use relevance by backward passes instead."
        )
