"""Relevance of every input token for what a model says."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from lime_rules import Audit
from lime_xai.model.exclusive import borrowed, exclusive
from lime_xai.model.numbers import check_relevance
from lime_xai.model.pieces import readable_labels
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import PromptLike, read_prompt
from lime_xai.model.replay import Replayer
from lime_xai.storage.weights import check_loaded
from lime_xai.values.checking import check_arguments

from .audited import audited
from .methods.lookup import MethodLike, as_method
from .methods.task import AttributionTask, Explanation, GroupsLike
from .result import Attribution
from .targets import TargetLike, resolve_target


def audit(model: PreTrainedModel) -> Audit:
    """List each module of a model's decoder with its rule, and what has none.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model, or a causal language model.

    Returns
    -------
    lime_rules.Audit
        ``print(audit(model).summary())``; ``.uncovered`` names modules that AttnLRP treats as plain gradient,
        ``.operations`` products and nonlinear functions that are written outside modules, found by running the decoder
        on two positions once.
    """
    replayer = Replayer(model)
    check_loaded(model)
    with exclusive(model):
        return audited(replayer)


def attribute(
    model: PreTrainedModel,
    inputs: PromptLike,
    target: TargetLike = None,
    method: MethodLike = "attnlrp",
    *,
    per_token: bool = True,
    processor: Any = None,
    perceptual: Perceptual = None,
    groups: GroupsLike = None,
    progress: bool = False,
) -> Attribution:
    """Attribute a logit to every input token.

    1. Read the prompt: ids, attended positions, modalities; everything is checked before any compute.
    2. Read the target, and look up the method.
    3. The method records the decoder's arguments by running ``generate`` once, replays the decoder as often as it
       needs, and returns the relevance of every position.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model of transformers, multimodal or text-only, in eval mode.
    inputs : mapping or Prompt
        What a processor returns, batches padded on the left; or a prompt that was read before, whose images and sounds
        are encoded once for all calls.
    target : int, tuple of two int, str, list of int, Tensor or None
        A token id; a margin ``(a, b)``; a phrase; its token ids; one id per row ``[B]`` or one answer per row
        ``[B, G]`` (padded with -100). None: the token the model would choose.
    method : str, TransformerComposite or AttributionMethod
        A name in ``lime_xai.METHODS`` (``attnlrp``, ``cplrp``, ``gradient_input``, ``integrated_gradients``, ...), an
        LRP composite of your own (with a ``layer_map``, say), or a method with settings of its own,
        ``KernelShap(samples=64)``.
    per_token : bool
        For a phrase or answer: relevance of each of its tokens, ``[B, G, T]``; False: of their sum, ``[B, T]``. LRP
        needs one backward pass for the sum; methods that work row by row run once per token otherwise.
    processor : object, optional
        Gives token labels, encodes a phrase and undoes the normalisation of pictures; tokens of a word are perturbed
        together.
    perceptual : Tensor or mapping, optional
        ``[B, T]`` masks instead of the placeholders.
    groups : Groups or sequence of Groups, optional
        Groups of positions for methods that perturb groups, for all rows or one each; by default ``group_tokens``.
        Methods that give each position its own relevance do not use them.
    progress : bool
        Show a bar while a method runs row by row.

    Returns
    -------
    Attribution

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute; for a method that would cost more than its limit, before its first pass.
    FloatingPointError
        For NaN or infinite logits or relevance.
    NotImplementedError
        For a decoder that gives other logits for the tokens of an answer together than for one after the other.

    Warns
    -----
    UserWarning
        Once per model, if an LRP method meets modules that have no rule; they are named. If the steps of integrated
        gradients do not suffice.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example("is there a heart in the image ?")
    >>> yes, no = processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    >>> found = lime_xai.attribute(model, inputs, target=(yes, no))
    >>> tuple(found.relevance.shape), {name: round(share.item(), 1) for name, share in found.shares.items()}
    ((1, 47), {'image': 0.4, 'text': 0.6})
    """
    check_arguments(attribute, per_token=per_token, groups=groups, progress=progress)
    chosen = as_method(method)
    prompt = read_prompt(model, inputs, processor=processor, perceptual=perceptual)
    ids = prompt.positions.input_ids
    given = ids if "input_ids" in prompt.inputs else None
    goal = resolve_target(target, ids.shape[0], prompt.vocabulary, ids.device, prompt.processor, given)
    with borrowed(model):
        task = AttributionTask(prompt, goal.ordinary(), per_token, groups, progress)
        found = chosen.explain(task)
    return as_attribution(task, found, method if isinstance(method, str) else chosen.name)


def as_attribution(task: AttributionTask, found: Explanation, name: str) -> Attribution:
    """Return what a method found as a result.

    Raises
    ------
    FloatingPointError
        For NaN or infinite relevance.
    """
    check_relevance(found.relevance, name)
    positions = found.recording.positions
    attended = positions.attended
    return Attribution(
        relevance=found.relevance * (attended[:, None] if found.relevance.dim() == 3 else attended),
        input_ids=positions.input_ids,
        target_ids=task.prompt.positions.input_ids[:, :0] if found.target.ids is None else found.target.ids,
        logits=found.values,
        attended=attended,
        spans=positions.spans,
        method=name,
        tokens=readable_labels(positions.input_ids, positions.spans, task.prompt.processor),
        convergence_delta=found.convergence_delta,
        layouts=task.prompt.layouts,
        received=task.prompt.received,
        targets=found.target.texts(task.prompt.processor) if found.target.ids is not None else [],
        target_tokens=found.target.labels(task.prompt.processor, task.prompt.positions.input_ids[:, -1].tolist()),
        against=found.target.others(task.prompt.processor),
    )
