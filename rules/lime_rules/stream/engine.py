"""The relevance stream: the rules in forward mode, beside a model's own forward pass.

A group is a set of input positions. One pass computes the contribution of every group to every output:

1. The batch gets extra rows. Rows ``[:B]`` are the model's own (primal). Rows ``[B:]`` hold one tangent per group: the
   contribution of the group to the activation.
2. Linear modules run unchanged on all rows, so that each weight is read once. A hook subtracts their bias from the
   tangents, because a bias is no contribution of any input.
3. At every module with a rule, a hook replaces the tangent by the rule's Jacobian-vector product (JVP).
4. The attention function computes scores and weights from the primal rows and the JVP of the bilinear rule for the
   tangents (``lime_rules.stream.attention``).
5. The tangents of the logits are the result: ``J t`` for all logits, where one backward pass gives ``J^T u`` for one
   logit, with the same ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from zennit.core import Hook

from lime_rules.attention import AttentionRatios, ConfigSwap
from lime_rules.composites import AttnLRP, TransformerComposite
from lime_rules.experts import EXPERTS_ATTRIBUTE, ExpertRatios
from lime_rules.rules import RatioHook, ScaleInputRule, module_jvp
from lime_rules.structure import is_linear, parts_by_role, roles

from .attention import STREAM_ATTRIBUTE, STREAM_IMPLEMENTATION
from .cache import TangentCache
from .experts import STREAM_EXPERTS_IMPLEMENTATION
from .gated import GatedHooks, zero_input
from .tangents import FullTangents, KVTangents


class Stream:
    """The rules of a composite as forward hooks on a decoder.

    The hooks are registered inside ``attached`` and change a call only inside ``running``. Forward methods are never
    replaced, because accelerate, LoRA and quantised layers replace them too.

    Parameters
    ----------
    decoder : nn.Module
        Text decoder of a model.
    head : nn.Module, optional
        Output embeddings of the model, so that their bias is handled too.
    composite : TransformerComposite, optional
        Chooses the rules; by default ``AttnLRP()``.

    Raises
    ------
    NotImplementedError
        If a module has no forward rule; all of them are named.

    Examples
    --------
    >>> from lime_rules import Stream
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaModel
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    >>> decoder = LlamaModel(LlamaConfig(**sizes, num_hidden_layers=1)).eval()
    >>> x, stream = decoder.get_input_embeddings()(torch.tensor([[5, 6]])), Stream(decoder)
    >>> with stream.attached(), stream.running(tangents=1), torch.no_grad():
    ...     states = decoder(inputs_embeds=torch.cat([x, x])).last_hidden_state
    >>> states.shape  # the model's row, and that of the tangent
    torch.Size([2, 2, 8])
    """

    def __init__(
        self, decoder: nn.Module, head: nn.Module | None = None, composite: TransformerComposite | None = None
    ) -> None:
        self.composite = composite or AttnLRP()
        self.decoder, self.head = decoder, head
        self._rules = self.composite.rules(decoder)
        self.tangents = 0
        self.tangent_cache: TangentCache | None = None
        self._swap: ConfigSwap | None = None
        self._check()

    @property
    def ratios(self) -> AttentionRatios:
        """Gradient factors of the bilinear attention rule."""
        return self.composite.attention_ratios

    @property
    def experts(self) -> ExpertRatios:
        """Gradient factors inside mixtures of experts."""
        return self.composite.expert_ratios

    def _check(self) -> None:
        missing = [
            f"{name} ({type(self.decoder.get_submodule(name)).__name__}: {role.detail})"
            for name, role in roles(self.decoder).items()
            if role.kind == "uncovered"
        ]
        missing += [f"{name} ({type(rule).__name__})" for name, rule in self._rules.items() if not _has_forward(rule)]
        if self.experts.routing:
            missing += [
                f"{name} (routing weights)" for name, role in roles(self.decoder).items() if role.kind == "router"
            ]
        if missing:
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            raise NotImplementedError(
                f"The relevance stream has no JVP for {', '.join(missing[:4])}{more}; use relevance by "
                "backward passes instead."
            )

    @contextmanager
    def attached(self) -> Iterator[Stream]:
        """Context in which the hooks are on the decoder and its head; they are removed at the end."""
        offsets = self._offsets()
        fields = {
            STREAM_ATTRIBUTE: self,
            "_experts_implementation_internal": STREAM_EXPERTS_IMPLEMENTATION,
            EXPERTS_ATTRIBUTE: self,
        }
        self._swap = ConfigSwap(self.decoder, STREAM_IMPLEMENTATION, fields)
        with ExitStack() as undo:
            undo.callback(self._forget_swap)
            found = roles(self.decoder)
            for module, offset in offsets:
                undo.callback(module.register_forward_hook(self._linear(offset)).remove)
            for name, module in self.decoder.named_modules():
                parent = found.get(name.rpartition(".")[0])
                of_experts = parent is not None and parent.kind == "experts"
                kind, rule = found[name].kind, self._rules.get(name)
                extra = isinstance(rule, RatioHook) and not isinstance(rule, ScaleInputRule)
                if kind in ("norm", "activation") or of_experts or (extra and kind not in ("gate", "product")):
                    hook = self._leaf(rule)
                    undo.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
                parts = parts_by_role(name, module, found)
                if parts is not None:
                    prefix = f"{name}." if name else ""
                    rules = self._rules.get(prefix + parts.activation), self._rules.get(prefix + parts.down)
                    undo.callback(GatedHooks(self, module, parts, *rules).attach())
                elif isinstance(rule, ScaleInputRule) and kind != "product":
                    undo.callback(module.register_forward_pre_hook(self._scaled(rule.factor)).remove)
            yield self

    @contextmanager
    def running(self, tangents: int = 1, tangent_cache: TangentCache | None = None) -> Iterator[None]:
        """Context in which batches given to the decoder hold tangents.

        Parameters
        ----------
        tangents : int
            Their number ``G``: inputs have ``(1 + G) * B`` rows, primal ones first, then group by group.
        tangent_cache : TangentCache, optional
            Tangents of the slots of the ``splitting_cache`` that the call uses; None: the call uses no cache.
        """
        if self._swap is None:
            raise RuntimeError("The stream is not attached; enter attached() first.")
        before = self.tangents, self.tangent_cache
        self.tangents, self.tangent_cache = tangents, tangent_cache
        self._swap.on()
        try:
            yield
        finally:
            self.tangents, self.tangent_cache = before
            if not self.tangents:
                self._swap.off()
            if tangent_cache is not None:
                tangent_cache.forget()

    def _forget_swap(self) -> None:
        self._swap = None

    def kv_tangents(self, module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, KVTangents]:
        """Return primal keys and values and their tangents, for the attention function."""
        if self.tangent_cache is not None:
            return key, value, self.tangent_cache.of(module, key, value)
        keys, values = (self.split(tensor) for tensor in (key, value))
        found = FullTangents(keys[1].permute(1, 2, 0, 3, 4), values[1].permute(1, 2, 0, 3, 4))
        return keys[0], values[0], found

    def split(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return primal rows ``[N, ...]`` and tangents ``[G, N, ...]`` of a tensor with tangents."""
        both = torch.unflatten(tensor, 0, (1 + self.tangents, -1))
        return both[0], both[1:]

    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        """Return one tensor of primal rows and, below them, tangents."""
        return torch.cat([primal, tangent.flatten(0, 1)])

    def _linear(self, offset: Tensor) -> Callable[..., Any]:
        def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if not self.tangents:
                return None
            primal, tangent = self.split(output)
            if _half(output) and _plain(module):
                # In half precision, adding and subtracting a large bias would lose the last digits of the tangent.
                moved = self.split(args[0])[1]
                return self.join(primal, nn.functional.linear(moved, module.weight))  # type: ignore[arg-type]
            return self.join(primal, tangent - offset.to(tangent.device))

        return after

    def _leaf(self, rule: Hook | None) -> Callable[..., Any]:
        def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
            if not self.tangents:
                return None
            given = (args or tuple(kwargs.values()))[0].to(output.device)  # accelerate moves inputs after this hook
            primal, tangent = self.split(given)
            return self.join(self.split(output)[0], module_jvp(rule, module, primal, tangent))

        return after

    def _scaled(self, factor: float) -> Callable[..., Any]:
        def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not self.tangents:
                return None
            primal, tangent = self.split(args[0])
            return (self.join(primal, tangent * factor), *args[1:])

        return before

    def _offsets(self) -> list[tuple[nn.Module, Tensor]]:
        """Return the bias ``[d_out]`` of each linear module with one, as ``f(0)``: quantised modules hide theirs."""
        found = []
        inside: tuple[str, ...] = ()
        for name, module in [*self.decoder.named_modules(), ("<head>", self.head)]:
            if module is None or (inside and name.startswith(inside)) or not is_linear(module):
                continue
            inside = (*inside, f"{name}.")
            if any(getattr(part, "bias", None) is not None for part in module.modules()):
                with torch.inference_mode(False), torch.no_grad():
                    found.append((module, module(zero_input(module))[0, 0]))
        return found


def _half(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float16, torch.bfloat16)


def _plain(module: nn.Module) -> bool:
    """Whether a linear module is its weight and bias, both at hand."""
    return type(module) is nn.Linear and module.weight.device.type != "meta" and not hasattr(module, "_hf_hook")


def _has_forward(rule: Hook | None) -> bool:
    if rule is None or isinstance(rule, ScaleInputRule):
        return True
    return isinstance(rule, RatioHook) and type(rule).jvp is not RatioHook.jvp
