"""A question as a model's inputs: chat template, markers of files, and checks of modalities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import jinja2
from torch import Tensor
from transformers import PreTrainedModel

from .modalities import PERCEPTUAL, modality_masks, placeholder_ids
from .sounds import sampling_rate

_MARKER = re.compile(r"\{(image|audio)\}")


@dataclass(frozen=True)
class Request:
    """What a user asks of a model.

    Attributes
    ----------
    prompt : str
        What the user says, with ``{image}`` and ``{audio}`` where files go.
    system : str or None
        System prompt.
    images : sequence of PIL.Image
        In order.
    sounds : sequence of array
        Mono float32 samples at the model's sampling rate, in order.
    """

    prompt: str
    system: str | None = None
    images: Sequence[Any] = ()
    sounds: Sequence[Any] = field(default=(), repr=False)

    @property
    def files(self) -> dict[str, Sequence[Any]]:
        """Images and sounds by modality."""
        return {"image": self.images, "audio": self.sounds}

    @property
    def marked(self) -> bool:
        """Whether the prompt says where files go."""
        return _MARKER.search(self.prompt) is not None

    def parts(self) -> list[dict[str, Any]]:
        """Return the parts of the user's message, in order, as chat templates take them.

        Files of a modality without markers come first.

        Raises
        ------
        ValueError
            For another number of markers than of files.
        """
        waiting = {name: [_part(name, item) for item in items] for name, items in self.files.items()}
        pieces = _MARKER.split(self.prompt)
        for name, items in waiting.items():
            marks = pieces[1::2].count(name)
            if marks and marks != len(items):
                raise ValueError(
                    f"The prompt has {marks} marker(s) {{{name}}}, and {len(items)} --{name} files are given; give as "
                    f"many, or leave the markers out to put the files first."
                )
        first = [part for name, items in waiting.items() if name not in pieces[1::2] for part in items]
        found = [
            waiting[piece].pop(0) if index % 2 else {"type": "text", "text": piece}
            for index, piece in enumerate(pieces)
            if index % 2 or piece.strip()
        ]
        return first + found


def _part(modality: str, item: Any) -> dict[str, Any]:
    return {"type": "image"} if modality == "image" else {"type": "audio", "audio": item}


def with_markers(prompt: str, counts: Sequence[int]) -> str:
    """Return a prompt in which the marker of every sound stands as often as the sound has parts."""
    marks = _MARKER.findall(prompt).count("audio")
    if marks != len(counts):
        return prompt  # files without markers, or a number that is refused later
    waiting = iter(counts)
    return _MARKER.sub(lambda found: found[0] * (next(waiting) if found[1] == "audio" else 1), prompt)


def tokenizer_of(processor: Any) -> Any:
    """Return a processor's tokenizer; text-only models have a tokenizer in place of a processor."""
    return getattr(processor, "tokenizer", processor)


def placeholder_texts(model: PreTrainedModel, processor: Any) -> dict[str, set[str]]:
    """Return what stands for an image, video or sound in the text of a prompt, by modality."""
    tokenizer = tokenizer_of(processor)
    found = {}
    for modality, token in placeholder_ids(model.config).items():
        names = (f"{modality}_token", "boi_token" if modality == "image" else f"{modality}_bos_token")
        texts = [tokenizer.convert_ids_to_tokens(token), *(getattr(processor, name, None) for name in names)]
        found[modality] = {text for text in texts if isinstance(text, str) and text}
    return found


def check_modalities(model: PreTrainedModel, processor: Any, request: Request) -> None:
    """Refuse files that the model has no placeholder for, and placeholders that are written out in the prompt.

    Raises
    ------
    ValueError
        Naming what the model takes.
    """
    known = placeholder_ids(model.config)
    takes = " and ".join(["text", *(name for name in PERCEPTUAL if name in known)])
    for name, items in request.files.items():
        if items and name not in known:
            raise ValueError(
                f"{type(model).__name__} takes {takes}; its config has no placeholder for {name}, so --{name} cannot "
                "be used with it."
            )
        if not items and f"{{{name}}}" in request.prompt and name in known:
            raise ValueError(f"The prompt has a marker {{{name}}} and no --{name} file is given; give one.")
    for name, texts in placeholder_texts(model, processor).items():
        for text in sorted(texts):
            if text in request.prompt or text in (request.system or ""):
                raise ValueError(
                    f"The prompt holds {text!r}, which stands for one {name} token of this model; give the file with "
                    f"--{name} and write {{{name}}} where it goes, or leave it out."
                )


def make_inputs(model: PreTrainedModel, processor: Any, request: Request) -> Any:
    """Build a model's inputs.

    Parameters
    ----------
    model : PreTrainedModel
        Its config names the placeholders.
    processor : object
        Processor, or tokenizer of a text-only model, with a chat template.
    request : Request
        What is asked.

    Returns
    -------
    BatchFeature or BatchEncoding
        Ready for ``model.generate(**inputs)``, on the CPU.

    Raises
    ------
    ValueError
        If the processor has no chat template, the template cannot express the request, or the model cannot take it.
    """
    check_modalities(model, processor, request)
    text = render(model, processor, request)
    tokenizer = tokenizer_of(processor)
    kwargs: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    bos = getattr(tokenizer, "bos_token", None)
    if processor is tokenizer or (bos and text.startswith(bos)):
        kwargs["add_special_tokens"] = False  # the template has written them
    if request.images:
        kwargs["images"] = list(request.images)
    if request.sounds:
        kwargs |= {"audio": list(request.sounds), "sampling_rate": sampling_rate(processor)}
    inputs = processor(**kwargs)
    _check_placed(model, inputs, request)
    return inputs


def placed(inputs: Mapping[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    """Return inputs on the model's device, features in the type of its weights."""
    kind = model.dtype

    def place(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.to(model.device, kind if value.is_floating_point() else None)

    return {name: place(value) for name, value in inputs.items()}


def _check_placed(model: PreTrainedModel, inputs: Mapping[str, Any], request: Request) -> None:
    """Refuse inputs in which a modality has files and no placeholder, or the other way round."""
    masks = modality_masks(model.config, inputs["input_ids"])
    for name, items in request.files.items():
        if bool(items) != (name in masks):
            lacks = (
                f"no placeholder for the --{name} file" if items else f"placeholders for {name} and no --{name} file"
            )
            raise ValueError(f"The prompt that the chat template makes has {lacks}; build the inputs in Python.")


def render(model: PreTrainedModel, processor: Any, request: Request) -> str:
    """Return the prompt as the chat template writes it.

    Templates take a message as a list of parts, or as a string; those of text-only models often only the latter.

    Raises
    ------
    ValueError
        If there is no template, or it cannot express the request.
    """
    if getattr(processor, "chat_template", None) is None:
        raise ValueError("The processor has no chat template; build the inputs yourself and use the Python API.")
    parts, tokens = request.parts(), placeholder_texts(model, processor)
    forms: list[Any] = [parts, _as_string(parts, tokens)]
    if processor is tokenizer_of(processor):
        forms.reverse()
    reasons = []
    for content in forms:
        if content is None:
            continue
        try:
            text = _apply(processor, content, request.system)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            reasons.append(str(error))
            continue
        if _expressed(text, parts):
            _check_system(processor, content, request.system, text)
            if request.marked and content is parts:
                _check_order(processor, parts, tokens)
            return text
        reasons.append("the rendered text lacks a part of the prompt")
    raise ValueError(f"The chat template cannot express this prompt: {'; '.join(reasons)}. Build the inputs in Python.")


def _as_string(parts: Sequence[Mapping[str, Any]], tokens: Mapping[str, set[str]]) -> str | None:
    """Return the parts as one string, placeholders written out; None if a placeholder's text is not known."""
    pieces = []
    for part in parts:
        if part["type"] == "text":
            pieces.append(part["text"])
        elif len(tokens.get(part["type"], ())) == 1:
            pieces.append(next(iter(tokens[part["type"]])) + "\n")
        else:
            return None
    return "".join(pieces)


def _apply(processor: Any, content: Any, system: str | None, role: str = "system") -> str:
    """Return the rendered conversation; the system prompt has the form of the user's message."""
    messages = [{"role": "user", "content": content}]
    if system is not None:
        said: Any = system if isinstance(content, str) else [{"type": "text", "text": system}]
        messages.insert(0, {"role": role, "content": said})
    text: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def _expressed(text: str, parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a rendered text holds the user's words, and not the source of the list of parts."""
    words = [part["text"].strip() for part in parts if part["type"] == "text"]
    return all(word in text for word in words) and str(parts) not in text


def _check_system(processor: Any, content: Any, system: str | None, text: str) -> None:
    """Refuse a system prompt that the template leaves out, or writes as another speaker's words."""
    if system is None:
        return
    if system.strip() not in text:
        raise ValueError("The chat template leaves the system prompt out; put it into --prompt.")
    try:
        as_answer = _apply(processor, content, system, role="assistant")
    except (jinja2.TemplateError, TypeError, ValueError, KeyError):  # so the roles differ
        return
    if as_answer == text:
        raise ValueError("The chat template writes a system prompt as words of the assistant; put it into --prompt.")


def _check_order(processor: Any, parts: Sequence[Mapping[str, Any]], tokens: Mapping[str, set[str]]) -> None:
    """Refuse a template that moves images or sounds to another place than the markers'.

    Texts are replaced by words that occur nowhere else, so that their order can be read off what the template writes.
    """
    names = {text: name for name, texts in tokens.items() for text in texts}
    stand_ins = [f"part{index}of{len(parts)}" for index in range(len(parts))]
    pairs = list(zip(parts, stand_ins, strict=True))
    told = [{"type": "text", "text": word} if part["type"] == "text" else part for part, word in pairs]
    wanted = [word if part["type"] == "text" else str(part["type"]) for part, word in pairs]
    marks = sorted([*names, *stand_ins], key=len, reverse=True)
    found = [
        names.get(mark, mark) for mark in re.findall("|".join(map(re.escape, marks)), _apply(processor, told, None))
    ]
    if [key for key, _ in groupby(found)] != [key for key, _ in groupby(wanted)]:
        raise ValueError(
            "The chat template of this model does not keep the order of text and files; leave the markers out, or "
            "build the inputs in Python."
        )
