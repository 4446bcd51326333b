"""Families with a relevance stream, and what backward passes say in its place."""

import torch
from transformers import DynamicCache

from lime_rules import LRP_METHODS
from lime_xai.model.cache import slots, with_slots
from lime_xai.model.decoder_call import merged
from lime_xai.model.gradients import DifferentiableCall, forward_sequence
from lime_xai.model.modalities import modality_masks, union
from lime_xai.model.replay import Replayer

from .families import FAMILIES
from .recordings import recorded

REFUSED = {
    "qwen3_5_moe": "linear_attn",
    "gemma4": "does not run through Gemma4",
}
STREAMED = [name for name, family in FAMILIES.items() if family.attributable and name not in REFUSED]


def backward_by_logit(model, inputs, continuation, mask, method, tokens, positions=None):
    """What one backward pass from each logit sums over a group: ``[P, len(tokens)]``.

    ``positions`` are those of the continuation that are asked for, all by default.
    """
    replayer = Replayer(model)
    recording = recorded(replayer, inputs, continuation)
    composite = LRP_METHODS[method]()
    with torch.enable_grad(), composite.context(replayer.decoder):
        calls = [DifferentiableCall.of(call) for call in merged(recording.calls)]
        logits = forward_sequence(replayer, calls, keep=continuation.shape[1])[0]
        flat = [tensor for one in calls for tensor in one.tensors]
        rows = []
        for position in range(logits.shape[0]) if positions is None else positions:
            for token in tokens:
                found = torch.autograd.grad(logits[position, token], flat, retain_graph=True, allow_unused=True)
                grads = iter(torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True))
                parts = [one.relevance([next(grads) for _ in one.tensors]) for one in calls]
                rows.append(torch.cat(parts, 1)[0][mask].sum().detach())
    return torch.stack(rows).reshape(-1, len(tokens))


def backward_into_slots(model, inputs, perceptual, tokens):
    """What one backward pass from each logit of the first token sums over slots of the cache: ``[len(tokens)]``."""
    replayer = Replayer(model)
    call = recorded(replayer, inputs).calls[0]
    one, cache = call.last_position(replayer.window), DynamicCache(config=replayer.config)
    with torch.no_grad():
        replayer.run(call, call.embeddings, cache)
        past = replayer.past_of(call, cache)
    leaves = {layer: tuple(t.clone().requires_grad_() for t in pair) for layer, pair in slots(past).items()}
    flat = [t for pair in leaves.values() for t in pair]
    found = []
    with torch.enable_grad(), LRP_METHODS["attnlrp"]().context(replayer.decoder):
        logits = replayer.run(one, one.embeddings, with_slots(past, leaves))[0, -1]
        for token in tokens:
            grads = torch.autograd.grad(logits[token], flat, retain_graph=True)
            parts = ((t * g)[0, :, perceptual[0, :-1][-t.shape[2] :]] for t, g in zip(flat, grads, strict=True))
            found.append(sum(part.sum() for part in parts).detach())
    return torch.stack(found)


def perceptual_of(model, ids):
    return union(modality_masks(model.config, ids), torch.ones_like(ids))
