"""Whether a stream and backward passes agree on a model: ``<u, J t> = <J^T u, t>`` on two positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .engine import Stream


def adjoint_gap(stream: Stream, embeddings: Tensor, seed: int = 0) -> float:
    """Return how far a stream is from the backward passes with the same rules.

    Parameters
    ----------
    stream : Stream
        Attached.
    embeddings : Tensor
        ``[1, n, d]``: inputs of the decoder; a few positions are enough.
    seed : int
        Of the tangent and of one of the two directions it is tested in; the other is the decoder's JVP of the tangent,
        whose product with itself cannot be zero by cancellation.

    Returns
    -------
    float
        The larger of ``|<u, J t> - <J^T u, t>| / (|u| |J t|)``; about the rounding of the dtype if both agree.
    """
    decoder: Any = stream.decoder
    generator = torch.Generator().manual_seed(seed)

    def random() -> Tensor:
        return torch.randn(embeddings.shape, generator=generator, dtype=torch.float32).to(embeddings)

    with torch.inference_mode(False):
        tangent = random() * embeddings.abs().mean()
        with torch.no_grad(), stream.running(tangents=1):
            both = decoder(inputs_embeds=torch.cat([embeddings, tangent]), use_cache=False).last_hidden_state
            image = stream.split(both)[1][0].double()
        directions = [image, random().double()[:, :, : image.shape[-1]]]
        with torch.enable_grad(), stream.composite.context(decoder):
            leaf = embeddings.detach().requires_grad_()
            output = decoder(inputs_embeds=leaf, use_cache=False).last_hidden_state
            pulled = [torch.autograd.grad(output, leaf, u.to(output), retain_graph=True)[0] for u in directions]
    gaps = [
        ((u * image).sum() - (pull.double() * tangent.double()).sum()).abs() / (u.norm() * image.norm())
        for u, pull in zip(directions, pulled, strict=True)
    ]
    return float(torch.stack(gaps).max())
