"""Checks of attribution: numbers against plain autograd, a whole answer, the relevance stream, rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from lime_xai.attribution.attribute import attribute
from lime_xai.model.modalities import placeholder_ids
from lime_xai.stream.routes import routes

from .check import MismatchError, UnavailableError, expect_close, register_check
from .state import changes, remembered
from .subject import GREEDY, Subject

ANSWER = 3
"""Tokens of the answer that is explained."""


@register_check("attribute")
def check_gradients(subject: Subject) -> None:
    """``gradient_input`` is the decoder's input times its gradient, computed without this package."""
    token = subject.words(1)[0]
    if subject.batch is not None:
        with suppress(Exception):  # the model's own code; a batch leaves other tensors behind than one prompt
            subject.plain(1, subject.batch)
    before = remembered(subject.model)
    found = attribute(subject.model, subject.prompt(), token, "gradient_input")
    changed = changes(before, remembered(subject.model))
    if changed:
        raise MismatchError(f"attribute changed what modules remember: {changed}")
    logit, expected = plain_gradient(subject.model, subject.inputs, token)
    expect_close("the explained logit", found.logits, logit[None], subject.tolerance)
    expect_close("gradient_input", found.relevance, expected, 10 * subject.tolerance)


def plain_gradient(model: Any, inputs: Mapping[str, Any], token: int) -> tuple[Tensor, Tensor]:
    """Return the logit of a token, and input times gradient ``[B, T]`` by autograd through ``generate``.

    The inputs are the decoder's embeddings, and visual features of the same width that a family hands to later layers.
    """
    leaves: list[Tensor] = []
    with _leaves(model, leaves):
        output = model.generate(**inputs, **GREEDY, max_new_tokens=1, use_cache=False)
    logit = output.logits[0][0, token]
    found = torch.autograd.grad(logit, leaves, allow_unused=True)
    embeddings = leaves[0]
    relevance = torch.zeros(embeddings.shape[:2], device=embeddings.device)
    parts = [leaf * gradient for leaf, gradient in zip(leaves, found, strict=True) if gradient is not None]
    for part in parts:
        summed = part.detach().sum(-1).float()
        if part.dim() == 3 and part.shape[:2] == embeddings.shape[:2]:
            relevance += summed
        else:
            relevance.view(-1)[_perceived(model, inputs)] += summed.flatten()
    return logit.detach(), relevance


def _perceived(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Return the indices of placeholders in the flattened prompt."""
    ids = inputs["input_ids"].flatten()
    known = torch.tensor(list(placeholder_ids(model.config).values()), device=ids.device)
    return torch.isin(ids, known).nonzero()[:, 0]


@contextmanager
def _leaves(model: Any, leaves: list[Tensor]) -> Iterator[None]:
    """Context in which the decoder's first call gets inputs that require a gradient; ``leaves`` grows by them."""
    decoder = model.get_decoder()

    def start(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if leaves:
            return None
        torch.set_grad_enabled(True)  # ``generate`` runs without gradients; it restores the mode at its end
        given = dict(kwargs)
        embeddings = given.get("inputs_embeds")
        if embeddings is None:
            ids = args[0] if args else given["input_ids"]
            embeddings = decoder.get_input_embeddings()(ids)
        width = embeddings.shape[-1]

        def leaf(value: Any) -> Any:
            if isinstance(value, Tensor) and value.is_floating_point() and value.shape[-1] == width:
                leaves.append(value.detach().clone().requires_grad_())
                return leaves[-1].clone()  # some decoders write into their input, which autograd refuses for leaves
            return value

        given |= {"inputs_embeds": leaf(embeddings), "input_ids": None}
        for name, value in kwargs.items():
            if "deepstack" in name and isinstance(value, (list, tuple)):
                given[name] = [leaf(one) for one in value]
            elif "deepstack" in name and isinstance(value, dict):
                given[name] = {key: leaf(one) for key, one in value.items()}
        return (), given

    mode = torch.is_grad_enabled()
    handle = decoder.register_forward_pre_hook(start, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
        torch.set_grad_enabled(mode)


@register_check("attnlrp")
def check_attnlrp(subject: Subject) -> None:
    """AttnLRP is finite, explains the model's own logit, and its shares add up to one."""
    found = attribute(subject.model, subject.prompt())
    expected = subject.plain(1)[:, 0].max(-1).values
    expect_close("the explained logit", found.logits, expected, subject.tolerance)
    if not bool(found.relevance.isfinite().all()) or not bool(found.relevance.any()):
        raise MismatchError("relevance is not finite, or zero everywhere")
    total = torch.stack(list(found.shares.values())).sum(0)
    expect_close("the sum of all shares", total, torch.ones_like(total), 1e-4)


@register_check("answer")
def check_answer(subject: Subject) -> None:
    """Compare: the logits of an answer of several tokens are those of decoding it token by token."""
    answer = subject.words(ANSWER)
    logits = subject.plain(ANSWER, tokens=answer)[0]
    expected = logits[torch.arange(ANSWER), torch.tensor(answer, device=logits.device)]
    for method in ("gradient_input", "attnlrp"):
        found = attribute(subject.model, subject.prompt(), answer, method)
        expect_close(f"{method}: logits of the answer", found.logits[0], expected, subject.tolerance)
        if not bool(found.relevance.isfinite().all()):
            raise MismatchError(f"{method}: relevance of the answer is not finite")


@register_check("stream")
def check_stream(subject: Subject) -> None:
    """Contributions by the relevance stream are the sums of what a backward pass gives."""
    prompt = subject.prompt()
    token = subject.words(1)[0]
    split = routes(subject.model, prompt)
    backward = attribute(subject.model, prompt, token).relevance
    masks = {**prompt.positions.modalities, "text": prompt.positions.attended & ~prompt.positions.perceptual}
    names = sorted(split.contributions)
    found = torch.stack([split.contributions[name][0, 0, token] for name in names])
    expected = torch.stack([backward[0][masks[name][0].to(backward.device)].sum() for name in names])
    scale = float(backward.abs().sum() / expected.abs().max().clamp(min=1e-6))
    expect_close("contributions of the groups", found, expected, subject.tolerance * max(scale, 1.0))
    expect_close("logits of the stream", split.logits[:, 0], subject.plain(1)[:, 0], subject.tolerance)


@register_check("batch")
def check_batch(subject: Subject) -> None:
    """Compare: a row of a padded batch has the relevance that it has alone."""
    batch = joined_batch(subject)
    token = subject.words(1)[0]
    together = attribute(subject.model, subject.prompt(batch), token)
    for index, row in enumerate(subject.rows):
        alone = attribute(subject.model, subject.prompt(row), token)
        length = alone.relevance.shape[1]
        found = together.relevance[index, -length:]
        expect_close(f"relevance of row {index}", found, alone.relevance[0], 10 * subject.tolerance)
        if bool(together.relevance[index, :-length].any()):
            raise MismatchError(f"padding of row {index} has relevance")


def joined_batch(subject: Subject) -> Mapping[str, Any]:
    """Return the batch of a subject.

    Raises
    ------
    UnavailableError
        If there is none, or padding changes a row of the model itself.
    """
    if subject.batch is None:
        raise UnavailableError("no batch was given")
    try:
        together = subject.plain(1, subject.batch)
    except Exception as error:  # the model's own code, whatever it raises
        message = " ".join(str(error).split())
        raise UnavailableError(f"the model itself does not run on a padded batch: {message}") from error
    for index, row in enumerate(subject.rows):
        alone = subject.plain(1, row)[0]
        gap = float((together[index] - alone).abs().max() / alone.abs().max().clamp(min=1e-6))
        if not gap <= subject.tolerance:
            raise UnavailableError(f"padding changes row {index} of the model itself by {gap:.0e}")
    return subject.batch
