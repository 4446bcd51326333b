"""Whether gradients, rules and hooks reach what a decoder computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lime_rules.attempts import attempt

from .decoder_call import DecoderCall
from .gradient_flow import impassable
from .replay import Replayer

Makeup = tuple[tuple[object, ...], ...]
"""What may be exchanged after a check: modules, their ``forward``, their hooks."""

_CHECKED: WeakKeyDictionary[PreTrainedModel, dict[torch.dtype, Makeup]] = WeakKeyDictionary()
"""What a decoder was made of when it passed, by model and dtype."""

_OWN = ("lime_xai", "lime_rules", "zennit", "captum")
"""Packages whose hooks say nothing about the model."""

WIDTHS = (1e-4, 1e-3, 1e-2, 1e-1, 3e-1)
"""Widths of the differences, relative to the embeddings.

Narrow ones cross no border at which experts change; wide ones are for half precision and rounded activations.
"""

ALLOWED = 0.1
"""Largest relative distance of derivatives and differences: without a gradient it is 1, with a wrong one more.

The families of the tests have less than 0.01 in float32, and a model with SmolLM2-135M has 0.003.
"""

ALLOWED_HALF = 0.9
"""The same in half precision, where differences are noisy.

There only the direction of the gradient itself is compared, along which the difference is largest. The distance is 1
minus the smaller of both over the larger: a missing or opposite gradient is found.
"""

_DIRECTIONS = 8


def check_compiled(model: PreTrainedModel, decoder: nn.Module) -> None:
    """Refuse a model with compiled modules (torch.compile, torch.jit): hooks and rules do not reach inside.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model.
    decoder : nn.Module
        Its text decoder. Compiled towers do no harm.

    Raises
    ------
    ValueError
        Naming the compiled modules.
    """
    inside = set(decoder.modules())
    found = [
        name or type(model).__name__
        for name, module in model.named_modules()
        if _is_compiled(module) and (module in inside or decoder in module.modules())
    ]
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        raise ValueError(
            f"The model is compiled in part ({shown}): rules and hooks do not reach compiled code. Use a model that is "
            "not compiled, or undo module.compile() by module._compiled_call_impl = None. Put back what "
            "torch.jit replaced."
        )


def _is_compiled(module: nn.Module) -> bool:
    own = vars(module).get("forward")
    wrapped = hasattr(own, "_torchdynamo_orig_callable")
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    scripted = isinstance(module, torch.jit.ScriptModule)  # traced ones too
    return in_place or scripted or hasattr(module, "_orig_mod") or wrapped


def check_gradient(replayer: Replayer, prompt: DecoderCall) -> None:
    """Refuse a decoder whose gradients are not the derivatives of what it computes.

    Kernels of quantised layers may have no gradient, or one that leaves out the rounding of activations. Once per model
    and dtype, and again when a module of the decoder, its ``forward`` or its hooks were exchanged:

    1. Draw embeddings of two tokens, a direction of the logits, and eight directions of the embeddings, from a seed. A
       decoder that needs more than embeddings gets the user's prompt instead, two directions and one width. In half
       precision the only direction is that of the gradient.
    2. Compute the derivatives of the logits along the directions by one backward pass.
    3. Compute central differences of several widths in one batch.
    4. The decoder passes if derivatives and differences agree at one of the widths.

    Before, a gradient is sent through every module alone (``impassable``). One dead layer of many hardly changes the
    sum of all, so that the comparison does not find it.

    Parameters
    ----------
    replayer : Replayer
        Of the model; no rules may be active.
    prompt : DecoderCall
        Of the user's prompt.

    Raises
    ------
    NotImplementedError
        With the distance, or the names of the modules.
    """
    model = replayer.model
    checked, makeup = _CHECKED.setdefault(model, {}), makeup_of(replayer.decoder)
    if checked.get(model.dtype) == makeup:
        return
    half = model.dtype in (torch.float16, torch.bfloat16)
    reason = None
    if names := _dead_ends(replayer, prompt):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        reason = f"({shown}: the output depends on the input, and has"
    else:
        distance, allowed = _distance(replayer, prompt, half), ALLOWED_HALF if half else ALLOWED
        if math.isnan(distance):
            return  # an overflow; whether the user's own relevance is finite is checked when it is known
        if distance > allowed:
            reason = f"(relative distance {distance:.2f}, allowed {allowed}: some layers give"
    if reason is not None:
        raise NotImplementedError(
            f"Gradients of {type(replayer.decoder).__name__} are not the derivatives of what it computes {reason} no "
            "gradient, as quantised kernels do). Use the model without it, or with weights-only quantisation; "
            "perturbation methods (feature_ablation, kernel_shap) need no gradients."
        )
    checked[model.dtype] = makeup


def makeup_of(decoder: nn.Module) -> Makeup:
    """Return what a decoder is made of: each module with its type, its own ``forward``, and hooks of others.

    Quantising in place exchanges modules; offloading and patches exchange ``forward``. Hooks on the decoder itself are
    left out: users count or record its calls by them.
    """
    return tuple(
        (
            id(module),
            type(module),
            id(vars(module).get("forward")),
            *(
                id(hook)
                for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
                for hook in hooks.values()
                if module is not decoder and not str(getattr(hook, "__module__", "")).startswith(_OWN)
            ),
        )
        for module in decoder.modules()
    )


def _dead_ends(replayer: Replayer, prompt: DecoderCall) -> list[str]:
    """Return the names of modules of the decoder through which no gradient passes, though they depend on their input.

    A decoder that needs more than embeddings gets the user's prompt.
    """

    def through(call: DecoderCall) -> list[str]:
        leaf = call.embeddings.detach().clone().requires_grad_()
        return impassable(replayer.decoder, lambda: _logits(replayer, call, leaf))

    with torch.inference_mode(False):
        found = attempt(lambda: through(_bare(replayer)), (RuntimeError, ValueError, TypeError))
        return through(prompt.row(0)) if isinstance(found, Exception) else found


def _bare(replayer: Replayer) -> DecoderCall:
    """Return a call with random embeddings of two tokens and nothing else."""
    sample = replayer.neutral_embeddings(2)
    start = _drawn(sample) * sample.float().pow(2).mean().sqrt().clamp(min=1e-3)
    return DecoderCall(start.to(sample.dtype), {})


def _distance(replayer: Replayer, prompt: DecoderCall, half: bool) -> float:
    with torch.inference_mode(False):
        bare = _bare(replayer)
        found = attempt(
            lambda: gradient_distance(replayer, bare, WIDTHS, 0 if half else _DIRECTIONS),
            (RuntimeError, ValueError, TypeError),
        )
        if isinstance(found, Exception):  # per-layer inputs that are made from token ids, for example
            return gradient_distance(replayer, prompt.row(0), WIDTHS[2:4] if half else WIDTHS[1:3], 0 if half else 2)
        return found


def gradient_distance(replayer: Replayer, call: DecoderCall, widths: Sequence[float], count: int) -> float:
    """Return how far derivatives along some directions are from central differences, at the best width.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    call : DecoderCall
        Of one row.
    widths : sequence of float
        Of the differences, relative to the size of the embeddings.
    count : int
        Random directions; 0: the direction of the gradient.

    Returns
    -------
    float
        Norm of the distance of both vectors over the norm of the differences. Along the gradient: 1 minus the smaller
        of both numbers over the larger, infinite if their signs differ. NaN if logits or gradient overflow.
    """
    start, device = call.embeddings.detach(), call.embeddings.device
    width = torch.tensor(widths, device=device)
    with torch.enable_grad():
        leaf = start.clone().requires_grad_()
        logits = _logits(replayer, call, leaf)
        weights = _drawn(logits[0], seed=2)
        value = (logits[0] * weights).sum()
        found = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
    gradient = (torch.zeros_like(start) if found is None else found).float()
    directions = _drawn(start.expand(count, -1, -1), seed=1) if count else gradient / gradient.pow(2).mean().sqrt()
    directions = directions.nan_to_num() * start.float().pow(2).mean().sqrt()
    derivatives = (gradient * directions).flatten(1).sum(-1)
    moves = (width[:, None, None, None] * directions).flatten(0, 1)
    with torch.no_grad():
        both = torch.cat([start.float() + moves, start.float() - moves]).to(start.dtype)
        upper, lower = (_logits(replayer, call, both) * weights).sum(-1).chunk(2)
    differences = torch.unflatten(upper - lower, 0, (len(width), -1)) / (2 * width[:, None])
    if not bool(derivatives.isfinite().all() & differences.isfinite().all()):
        return math.nan
    if count == 0:
        ratio = derivatives / differences[:, 0]
        distance = 1 - torch.minimum(ratio, 1 / ratio)
        return float(distance.masked_fill(~(ratio > 0), torch.inf).min())
    size = differences.norm(dim=-1)
    distance = (derivatives - differences).norm(dim=-1) / size
    return float(distance.masked_fill(size == 0, torch.inf).min())


def _drawn(like: Tensor, seed: int = 0) -> Tensor:
    """Return standard normal numbers of a tensor's shape, float32, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device)


def _logits(replayer: Replayer, call: DecoderCall, embeddings: Tensor) -> Tensor:
    """Return the logits ``[R, V]`` of the last position, float32."""
    rows = embeddings.shape[0]
    deep = [features.expand(rows, *features.shape) for features in call.deep_features]
    repeated = call.with_embeddings(embeddings, deep)
    return replayer.run(repeated, embeddings, None)[:, -1].float()
