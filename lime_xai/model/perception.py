"""Running what lies before the decoder: the encoding of pictures and sounds, and the merging of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from .cache import CACHE_NAMES
from .decoder_call import DEEP_FEATURES
from .replay import Replayer, StopForward

_NO_SIGNALS = ("inputs_embeds",)


def signals(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the pictures, videos and sounds among the inputs: float tensors that are neither embeddings nor a mask."""
    return {
        name: value
        for name, value in inputs.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and name not in _NO_SIGNALS
        and not name.endswith("mask")
    }


def encoder_of(replayer: Replayer) -> nn.Module:
    """Return a container of all modules of a model but those of its decoder and its head, by their names.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    """
    model: Any = replayer.model
    left_out = {replayer.decoder, model.get_output_embeddings()}
    root = nn.Module()

    def gather(source: nn.Module, place: nn.Module) -> None:
        for name, child in source.named_children():
            if child in left_out:
                continue
            if replayer.decoder in child.modules():
                inner = nn.Module()
                gather(child, inner)
                place.add_module(name, inner)
            else:
                place.add_module(name, child)

    gather(model, root)
    return root.eval()


def perceive(replayer: Replayer, prompt: Mapping[str, Any], changed: Mapping[str, Tensor]) -> list[Tensor]:
    """Run the model's own forward pass up to the decoder and return what the decoder is given.

    Unlike ``recording.record`` this does not go through ``generate``, which encodes images without gradients.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    prompt : mapping
        What the processor returned.
    changed : mapping of str to Tensor
        Used in place of inputs of the same name.

    Returns
    -------
    list of Tensor
        Embeddings ``[B, T, d]``, then deep visual features ``[N, d]`` each, as ``DifferentiableCall.tensors``. They are
        parts of the graph of ``changed``, if gradients are enabled.

    Raises
    ------
    NotImplementedError
        If the model gives its decoder no embeddings.
    """
    found: list[Tensor] = []

    def take(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = replayer.named(args, kwargs)
        deep = call.get(DEEP_FEATURES)
        if call.get("inputs_embeds") is None:
            raise NotImplementedError(
                f"{type(module).__name__} is given token ids and merges embeddings itself: no relevance below its "
                "tokens."
            )
        found.extend([call["inputs_embeds"], *(deep if isinstance(deep, list) else ())])
        raise StopForward

    arguments = {name: value for name, value in prompt.items() if name not in CACHE_NAMES}
    handle = replayer.decoder.register_forward_pre_hook(take, with_kwargs=True)
    try:
        with replayer.suspended(), suppress(StopForward):
            replayer.model(**{**arguments, **replayer.last_logits, "use_cache": False, **changed})
    finally:
        handle.remove()
    return found
