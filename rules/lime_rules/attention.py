"""The attention function that carries the bilinear rule, and the canonizer that puts it into a model.

transformers reads the name of the attention function from ``config._attn_implementation``. While the canonizer is
applied, modules hold shallow copies of their configs that name this function. The config objects themselves are not
changed, because other models, also in other threads, may share them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.masking_utils import eager_mask
from zennit.canonizers import Canonizer

from .attention_math import additive_mask, attend, check_arguments, is_causal
from .experts import EXPERTS_ATTRIBUTE, EXPERTS_IMPLEMENTATION, ExpertRatios, ExpertState
from .gradients import scale_gradient

IMPLEMENTATION = "lime"
"""Name of the attention and mask functions in transformers' registries."""

_RULE_ATTRIBUTE = "_lime_attention_rule"


@dataclass(frozen=True)
class AttentionRatios:
    """Gradient factors on queries, keys and values; the softmax itself is differentiated.

    Two uniform rules, one for each product, give 1/4, 1/4, 1/2 (AttnLRP). 0, 0, 1 lets all relevance follow
    the values (CP-LRP). 1, 1, 1 is the plain gradient.
    """

    query: float = 0.25
    key: float = 0.25
    value: float = 0.5


class AttentionRule:
    """State of the bilinear rule in one model: its ratios and whether it is active.

    Attributes
    ----------
    active, frozen : bool
        As in ``lime_rules.rules.RatioHook``.
    calls : int
        Attention calls since the rule was applied; 0 after a forward pass means that the model does not use
        transformers' attention interface.
    """

    def __init__(self, ratios: AttentionRatios) -> None:
        self.ratios = ratios
        self.active = True
        self.frozen = False
        self.calls = 0


def attention_with_rules(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention by matmul and softmax with the bilinear rule on its two products.

    Parameters
    ----------
    module : nn.Module
        The calling attention module; its config holds the rule.
    query : Tensor
        ``[B, H, Tq, D]``.
    key, value : Tensor
        ``[B, Hkv, Tk, D]``, after position embedding and cache update, not yet repeated over query groups.
    attention_mask : Tensor or None
        Additive or boolean, broadcastable to ``[B, H, Tq, Tk]``; None: causal, if the module's ``is_causal`` is true.
    scaling : float, optional
        Factor on the scores; by default ``D ** -0.5``.

    Returns
    -------
    output : Tensor
        ``[B, Tq, H, D]``.
    weights : Tensor
        ``[B, H, Tq, Tk]``.

    Raises
    ------
    NotImplementedError
        For attention sinks (``s_aux``), for which no rule is known.
    """
    check_arguments(module, kwargs)
    rule: AttentionRule | None = getattr(module.config, _RULE_ATTRIBUTE, None)
    if rule is not None:
        rule.calls += 1
        query = scale_gradient(query, rule.ratios.query, rule)
        key = scale_gradient(key, rule.ratios.key, rule)
        value = scale_gradient(value, rule.ratios.value, rule)
    mask = additive_mask(attention_mask, query, key, is_causal(module, kwargs))
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.shape[2] > 1:
        # As transformers' eager attention does, to the last bit; one token over a long cache is better off without.
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return attend(query, key, value, mask, scaling, kwargs.get("softcap"))


class ConfigSwap:
    """Shallow copies of the configs below a module that name another attention implementation.

    Neither the config objects nor other models that share them are changed.

    Parameters
    ----------
    root : nn.Module
        All modules below it that hold a config get a copy while the swap is on.
    implementation : str
        Name in transformers' registries of attention and mask functions.
    fields : mapping of str to object
        What the copies hold besides: implementations of other interfaces, and arguments of the functions.
    """

    def __init__(self, root: nn.Module, implementation: str, fields: Mapping[str, Any]) -> None:
        self._fields = {"_attn_implementation_internal": implementation, **fields}
        done: dict[int, PreTrainedConfig] = {}
        self._twins: list[tuple[dict[str, Any], PreTrainedConfig, PreTrainedConfig]] = []
        for module in root.modules():
            config = vars(module).get("config")
            if isinstance(config, PreTrainedConfig):
                self._twins.append((vars(module), config, self._copied(config, done)))

    def _copied(self, config: PreTrainedConfig, done: dict[int, PreTrainedConfig]) -> PreTrainedConfig:
        """Return the shallow copy of ``config`` and of the configs inside it."""
        if id(config) not in done:
            twin = copy.copy(config)
            done[id(config)] = twin
            for name, child in vars(config).items():
                if isinstance(child, PreTrainedConfig):
                    vars(twin)[name] = self._copied(child, done)
            vars(twin).update(self._fields)
        return done[id(config)]

    def on(self) -> None:
        """Give every module its copy."""
        for fields, _, twin in self._twins:
            fields["config"] = twin

    def off(self) -> None:
        """Give every module its own config back."""
        for fields, config, _ in self._twins:
            fields["config"] = config


class AttentionCanonizer(Canonizer):  # type: ignore[misc]
    """Zennit canonizer: let attention modules and experts below a root call the functions that carry rules.

    Parameters
    ----------
    ratios : AttentionRatios, optional
        By default AttnLRP's.
    experts : ExpertRatios, optional
        By default AttnLRP's; experts are reached through the same configs.
    """

    def __init__(self, ratios: AttentionRatios | None = None, experts: ExpertRatios | None = None) -> None:
        self.ratios = ratios or AttentionRatios()
        self.experts = experts or ExpertRatios()
        self.rule = AttentionRule(self.ratios)
        self._root: nn.Module | None = None
        self._swap: ConfigSwap | None = None

    def copy(self) -> AttentionCanonizer:
        """Return a canonizer with the same ratios and a rule of its own."""
        return type(self)(self.ratios, self.experts)

    def apply(self, root_module: nn.Module) -> list[AttentionCanonizer]:
        """Apply to ``root_module``; undone by ``remove`` of the returned instance."""
        instance = self.copy()
        instance._root = root_module
        try:
            instance.register()
        except BaseException:
            instance.remove()
            raise
        return [instance]

    def register(self) -> None:
        """Exchange the configs of all modules below the root."""
        if self._root is None:
            raise RuntimeError("This canonizer is a template; call apply(root_module).")
        fields = {
            _RULE_ATTRIBUTE: self.rule,
            "_experts_implementation_internal": EXPERTS_IMPLEMENTATION,
            EXPERTS_ATTRIBUTE: ExpertState(self.experts, self.rule),
        }
        self._swap = ConfigSwap(self._root, IMPLEMENTATION, fields)
        self._swap.on()

    def remove(self) -> None:
        """Give every module its own config back."""
        if self._swap is not None:
            self._swap.off()
            self._swap = None


AttentionInterface.register(IMPLEMENTATION, attention_with_rules)
AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
