"""A model asked the items of a benchmark under several policies."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lime_xai.generation.steer import steer
from lime_xai.model.chat import tokenizer_of
from lime_xai.model.draws import Draws
from lime_xai.model.prompt import Prompt
from lime_xai.storage.weights import weights_hash

from .answers import Answer, KeptAnswers, answer_file, check_resumable, read_answers
from .asking import Asking, Decoding, Say, check_asked, check_items, check_same_media, file_hash, item_prompt
from .other_media import other_prompt
from .protocol import Item
from .system import System, SystemLike


def evaluate(
    model: PreTrainedModel,
    processor: Any,
    asking: Asking,
    policies: Mapping[str, SystemLike],
    out: str | Path,
    *,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
    note: Say | None = None,
) -> KeptAnswers:
    """Ask a model all items under several policies; each answer is written as it is given.

    1. What can be refused is refused before anything is computed.
    2. Answers that the file holds are kept.
    3. Item by item, the prompt is read once, and answered under each policy.

    Parameters
    ----------
    model, processor : object
        As ``from_pretrained`` returns them; the processor has a chat template.
    asking : Asking
        What is asked.
    policies : mapping of str to Policy, str, list, Against or None
        By name. None is the model alone; several are applied in order. ``Against`` contrasts each item with a grey
        picture, silence, or noisy pixels in place of its own.
    out : str or Path
        File of answers, written or gone on with.
    name : str
        Of the model, for the file.
    progress : callable, optional
        Told the number of answers that are there, and that of all, at the beginning and after each.
    note : callable, optional
        Told what is left out of images, and what is not known of sounds.

    Returns
    -------
    KeptAnswers
        What the file holds now.

    Raises
    ------
    ValueError, TypeError, OSError
        For items, policies or a file that cannot be used; nothing has been computed then. For an image or a sound that
        is damaged, and on a full disk: answers before it are kept.
    """
    named = {key: System.of(policy) for key, policy in policies.items()}
    check_items(asking.items)
    settings = _settings(named)
    identity = _identity(model, processor, asking)
    say = note or _silent
    read = check_asked(model, processor, asking, named, say)
    with answer_file(out, identity, settings, _setting(model, name)) as file, Draws.of(model).again():
        check_same_media(asking.items, file.kept.answers.values())
        waiting = [(item, [key for key in named if (item.id, key) not in file.kept.answers]) for item in asking.items]
        total = len(asking.items) * len(named)
        done = total - sum(len(keys) for _, keys in waiting)
        tell = progress or _silent
        tell(done, total)
        for item, keys in waiting:
            if not keys:
                continue
            prompt = read.pop(item.id, None) or item_prompt(model, processor, asking, item, say)
            media = tuple(file_hash(path) for path in (*item.images, *item.sounds))
            for key in keys:
                kind = named[key].medium
                other = None if kind is None else other_prompt(model, processor, asking, item, prompt, kind, say)
                file.add(_answered(prompt, asking.decoding, item, key, named[key], media, other))
                done += 1
                tell(done, total)
        return file.kept


def check_kept(
    path: Path, model: PreTrainedModel, processor: Any, asking: Asking, policies: Mapping[str, SystemLike]
) -> KeptAnswers:
    """Return what a file of answers holds, which would go on under these settings.

    Parameters
    ----------
    path : Path
        The file; it is there, and is not written.
    model, processor, asking, policies : object
        As in ``evaluate``.

    Raises
    ------
    ValueError
        For answers that were made otherwise, or about other images or sounds.
    DamagedFileError
        As ``read_answers``.
    """
    named = {key: System.of(policy) for key, policy in policies.items()}
    check_resumable(path, _identity(model, processor, asking), _settings(named))
    kept = read_answers(path)
    check_same_media(asking.items, kept.answers.values())
    return kept


def _silent(*_: object) -> None:
    """Take what nobody asked to be told."""


def _settings(named: Mapping[str, System]) -> dict[str, Any]:
    """Return the settings of policies for the file.

    Raises
    ------
    ValueError
        For no policy, or two with the same settings.
    """
    if not named:
        raise ValueError("No policy is named; name one, vanilla for the model alone.")
    found: dict[str, Any] = {}
    for name, system in named.items():
        settings = system.settings
        same = [other for other, values in found.items() if values == settings]
        if same:
            raise ValueError(f"The policies {same[0]} and {name} have the same settings; name one of them.")
        found[name] = settings
    return found


def _identity(model: PreTrainedModel, processor: Any, asking: Asking) -> dict[str, Any]:
    """Return what the answers depend on besides the policies: what is asked, model and processor."""
    generation = model.generation_config.to_diff_dict()
    generation.pop("transformers_version", None)
    parts = {
        part: json.loads(json.dumps(getattr(processor, part).to_dict(), default=str))
        for part in ("image_processor", "video_processor", "feature_extractor", "audio_processor")
        if hasattr(getattr(processor, part, None), "to_dict")
    }
    template = getattr(processor, "chat_template", None)
    text = json.dumps([type(processor).__name__, template, parts], sort_keys=True)
    return {
        **asking.identity(),
        "model_class": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights": weights_hash(model),
        "processor": hashlib.sha256(text.encode()).hexdigest(),
        "generation_config": json.loads(json.dumps(generation, default=str)),
    }


def _setting(model: PreTrainedModel, name: str) -> dict[str, Any]:
    """Return what describes a run: answers may depend on it by rounding."""
    device = model.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    packages = ("lime_xai", "torch", "transformers")
    return {
        "model": name,
        "device": kind,
        "versions": {package: version(package) for package in packages},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _answered(
    prompt: Prompt,
    decoding: Decoding,
    item: Item,
    name: str,
    system: System,
    media: tuple[str, ...],
    other: Prompt | None,
) -> Answer:
    """Return the answer to a prompt under policies, of which one may compare it with another."""
    model: Any = prompt.model
    torch.manual_seed(decoding.seed_of(item))
    start = time.perf_counter()
    if system.policies:
        found = steer(model, prompt, list(system.policies), counterfactual=other, **decoding.kwargs).sequences
    else:
        found = model.generate(**prompt.inputs, **decoding.kwargs)
    tokens = found[0, prompt.positions.length :].tolist()  # waits for the device
    seconds = time.perf_counter() - start
    ends = model.generation_config.eos_token_id
    ended = bool(tokens) and tokens[-1] in ([ends] if isinstance(ends, int) else ends or [])
    text = tokenizer_of(prompt.processor).decode(tokens, skip_special_tokens=True)
    finished = ended or len(tokens) < decoding.max_new_tokens
    return Answer(item.id, name, text, len(tokens), finished, round(seconds, 4), media)
