"""Relevance of every pixel of a picture, and of every cell of a spectrogram, for what a model says."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from lime_rules import LRP_METHODS, EncoderLRP
from lime_xai.attribution.attribute import as_attribution
from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.methods.lrp import LRP
from lime_xai.attribution.methods.task import AttributionTask
from lime_xai.attribution.targets import TargetLike, resolve_target
from lime_xai.errors import unknown_name
from lime_xai.model.exclusive import borrowed
from lime_xai.model.gradients import DifferentiableCall
from lime_xai.model.numbers import check_relevance
from lime_xai.model.perception import signals
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import PromptLike, read_prompt
from lime_xai.values.checking import check_arguments

from .encoding import covered_encoder, propagate
from .maps import SIZES
from .result import PixelAttribution

__all__ = ["EncoderLRP", "attribute_pixels"]


def attribute_pixels(
    model: PreTrainedModel,
    inputs: PromptLike,
    target: TargetLike = None,
    method: MethodLike = "attnlrp",
    *,
    encoder: str | EncoderLRP | None = None,
    per_token: bool = True,
    processor: Any = None,
    perceptual: Perceptual = None,
) -> PixelAttribution:
    r"""Attribute a logit to every pixel and to every cell of a spectrogram.

    1. Attribute it to the decoder's inputs, as ``attribute`` does.
    2. Run what encodes pictures and sounds with the rules of ``encoder``.
    3. Propagate the gradient of the decoder's inputs back through it. Relevance is the gradient times what the model
       was given, :math:`R = x \cdot \tilde\nabla_x z`, or what the rule of the first layer gives.

    Parameters
    ----------
    model : PreTrainedModel
        As in ``attribute``.
    inputs : mapping or Prompt
        As in ``attribute``; with pictures, videos or sounds.
    target : int, tuple of two int, str, list of int, Tensor or None
        As in ``attribute``.
    method : str, TransformerComposite or LRP
        Rules of the decoder: ``attnlrp``, ``cplrp``, ``gradient_input``, or a composite.
    encoder : str or EncoderLRP, optional
        Rules of the encoder: a name as for ``method``, or a composite with settings of its own (gamma or epsilon per
        layer, the rule of the first layer). By default the rules of ``method``.
    per_token : bool
        As in ``attribute``; every explained token costs one backward pass more.
    processor, perceptual : optional
        As in ``attribute``.

    Returns
    -------
    PixelAttribution

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute; if the inputs hold neither picture nor sound; for a method that is not LRP.
    NotImplementedError
        For encoders whose attention cannot be switched to rules, and where no gradient reaches the pixels; the reason
        is named.
    FloatingPointError
        For NaN or infinite logits or relevance.

    Warns
    -----
    UserWarning
        Once per model, about modules and operations without a rule.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example("is there a heart in the image ?")
    >>> encoder = lime_xai.EncoderLRP(gamma=0.1, first="flat")
    >>> found = lime_xai.attribute_pixels(model, inputs, encoder=encoder)
    >>> {name: tuple(relevance.shape) for name, relevance in found.relevance.items()}
    {'pixel_values': (1, 3, 72, 72)}
    """
    check_arguments(attribute_pixels, per_token=per_token)
    chosen = as_method(method)
    if not isinstance(chosen, LRP):
        raise ValueError(
            f"method {chosen.name!r} ends at the decoder's inputs; relevance of pixels needs attnlrp, cplrp, "
            "gradient_input or an LRP composite."
        )
    if encoder is not None and not isinstance(encoder, str | EncoderLRP):
        raise TypeError(
            f"encoder is {type(encoder).__name__}; expected a name (attnlrp, cplrp, gradient_input) or an EncoderLRP."
        )
    if isinstance(encoder, str) and encoder not in LRP_METHODS:
        raise unknown_name("encoder", encoder, LRP_METHODS)
    composite = encoder if isinstance(encoder, EncoderLRP) else EncoderLRP(chosen.rules if encoder is None else encoder)
    prompt = read_prompt(model, inputs, processor=processor, perceptual=perceptual)
    given = signals(prompt.inputs)
    if not given:
        raise ValueError(
            "The inputs hold no picture, video or sound as numbers that a gradient can reach (pixel_values, "
            "input_features); use attribute for relevance of tokens."
        )
    ids = prompt.positions.input_ids
    typed = ids if "input_ids" in prompt.inputs else None
    goal = resolve_target(target, ids.shape[0], prompt.vocabulary, ids.device, prompt.processor, typed)
    with borrowed(model):
        task = AttributionTask(prompt, goal.ordinary(), per_token)
        call = DifferentiableCall.of(prompt.recording(task.target.continuation).calls[0])
        coverage = covered_encoder(prompt, composite)
        found, gradients = chosen.explain_inputs(task)
        relevance = propagate(prompt, composite, call, gradients)
    name = method if isinstance(method, str) else chosen.name
    for signal, value in relevance.items():
        check_relevance(value, f"{name} of {signal}")
    return PixelAttribution(
        relevance={signal: (value[0] if task.single else value).float() for signal, value in relevance.items()},
        tokens=as_attribution(task, found, name),
        inputs={signal: value.detach() for signal, value in given.items()},
        coverage=coverage,
        config=model.config,
        companions={name: value for name, value in prompt.inputs.items() if name.endswith(SIZES)},
    )
