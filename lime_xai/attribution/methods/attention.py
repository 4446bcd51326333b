"""The attention weights of every layer over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lime_rules import GradientInput
from lime_rules.structure import is_attention
from lime_xai.attribution.problem import Problem

Weights = list[list[Tensor]]
"""Per layer and call, ``[1, H, n, K]``: ``n`` positions of the call attend to ``K`` up to the last of them."""


@contextmanager
def attention_kept(problem: Problem, keep: Callable[[Tensor], Tensor]) -> Iterator[dict[str, list[Tensor]]]:
    """Context in which attention is computed by matmul and softmax, and its weights are kept.

    Parameters
    ----------
    problem : Problem
        The row; its model gets its own attention back on the way out.
    keep : callable
        What is kept of the weights ``[R, H, n, K]`` of one call.

    Yields
    ------
    dict of str to list of Tensor
        Grows with every call, by name of the attention module.
    """
    decoder = problem.replayer.decoder
    found: dict[str, list[Tensor]] = {}

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(module: nn.Module, args: object, output: object) -> None:
            weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if isinstance(weights, Tensor):
                found.setdefault(name, []).append(keep(weights))

        return note

    modules = [(name, module) for name, module in decoder.named_modules() if is_attention(module)]
    with GradientInput().context(decoder):
        handles = [module.register_forward_hook(hook(name)) for name, module in modules]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()


def by_layer(problem: Problem, found: dict[str, list[Tensor]]) -> Weights:
    """Return what ``attention_kept`` has kept of one pass, layer by layer.

    Raises
    ------
    NotImplementedError
        If some layers of the decoder have no attention weights.
    """
    layers = int(problem.replayer.config.get_text_config().num_hidden_layers)
    if len(found) != layers or any(len(parts) != len(problem.calls) for parts in found.values()):
        raise NotImplementedError(
            f"{len(found)} of {layers} layers of {type(problem.replayer.decoder).__name__} give attention weights; "
            "rollout needs those of every layer. Use a gradient or perturbation method."
        )
    return list(found.values())


def assembled(problem: Problem, parts: Sequence[Tensor]) -> Tensor:
    """Return matrices of calls ``[..., n, K]`` as one of the sequence, ``[..., T, T]``; zero without attention."""
    total = len(problem.input_ids)
    rows, stop = [], 0
    for part in parts:
        stop += part.shape[-2]
        rows.append(pad(part.to(problem.input_ids.device), (stop - part.shape[-1], total - stop)))
    return torch.cat(rows, -2)


def read_at(problem: Problem, column: int) -> Tensor:
    """Return the one-hot vector ``[T]`` float32 of the position that explained token ``column`` is read from."""
    row = torch.zeros(len(problem.input_ids), dtype=torch.float32, device=problem.input_ids.device)
    row[problem.calls[0].length - 1 + column] = 1.0
    return row
