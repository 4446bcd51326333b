"""What every logit is owed to slots of the cache, by backward passes: for models without a relevance stream."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import TransformerComposite

from .cache import check_differentiable, detach_inference, slots, with_slots
from .calls import DecoderCall
from .passes import precise, slot_leaves
from .replay import Replayer


def owed_by_backward(
    replayer: Replayer, call: DecoderCall, past: Cache, owner: Tensor, composite: TransformerComposite
) -> Tensor:
    r"""Return the part of every logit that is owed to some slots, by differentiating a backward pass.

    With :math:`J` for what the rules make of the network, one backward pass gives :math:`J^\top u` for weights ``u`` on
    the logits. It is linear in ``u``, so that its own derivative, weighted by the slots' states :math:`t`, is
    :math:`J t`: what the relevance stream finds in slot form (``lime_rules.Stream``), at two to five times the cost.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    call : DecoderCall
        The newest token alone.
    past : Cache
        Before it; left alone.
    owner : Tensor
        ``[B, T]`` bool, the newest position included: whose parts are asked for.
    composite : TransformerComposite
        The rules.

    Returns
    -------
    Tensor
        ``[B, V]``, in at least float32.

    Raises
    ------
    ValueError
        For recurrent layers, whose states no graph survives.
    """
    check_differentiable(past)
    with torch.inference_mode(False), torch.enable_grad(), composite.context(replayer.decoder):
        held = {layer: slot_leaves(detach_inference(pair)) for layer, pair in slots(past).items()}
        embeddings = call.embeddings.detach().requires_grad_()
        leaves = [state for pair in held.values() for state in pair]
        logits = precise(replayer.run(call, embeddings, with_slots(past, held))[:, -1])
        weights = torch.zeros_like(logits, requires_grad=True)
        back = torch.autograd.grad(
            logits, [*leaves, embeddings], grad_outputs=weights, create_graph=True, allow_unused=True
        )
        # A sliding layer has dropped its oldest slots.
        parts = [state.detach() * owner[:, None, -1 - state.shape[2] : -1, None].to(state) for state in leaves]
        parts.append(embeddings.detach() * owner[:, -1:, None].to(embeddings))
        used = [(one, part) for one, part in zip(back, parts, strict=True) if one is not None]
        owed = torch.autograd.grad([one for one, _ in used], weights, grad_outputs=[part for _, part in used])[0]
    return owed.detach()
