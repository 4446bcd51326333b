"""Composite and audit for what encodes pictures and sounds: towers and projectors.

Encoders differ from decoders in three ways. They have convolutions; their first layer is given pixels or a spectrogram,
where 0 is a colour as good as any other; and they add parameters of their own (class tokens, positions) in their code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from zennit.core import BasicHook, Hook
from zennit.rules import Epsilon, Flat, Gamma, WSquare

from .audit import Audit, AuditRow, rule_name
from .composites import LRP_METHODS, LayerMap, TransformerComposite
from .gradients import replace_gradient
from .operations import Follow, Operation, watched
from .ratios import ACTIVATION_RATIOS
from .rules import ActivationRule, GradientForm, ProductRule, RelevanceForm
from .structure import Role, roles

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Classes of convolutions."""

RESHAPING = (
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Flatten, nn.Unflatten, nn.Fold, nn.Unfold, nn.PixelShuffle, nn.PixelUnshuffle),
)
"""Classes of linear maps without parameters: means of neighbours, and changes of shape."""

FIRST_RULES: dict[str, Callable[[], BasicHook]] = {"flat": Flat, "wsquare": WSquare}
"""Rules for the first layer that do not depend on the values of pixels, by name."""

PerLayer = float | Mapping[str, float]
"""One number for all linear and convolution layers, or numbers by pattern of their names; the first match is used."""


def encoder_roles(root: nn.Module) -> dict[str, Role]:
    """Return the role of every module of an encoder; as ``roles``, with convolutions and pooling besides."""
    found = dict(roles(root))
    for name, module in root.named_modules():
        if isinstance(module, CONVOLUTIONS):
            found[name] = Role("convolution")
        elif isinstance(module, RESHAPING):
            found[name] = Role("transparent", "a fixed linear map")
    return found


class FunctionalActivations(TorchFunctionMode):
    """Mode in which ``gelu``, ``silu`` and ``relu`` get the identity rule where they are called as functions.

    Activations that are modules have the rule already, and it is not applied twice: their hook takes its gradient from
    the module's input.

    Parameters
    ----------
    wanted : bool
        False: the mode does nothing.
    """

    def __init__(self, wanted: bool = True) -> None:
        super().__init__()
        self.wanted, self.active, self.frozen = wanted, wanted, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and route its gradient through the ratio of the activation."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        kind = _FUNCTIONS.get(func) if self.wanted else None
        if kind is None:
            return output
        name = "gelu_tanh" if kind == "gelu" and kwargs.get("approximate") == "tanh" else kind
        ratio = ACTIVATION_RATIOS[name]
        given = args[0] if args else kwargs["input"]
        return replace_gradient(output, given, lambda value, grad: grad * ratio(value), self)


_FUNCTIONS: dict[Any, str] = {
    functional.gelu: "gelu",
    functional.silu: "silu",
    functional.relu: "relu",
    torch.relu: "relu",
    Tensor.relu: "relu",
}
FUNCTIONAL_NAMES = frozenset(_FUNCTIONS.values())


class EncoderLRP(TransformerComposite):
    """LRP for encoders of pictures and sounds, in gradient x input form.

    Normalisations, activations, gated products and attention get the rules of ``base``. Linear and convolution layers
    get the plain gradient (LRP-0), or ``Epsilon`` or ``Gamma`` of Zennit.

    Parameters
    ----------
    base : str or TransformerComposite
        ``attnlrp``, ``cplrp``, ``gradient_input``, or a composite whose rules and ratios of attention are used.
    gamma : float or mapping of str to float
        Gamma of Zennit's ``Gamma`` rule, for all linear and convolution layers or by pattern of their names
        (``{"*.layers.*": 0.25}``, as in ``fnmatch``); 0, and no pattern: no such rule.
    epsilon : float or mapping of str to float
        The same for Zennit's ``Epsilon`` rule, on layers whose gamma is 0.
    first : str or zennit.core.BasicHook, optional
        Rule of the first layer: ``flat``, ``wsquare``, or another of Zennit's, ``ZBox(low, high)`` for example. They
        give relevance to a pixel without multiplying by its value. None: the rule that the layer has as any other.
    layer_map : sequence of (type or tuple of types, Hook), optional
        As in ``TransformerComposite``; has precedence over ``gamma`` and ``epsilon``.
    canonizers : list of zennit.canonizers.Canonizer, optional
        As in ``TransformerComposite``.

    Attributes
    ----------
    first_layers : frozenset of str
        Names of the layers that get ``first``; set before use, because only a run of the model tells them.

    Raises
    ------
    ValueError
        For an unknown name, or a negative number.
    TypeError
        For a base that is neither a name nor a composite.

    Examples
    --------
    >>> from lime_rules import EncoderLRP
    >>> encoder = EncoderLRP("attnlrp", gamma={"*patch_embed*": 0.0, "*": 0.1}, first="flat")
    """

    def __init__(
        self,
        base: str | TransformerComposite = "attnlrp",
        *,
        gamma: PerLayer = 0.0,
        epsilon: PerLayer = 0.0,
        first: str | BasicHook | None = None,
        layer_map: LayerMap | None = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        if isinstance(base, str):
            if base not in LRP_METHODS:
                raise ValueError(f"base is {base!r}; expected one of {', '.join(LRP_METHODS)}, or a composite.")
            base = LRP_METHODS[base]()
        if not isinstance(base, TransformerComposite):
            raise TypeError(f"base is {base!r}; expected one of {', '.join(LRP_METHODS)}, or a composite.")
        self.base = base
        self.attention_ratios, self.expert_ratios = base.attention_ratios, base.expert_ratios
        self.gamma, self.epsilon = _per_layer("gamma", gamma), _per_layer("epsilon", epsilon)
        self.first, self.first_layers = _first(first), frozenset[str]()
        super().__init__([*(layer_map or ()), *base.layer_map], canonizers)

    @property
    def functional(self) -> bool:
        """Whether activations that are called as functions, ``gelu(conv(x))``, get the rule of activations."""
        return isinstance(self.base.rule_for(Role("activation", "gelu")), ActivationRule)

    @contextmanager
    def context(self, module: nn.Module) -> Iterator[Any]:
        """Context in which the rules are on the modules below a root, and on activations called as functions."""
        with super().context(module) as found, FunctionalActivations(self.functional):
            yield found

    def find_roles(self, root: nn.Module) -> dict[str, Role]:
        """Return the role of every module of an encoder."""
        return encoder_roles(root)

    def rule_for(self, role: Role) -> Hook | None:
        """Return the base's rule of a role."""
        return None if role.kind == "convolution" else self.base.rule_for(role)

    def _choose(self, ctx: dict[str, Any], name: str, module: nn.Module) -> Hook | None:
        if self.first is not None and name in self.first_layers:
            return RelevanceForm(self.first)
        if any(isinstance(module, types) for types, _ in self.layer_map):
            return super()._choose(ctx, name, module)
        own = super()._choose(ctx, name, module)
        if self._roles[name].kind not in ("linear", "product", "convolution"):
            return own
        gamma, epsilon = _value(self.gamma, name), _value(self.epsilon, name)
        if not gamma and not epsilon:
            return own
        if not isinstance(module, (nn.Linear, *CONVOLUTIONS)) or not module.weight.is_floating_point():
            raise ValueError(
                f"gamma and epsilon need the weights of a layer, and {name} is {type(module).__name__}; leave it out "
                f"by a pattern, {{{name!r}: 0.0, '*': ...}}."
            )
        rule = Gamma(gamma) if gamma else Epsilon(epsilon)
        return GradientForm(rule, own.factor if isinstance(own, ProductRule) else 1.0)


Run = Callable[[Callable[[Tensor], Tensor]], Sequence[Tensor]]
"""Runs an encoder once and returns its outputs; the function is given the input and returns what is used instead."""


def audit_encoder(root: nn.Module, composite: EncoderLRP, run: Run) -> Audit:
    """List the modules of an encoder by which its input reaches its output, and operations that no rule covers.

    Parameters
    ----------
    root : nn.Module
        Holds the encoder.
    composite : EncoderLRP
        Whose rules.
    run : callable
        Runs the encoder; called twice.

    Returns
    -------
    Audit
        Unknown modules count as covered if all that their code does is linear in what depends on the input, as where a
        class token is put before the patches. Of other containers the operations are listed, not the module.
    """
    found, follow = encoder_roles(root), Follow()
    with torch.no_grad(), watched(root, follow, found), follow:
        run(lambda value: follow.mark(value.clone()))
    reached = _on_the_way(root, run)
    operations = [
        one
        for one in follow.found
        if (not one.module or one.module in reached) and not (composite.functional and one.name in FUNCTIONAL_NAMES)
    ]
    rules, rows, nonlinear = composite.rules(root), [], {one.module for one in operations}
    for name, module in root.named_modules():
        role = found[name]
        if role.kind == "uncovered" and name not in nonlinear:
            role = Role("transparent", "its code is linear in what depends on the input")
        holds = role.kind == "uncovered" and any(True for _ in module.children())
        if role.kind != "container" and not holds and name in reached:
            rows.append(AuditRow(name, type(module).__name__, role, rule_name(role, rules[name], composite)))
    named = {row.name for row in rows if not row.covered}
    return Audit(tuple(rows), tuple(one for one in operations if one.module not in named))


def _on_the_way(root: nn.Module, run: Run) -> set[str]:
    """Return the names of the modules whose output depends on the input and reaches the output of the encoder."""
    outputs: list[tuple[str, Tensor]] = []
    handles = []
    for name, module in root.named_modules():

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            outputs.extend((name, one) for one in tree_leaves(output) if isinstance(one, Tensor) and one.requires_grad)

        handles.append(module.register_forward_hook(note))
    try:
        with torch.enable_grad():
            last = run(lambda value: value.detach().clone().requires_grad_())
            total = [one.sum() for one in last if one.requires_grad]
            if not total or not outputs:
                return set()
            gradients = torch.autograd.grad(total, [one for _, one in outputs], allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return {name for (name, _), gradient in zip(outputs, gradients, strict=True) if gradient is not None}


def attends_inline(operation: Operation) -> bool:
    """Whether an operation is part of attention that is written outside transformers' interface."""
    return "softmax" in operation.name or "attention" in operation.name


def _per_layer(name: str, value: PerLayer) -> PerLayer:
    for number in value.values() if isinstance(value, Mapping) else (value,):
        if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < float("inf"):
            raise ValueError(f"{name} is {value!r}; expected a number from 0, or numbers by pattern of names.")
    return dict(value) if isinstance(value, Mapping) else float(value)


def _value(setting: PerLayer, name: str) -> float:
    if not isinstance(setting, Mapping):
        return setting
    return next((value for pattern, value in setting.items() if fnmatchcase(name, pattern)), 0.0)


def _first(rule: str | BasicHook | None) -> BasicHook | None:
    if rule is None or isinstance(rule, BasicHook):
        return rule
    if rule not in FIRST_RULES:
        raise ValueError(f"first is {rule!r}; expected one of {', '.join(FIRST_RULES)}, a rule of Zennit, or None.")
    return FIRST_RULES[rule]()
