"""Composites: which rule each module of a decoder gets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from zennit.canonizers import Canonizer
from zennit.composites import register_composite
from zennit.core import BasicHook, Composite, Hook

from .attention import AttentionCanonizer, AttentionRatios, AttentionRule
from .experts import ExpertRatios
from .rules import ActivationRule, BlockRule, GradientForm, NormRule, ProductRule, RatioHook
from .structure import Role, roles

LayerMap = Sequence[tuple[type[nn.Module] | tuple[type[nn.Module], ...], Hook]]


def _check_parts(layer_map: object, canonizers: object) -> None:
    """Refuse a layer map that is no list of (type or types, Hook), and canonizers that are none."""
    for name, given in (("layer_map", layer_map), ("canonizers", canonizers)):
        if given is not None and not isinstance(given, list | tuple):
            raise TypeError(f"{name} is {type(given).__name__}; expected a list, or None.")
    for entry in layer_map or ():  # type: ignore[attr-defined]
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[1], Hook):
            raise TypeError(f"layer_map has {entry!r}; expected pairs of a module class, or several, and a Hook.")
        kinds = entry[0] if isinstance(entry[0], tuple) else (entry[0],)
        if not all(isinstance(kind, type) for kind in kinds):
            raise TypeError(f"layer_map has {entry[0]!r}; expected a module class, or a tuple of classes.")
    for one in canonizers or ():  # type: ignore[attr-defined]
        if not isinstance(one, Canonizer):
            raise TypeError(f"canonizers has {one!r}; expected canonizers of zennit, which are objects.")


class TransformerComposite(Composite):  # type: ignore[misc]
    """Base of the composites for transformer decoders.

    A composite can be copied and pickled, also after use: it keeps nothing of a decoder. Zennit's own rules in a
    ``layer_map`` can be copied, but not pickled, because they hold functions without a name.

    Use it as any Zennit composite: ``with composite.context(decoder): ...``. Modules are matched by structure
    (``lime_rules.structure``); attention is switched by a canonizer and undone with the hooks, also when an
    exception leaves the context or a registration fails half-way.

    Parameters
    ----------
    layer_map : sequence of (type or tuple of types, Hook), optional
        Has precedence over the composite's own choice; the first match is used. Zennit's rules (``Epsilon``,
        ``Gamma``) are wrapped in ``GradientForm``.
    canonizers : list of zennit.canonizers.Canonizer, optional
        Applied before the composite's own.
    second_order : {"exact", "frozen"}
        Whether the rules' ratios are differentiated as functions of their inputs, or are constants.

    Raises
    ------
    ValueError
        If ``second_order`` is unknown.
    TypeError
        For a layer map or canonizers of another kind.
    """

    attention_ratios = AttentionRatios()
    expert_ratios = ExpertRatios()

    def __init__(
        self,
        layer_map: LayerMap | None = None,
        canonizers: Sequence[Any] | None = None,
        second_order: str = "exact",
    ) -> None:
        if second_order not in ("exact", "frozen"):
            raise ValueError(f"second_order is {second_order!r}; expected 'exact' or 'frozen'.")
        _check_parts(layer_map, canonizers)
        self.layer_map = [
            (types, GradientForm(hook) if isinstance(hook, BasicHook) else hook) for types, hook in layer_map or ()
        ]
        self.second_order = second_order
        self._roles: dict[str, Role] = {}
        own = AttentionCanonizer(self.attention_ratios, self.expert_ratios)
        super().__init__(module_map=self._choose, canonizers=[*(canonizers or ()), own])

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings alone: a copy, or a pickle, belongs to no decoder."""
        left_out = ("_roles", "handles", "hook_refs", "module_map")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take settings; nothing is registered."""
        self.__dict__.update(state)
        self._roles = {}
        Composite.__init__(self, module_map=self._choose, canonizers=self.canonizers)

    def rule_for(self, role: Role) -> Hook | None:
        """Return the template hook for a module of this role, or None for the plain gradient."""
        raise TypeError(f"{type(self).__name__} has no rule for a {role.kind!r} module: define rule_for.")

    def find_roles(self, root: nn.Module) -> dict[str, Role]:
        """Return the role of every module below a root."""
        return roles(root)

    def _choose(self, ctx: dict[str, Any], name: str, module: nn.Module) -> Hook | None:
        own = self.rule_for(self._roles[name])
        for types, hook in self.layer_map:
            if isinstance(module, types):
                if isinstance(hook, GradientForm) and isinstance(own, ProductRule):
                    return GradientForm(hook.rule, own.factor)  # a linear rule does not replace the product's
                return hook
        return own

    def rules(self, root: nn.Module) -> dict[str, Hook | None]:
        """Return the template hook of every module of a decoder by name; nothing is registered.

        Parameters
        ----------
        root : nn.Module
            A decoder.
        """
        self._roles = self.find_roles(root)
        return {name: self._choose({}, name, module) for name, module in root.named_modules()}

    def register(self, module: nn.Module) -> None:
        """Apply canonizers and hooks to a decoder; on failure nothing stays applied."""
        self._roles = self.find_roles(module)
        try:
            super().register(module)
        except BaseException:
            self.remove()
            raise
        self.hook_refs.update(self.attention_rules())
        for hook in self.hook_refs:
            if isinstance(hook, RatioHook | AttentionRule):
                hook.frozen = self.second_order == "frozen"

    def attention_rules(self) -> list[AttentionRule]:
        """Return the attention rules now applied (one per application of the canonizer)."""
        return [handle.rule for handle in self.handles if isinstance(handle, AttentionCanonizer)]

    @contextmanager
    def second_pass(self) -> Any:
        """Context for differentiating a loss on relevance: rules off if exact, on if frozen."""
        if self.second_order == "frozen":
            yield self
            return
        with self.inactive():
            yield self


@register_composite("attnlrp")
class AttnLRP(TransformerComposite):
    """AttnLRP (Achtibat et al., ICML 2024) in gradient x input form.

    Linear: plain gradient (epsilon 0). Normalisation and activation: identity rule. Gated MLP: uniform rule, half
    to each factor; the routing of experts is held fixed. Attention: uniform rule on both products (1/4 to queries and
    keys, 1/2 to values), the softmax itself differentiated.

    Examples
    --------
    >>> from lime_rules import AttnLRP
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaModel
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    >>> decoder = LlamaModel(LlamaConfig(**sizes, num_hidden_layers=1)).eval()
    >>> x = decoder.get_input_embeddings()(torch.tensor([[5, 6, 7]])).detach().requires_grad_()
    >>> with AttnLRP().context(decoder):
    ...     output = decoder(inputs_embeds=x, use_cache=False).last_hidden_state[0, -1, 0]
    ...     (gradient,) = torch.autograd.grad(output, x)
    >>> (gradient * x).sum(-1).shape  # relevance of each position
    torch.Size([1, 3])
    """

    def rule_for(self, role: Role) -> Hook | None:
        """Return the rule of a role."""
        if role.kind == "norm":
            return NormRule(role.detail)
        if role.kind in ("activation", "gate"):
            return ActivationRule(role.detail)
        return ProductRule() if role.kind == "product" else None


@register_composite("cplrp")
class CPLRP(TransformerComposite):
    """CP-LRP (Ali et al., ICML 2022): no relevance through attention weights nor through gates.

    Values and the ungated factor carry all relevance; norms and ungated activations keep the identity rule.
    """

    attention_ratios = AttentionRatios(query=0.0, key=0.0, value=1.0)
    expert_ratios = ExpertRatios(product=1.0)

    def rule_for(self, role: Role) -> Hook | None:
        """Return the rule of a role."""
        if role.kind == "norm":
            return NormRule(role.detail)
        if role.kind == "activation":
            return ActivationRule(role.detail)
        return BlockRule() if role.kind == "gate" else None


@register_composite("gradient_input")
class GradientInput(TransformerComposite):
    """Gradient x input: no rule at all, the control every rule must beat."""

    attention_ratios = AttentionRatios(query=1.0, key=1.0, value=1.0)
    expert_ratios = ExpertRatios(product=1.0, routing=1.0)

    def rule_for(self, role: Role) -> Hook | None:
        """Return no rule."""
        return None


LRP_METHODS: dict[str, type[TransformerComposite]] = {
    "attnlrp": AttnLRP,
    "cplrp": CPLRP,
    "gradient_input": GradientInput,
}
"""The composites by the name that ``lime_xai.attribute(method=...)`` takes."""
