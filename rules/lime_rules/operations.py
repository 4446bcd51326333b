"""Operations of a decoder that no rule covers: products and nonlinear functions outside its modules.

Hooks see modules, but ``x * sigmoid(gate(x))`` inside a ``forward`` method is no module. A dispatch mode follows every
operation on values that depend on the input. Linear ones need no rule; others are fine where a rule covers
them: inside normalisations and activations, in the product of a gated MLP, in attention and experts. What is left is
listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.masking_utils import eager_mask

from .attention import ConfigSwap
from .structure import ROLE_KINDS, Role, parts_by_role, roles

AUDIT_IMPLEMENTATION = "lime_audit"
_ATTRIBUTE = "_lime_audit"

_LINEAR = """
_adaptive_avg_pool2d _reshape_alias _to_copy _unsafe_view add add_ addmm alias as_strided avg_pool1d avg_pool2d
avg_pool3d baddbmm bmm cat chunk clone col2im constant_pad_nd
contiguous copy_ cumsum detach diagonal embedding expand flip gather im2col index index_add index_add_ index_copy
index_put index_put_ index_select lift_fresh linear masked_fill masked_fill_ masked_scatter matmul mean mm movedim mv
narrow neg new_zeros pad permute repeat repeat_interleave reshape roll rsub scatter scatter_add select select_scatter
slice slice_scatter split split_with_sizes squeeze stack sub sub_ sum t to transpose tril triu unbind unflatten unfold
unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest2d view view_as where
"""
LINEAR = frozenset(_LINEAR.split())
"""Operations that are linear in whatever depends on the input, by their ATen names."""

BILINEAR = frozenset(("addmm", "baddbmm", "bmm", "div", "div_", "linear", "matmul", "mm", "mul", "mul_", "mv"))
"""Operations that are linear in one operand: not if two depend on the input, nor if a divisor does."""


@dataclass(frozen=True)
class Operation:
    """An operation that no rule covers.

    Attributes
    ----------
    module : str
        Name of the innermost module in whose forward it is written.
    name : str
        ATen name.
    """

    module: str
    name: str


class Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on marked tensors and notes operations that need a rule and have none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.marked: WeakSet[Any] = WeakSet()
        self.found: dict[Operation, None] = {}
        self.reached: dict[str, None] = {}
        """Names of the modules that were given something that depends on a marked tensor."""
        self.where: list[tuple[str, str]] = []
        """Modules under way: name and how much is covered (``all``, ``product`` or nothing)."""

    def mark(self, tensor: Tensor) -> Tensor:
        """Return a tensor after noting that it depends on the input."""
        self.marked.add(_Key.of(tensor))
        return tensor

    def depends(self, value: Any) -> bool:
        """Whether a value is a tensor that depends on a marked one."""
        return isinstance(value, Tensor) and getattr(value, "_lime_key", None) in self.marked

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        moved = [value for value in tree_leaves((args, kwargs)) if self.depends(value)]
        if not moved:
            return output
        name = func.overloadpacket.__name__
        outputs = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
        if outputs and not name.endswith("_like") and not name.startswith(("new_", "empty")):
            self._note(name, args, len(moved))
            for tensor in outputs:
                self.mark(tensor)
        return output

    def _note(self, name: str, args: Any, count: int) -> None:
        module, covered = self.where[-1] if self.where else ("", "")
        if covered == "all":
            return
        if name in BILINEAR:
            divided = name.startswith("div") and len(args) > 1 and self.depends(args[1])
            factors = sum(self.depends(value) for value in args[-2:])
            if not divided and (factors < 2 or (covered == "product" and name == "mul")):
                return
        elif name in LINEAR:
            return
        self.found[Operation(module, name)] = None


class _Key:
    """Identity of a tensor that dies with it."""

    @staticmethod
    def of(tensor: Tensor) -> Any:
        key = getattr(tensor, "_lime_key", None)
        if key is None:
            key = tensor._lime_key = _Key()  # type: ignore[attr-defined]
        return key


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    follow: Follow = getattr(module.config, _ATTRIBUTE)
    heads, length = query.shape[1:3]
    batch = max(len(query), len(value))  # queries of resamplers are shared by all rows
    return follow.mark(value.new_zeros(batch, length, heads, value.shape[-1])), None


def _experts(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    follow: Follow = getattr(module.config, _ATTRIBUTE)
    return follow.mark(torch.zeros_like(hidden_states))


@contextmanager
def watched(root: nn.Module, follow: Follow, found: Mapping[str, Role]) -> Iterator[None]:
    """Context in which hooks record the running module, and attention and experts are replaced by linear functions.

    ``found`` are the roles of the modules below ``root``.
    """
    handles: list[Any] = []
    for name, module in root.named_modules():
        kind = found[name].kind
        covered = (
            "all" if ROLE_KINDS[kind].operations_covered else "product" if parts_by_role(name, module, found) else ""
        )

        def enter(module: nn.Module, args: Any, kwargs: Any, entry: tuple[str, str] = (name, covered)) -> None:
            follow.where.append(entry)
            if any(follow.depends(value) for value in tree_leaves((args, kwargs))):
                follow.reached[entry[0]] = None

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            follow.where.pop()

        handles += [module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)]
    fields = {"_experts_implementation_internal": AUDIT_IMPLEMENTATION, _ATTRIBUTE: follow}
    swap = ConfigSwap(root, AUDIT_IMPLEMENTATION, fields)
    swap.on()
    try:
        yield
    finally:
        swap.off()
        for handle in handles:
            handle.remove()


def unseen_operations(decoder: nn.Module, embeddings: Tensor) -> tuple[Operation, ...]:
    """List the operations of a decoder that need a rule and have none.

    Parameters
    ----------
    decoder : nn.Module
        The text decoder of a model.
    embeddings : Tensor
        ``[1, n, d]``: inputs; two positions are enough.

    Returns
    -------
    tuple of Operation
        Each once per module, in the order of the forward pass; empty if rules cover everything.

    Examples
    --------
    >>> import torch
    >>> from lime_rules.operations import unseen_operations
    >>> from transformers import LlamaConfig, LlamaModel
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    >>> decoder = LlamaModel(LlamaConfig(**sizes, num_hidden_layers=1)).eval()
    >>> embeddings = decoder.get_input_embeddings()(torch.tensor([[5, 6]]))
    >>> unseen_operations(decoder, embeddings)
    ()
    """
    follow = Follow()
    with torch.inference_mode(False), torch.no_grad(), watched(decoder, follow, roles(decoder)):
        values = embeddings.detach().clone()
        with follow:
            decoder(inputs_embeds=follow.mark(values), use_cache=False)
    return tuple(follow.found)


AttentionInterface.register(AUDIT_IMPLEMENTATION, _attention)
AttentionMaskInterface.register(AUDIT_IMPLEMENTATION, eager_mask)
ALL_EXPERTS_FUNCTIONS.register(AUDIT_IMPLEMENTATION, _experts)
