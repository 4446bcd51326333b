"""The role of each module of a decoder, found by its parameters and what it computes, not by its class name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary, ref

from torch import nn
from transformers import PreTrainedConfig

from .experts import is_experts
from .ratios import match_activation, match_norm

GATED_MLPS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("gate_up_proj",), "down_proj"),
    (("w1", "w3"), "w2"),
    (("gate", "up"), "down"),
)
"""Children that make a gated MLP, ``down(act(gate(x)) * up(x))``: (gate and up, down)."""


RoleKind = Literal[
    "norm",
    "activation",
    "gate",
    "product",
    "attention",
    "experts",
    "router",
    "linear",
    "convolution",
    "transparent",
    "container",
    "uncovered",
]
"""Kinds of roles; ``ROLE_KINDS`` describes each."""


@dataclass(frozen=True)
class KindFacts:
    """What holds for every module of one kind.

    Attributes
    ----------
    description : str
        What such a module is.
    rule : str
        How relevance passes: ``hook`` (the composite chooses a Zennit hook), ``gradient`` (the plain derivative is the
        rule), ``none`` (the module computes nothing by itself), ``missing``, or the name of the rule that reaches the
        module through one of transformers' interfaces.
    operations_covered : bool
        Whether the operations inside its forward method need no further rule.
    """

    description: str
    rule: str
    operations_covered: bool


ROLE_KINDS: Mapping[RoleKind, KindFacts] = {
    "norm": KindFacts("a normalisation", "hook", True),
    "activation": KindFacts("an elementwise activation", "hook", True),
    "gate": KindFacts("the activation of a gated MLP", "hook", True),
    "product": KindFacts("the projection after the product of a gated MLP", "hook", False),
    "attention": KindFacts("calls transformers' attention interface", "bilinear", False),
    "experts": KindFacts("experts of transformers' experts interface", "gated experts", True),
    "router": KindFacts("chooses and weights experts", "held fixed", True),
    "linear": KindFacts("a linear map, also quantised or with LoRA", "gradient", False),
    "convolution": KindFacts("a convolution of an encoder, linear in its input", "gradient", True),
    "transparent": KindFacts("passes its input on, or does not depend on it", "gradient", True),
    "container": KindFacts("holds other modules", "none", False),
    "uncovered": KindFacts("has no rule", "missing", False),
}
"""The one table of kinds."""


@dataclass(frozen=True)
class Role:
    """The role of a module in relevance propagation.

    Attributes
    ----------
    kind : RoleKind
        A key of ``ROLE_KINDS``.
    detail : str
        Key of the ratio for norms and activations, the reason for ``uncovered`` and ``transparent``.
    """

    kind: RoleKind
    detail: str = ""


_ROLES: WeakKeyDictionary[nn.Module, tuple[tuple[ref[nn.Module], ...], dict[str, Role]]] = WeakKeyDictionary()


def roles(root: nn.Module) -> dict[str, Role]:
    """Return the role of every module below ``root``, by its name in ``root.named_modules()``.

    The answer is kept as long as the modules below ``root`` stay the same objects.

    Parameters
    ----------
    root : nn.Module
        A decoder (``model.get_decoder()``).

    Returns
    -------
    dict of str to Role
    """
    key = tuple(ref(module) for module in root.modules())
    known = _ROLES.get(root)
    if known is None or known[0] != key:
        known = (key, dict(_find_roles(root)))
        _ROLES[root] = known
    return known[1]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map by duck type; quantised and LoRA-wrapped ones are too."""
    if isinstance(module, nn.Linear):
        return True
    return isinstance(getattr(module, "in_features", None), int) and isinstance(
        getattr(module, "out_features", None), int
    )


def is_attention(module: nn.Module) -> bool:
    """Whether a module calls transformers' attention interface: it holds a config and projections."""
    return "Attention" in type(module).__name__ and isinstance(vars(module).get("config"), PreTrainedConfig)


@dataclass(frozen=True)
class GatedParts:
    """Names of the children of a gated MLP.

    Attributes
    ----------
    inner : tuple of str
        Projections of gate and factor, or the one that makes both.
    activation, down : str
        The gate's activation, and the projection of the product.
    """

    inner: tuple[str, ...]
    activation: str
    down: str


def gated_parts(module: nn.Module) -> GatedParts | None:
    """Return the parts of a gated MLP, or None for any other module."""
    children = dict(module.named_children())
    for inner, down in GATED_MLPS:
        if down in children and all(name in children for name in inner):
            acts = [n for n, child in children.items() if n not in inner and n != down and not is_linear(child)]
            active = [n for n in acts if _elementwise(children[n]) not in (None, "linear")]
            if len(active) == 1:
                return GatedParts(inner, active[0], down)
    return None


def parts_by_role(name: str, module: nn.Module, found: Mapping[str, Role]) -> GatedParts | None:
    """Return the parts of a gated MLP whose roles are known, or None for any other module.

    Parameters
    ----------
    name : str
        Of the module below the root of ``found``.
    module : nn.Module
        Any module.
    found : mapping of str to Role
        What ``roles`` returned.
    """
    prefix = f"{name}." if name else ""
    children = [child for child, _ in module.named_children()]
    kinds = {found[prefix + child].kind: child for child in children if prefix + child in found}
    if not {"gate", "product"} <= set(kinds):
        return None
    inner = next(i for i, down in GATED_MLPS if down == kinds["product"] and set(i) <= set(children))
    return GatedParts(inner, kinds["gate"], kinds["product"])


def _find_roles(root: nn.Module) -> Iterator[tuple[str, Role]]:
    given: dict[str, Role] = {}
    inside_linear: tuple[str, ...] = ()
    for name, module in root.named_modules():
        prefix = f"{name}." if name else ""
        if inside_linear and name.startswith(inside_linear):
            yield name, given.get(name, Role("transparent", "part of a linear map"))
            continue
        parts = gated_parts(module)
        if parts is not None:
            given[prefix + parts.activation] = Role("gate", _elementwise(module.get_submodule(parts.activation)) or "")
            given[prefix + parts.down] = Role("product")
        given.update(_experts_roles(prefix, module))
        role = given.get(name) or _role(module)
        if is_linear(module):
            inside_linear = (*inside_linear, prefix)
        yield name, role


def _experts_roles(prefix: str, module: nn.Module) -> dict[str, Role]:
    """Return the roles of the children of a mixture of experts: the experts, their gate's activation and the router."""
    children = dict(module.named_children())
    experts = [name for name, child in children.items() if is_experts(child)]
    if len(experts) != 1:
        return {}
    act = _elementwise(children[experts[0]].get_submodule("act_fn"))
    if act is None:
        return {}
    found = {f"{prefix}{experts[0]}": Role("experts"), f"{prefix}{experts[0]}.act_fn": Role("gate", act)}
    for name, child in children.items():
        if "Router" in type(child).__name__ and not any(True for _ in child.children()):
            found[f"{prefix}{name}"] = Role("router", "held fixed by the rules of experts")
    return found


def _role(module: nn.Module) -> Role:
    if is_linear(module):
        return Role("linear")
    if isinstance(module, nn.Embedding):
        return Role("transparent", "embedding")
    if isinstance(module, nn.Dropout | nn.Identity):
        return Role("transparent", "identity outside training")
    if is_attention(module):
        return Role("attention")
    if any(True for _ in module.children()):
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if own:
            return Role("uncovered", f"uses its own parameters ({', '.join(own)}) in code that no rule covers")
        return Role("container")
    return _leaf_role(module)


def _leaf_role(module: nn.Module) -> Role:
    shapes = {name: parameter.dim() for name, parameter in module.named_parameters(recurse=False)}
    if not shapes and "Rotary" in type(module).__name__:
        return Role("transparent", "position embedding, constant in the input")
    if not _takes_one_input(module):
        return Role("uncovered", "takes several inputs" if not shapes else f"parameters {sorted(shapes)}")
    if not shapes:
        kind = _elementwise(module)
        if kind is not None:
            return Role("transparent", "identity") if kind == "linear" else Role("activation", kind)
    if set(shapes) <= {"weight", "bias"} and set(shapes.values()) <= {1}:
        kind = match_norm(module)
        if kind is not None:
            return Role("norm", kind)
    return Role("uncovered", "neither linear nor a known normalisation or activation")


def _elementwise(module: nn.Module) -> str | None:
    """Name the activation a parameterless one-input leaf computes, else None."""
    if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
        return None
    return match_activation(module) if _takes_one_input(module) else None


def _takes_one_input(module: nn.Module) -> bool:
    signature = inspect.signature(type(module).forward)
    required = [
        p
        for p in list(signature.parameters.values())[1:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 1
