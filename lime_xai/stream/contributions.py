"""Forms and directions of contributions to logits, and the backward direction for models without a stream."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import TransformerComposite
from lime_xai.model.cache import check_differentiable, detach_inference, slots, with_slots
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.gradients import at_least_float32, differentiable
from lime_xai.model.replay import Replayer
from lime_xai.values.checking import check_arguments

RelevanceForm = Literal["direct", "full"]
"""``direct``: what the last position reads directly from cached keys and values. ``full``: propagated through all
layers and positions to the input embeddings."""

ContributionDirection = Literal["forward", "backward", "auto"]
"""By the relevance stream, by differentiating a backward pass, or by the first of them that the model supports."""


def check_contributions(relevance: RelevanceForm, direction: ContributionDirection) -> None:
    """Refuse forms and directions that do not exist, alone or together.

    Raises
    ------
    ValueError
        With what exists.
    """
    check_arguments(check_contributions, relevance=relevance, direction=direction)
    if relevance != "direct" and direction != "forward":
        raise ValueError(
            f"direction={direction!r} computes contributions of the direct form; the full form exists in forward "
            "direction only. Use relevance='direct'."
        )


def contributions_by_backward(
    replayer: Replayer, call: DecoderCall, past: Cache, members: Tensor, composite: TransformerComposite
) -> Tensor:
    r"""Return the contribution of some slots to every logit, by differentiating a backward pass (double VJP).

    1. Run the newest token over the cached keys and values with the rules active.
    2. One backward pass with weights ``u`` on the logits gives :math:`J^\top u`, where :math:`J` is the Jacobian that
       the rules put in place of the network's. It is linear in ``u``.
    3. Its derivative with respect to ``u``, weighted by the states :math:`t` of the slots, is :math:`J t`: what the
       relevance stream computes in the direct form (``lime_rules.Stream``), at two to five times the cost.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    call : DecoderCall
        The newest token alone.
    past : Cache
        Before it; not changed.
    members : Tensor
        ``[B, T]`` bool, the newest position included: the slots whose contribution is computed.
    composite : TransformerComposite
        The rules.

    Returns
    -------
    Tensor
        ``[B, V]``, in at least float32.

    Raises
    ------
    ValueError
        For recurrent layers, whose states are updated in place and cannot be differentiated.
    """
    check_differentiable(past)
    with torch.inference_mode(False), torch.enable_grad(), composite.context(replayer.decoder):
        held = {layer: differentiable(detach_inference(pair)) for layer, pair in slots(past).items()}
        embeddings = call.embeddings.detach().requires_grad_()
        states = [state for pair in held.values() for state in pair]
        logits = at_least_float32(replayer.run(call, embeddings, with_slots(past, held))[:, -1])
        weights = torch.zeros_like(logits, requires_grad=True)
        vjp = torch.autograd.grad(
            logits, [*states, embeddings], grad_outputs=weights, create_graph=True, allow_unused=True
        )
        # A sliding layer has dropped its oldest slots, so the mask is cut from the right.
        tangents = [s.detach() * members[:, None, -1 - s.shape[2] : -1, None].to(s) for s in states]
        tangents.append(embeddings.detach() * members[:, -1:, None].to(embeddings))
        used = [(one, tangent) for one, tangent in zip(vjp, tangents, strict=True) if one is not None]
        found = torch.autograd.grad([one for one, _ in used], weights, grad_outputs=[tangent for _, tangent in used])
    return found[0].detach()
