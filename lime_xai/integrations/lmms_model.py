"""A model of lmms-eval whose tokens are decided by policies of this package.

``python -m lmms_eval --model lime_llava --model_args pretrained=FOLDER,policy=contrast --tasks pope``. It loads any
model that this package works on, not LLaVA alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from lmms_eval.api.model import lmms
from PIL import Image
from rich.progress import track

from lime_xai.command.loading import check_device, find_checkpoint, load_model
from lime_xai.command.policies import read_policies, steering_choice
from lime_xai.generation.steer import steer
from lime_xai.model.chat import Request, check_modalities, make_inputs, placed, tokenizer_of
from lime_xai.model.prompt import read_prompt
from lime_xai.model.sounds import Sound, check_heard, sampling_rate

LONGEST: Final = 1024
"""Tokens of an answer at most, if the task does not say."""
_DECODING: Final = ("do_sample", "temperature", "top_p", "top_k", "num_beams", "repetition_penalty")
"""Settings of a task that ``generate`` gets."""
_OTHER: Final = ("until", "max_new_tokens", "max_gen_toks", "image_aspect_ratio")
"""Settings of a task that are read here, or do not concern a processor of transformers."""


class LimeLlava(lmms):
    """A model of transformers under policies.

    Parameters
    ----------
    pretrained : str
        As the commands of ``lime-xai`` take it: a folder, an id on the hub, or ``scene`` for the bundled model.
    policy : str
        A name; several joined by ``+``, in order; ``vanilla`` for the model alone. The arguments of lmms-eval are
        separated by commas, so that JSON has no place here: ``lime-xai export-custom-generate`` takes it.
    system : str, optional
        System prompt.
    device, dtype : str, optional
        As ``--device`` and ``--dtype`` of ``lime-xai``. ``cuda`` where there is none is refused.
    seed : int
        Set before each answer, so that sampled answers do not depend on their order.
    batch_size, max_batch_size : int or str, optional
        1; anything else is refused, since questions have different lengths.

    Raises
    ------
    ValueError
        For a model, policy or device that cannot be used, and other batch sizes.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        policy: str = "edit",
        system: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        seed: int = 0,
        batch_size: int | str = 1,
        max_batch_size: int | str | None = None,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1" or str(max_batch_size) not in ("1", "None"):
            raise ValueError(f"batch_size is {batch_size}, max_batch_size {max_batch_size}; expected 1.")
        check_device(device)
        written = read_policies(policy.split("+"))
        found = find_checkpoint(pretrained)
        self.model, self.processor = load_model(found, device, dtype)
        chosen = steering_choice(written, pretrained, self.processor)
        self.policies = [one for one in chosen.values() if one is not None]
        self.system, self.seed = system, int(seed)
        self.device = self.model.device  # lmms-eval gathers on it

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return an answer for each request, cut before the first of its stop texts.

        Raises
        ------
        ValueError, TypeError
            For media or settings that cannot be used; nothing is answered by an empty text.
        """
        answers = []
        for request in track(requests, description="answers", disable=self.rank != 0):
            question, settings, media_of, index, task, split = request.args
            media = media_of(self.task_dict[task][split][index])
            answer = self._answer(question, [] if media is None else media, settings)
            self.cache_hook.add_partial("generate_until", (question, settings), answer)
            answers.append(answer)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuse tasks that score given answers (NotImplementedError)."""
        raise NotImplementedError("lime_llava decides tokens while it generates; choose a task with generate_until.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse tasks of several rounds (NotImplementedError)."""
        raise NotImplementedError("lime_llava answers one question at a time; choose a task with generate_until.")

    def _answer(self, question: str, media: Sequence[Any], settings: Mapping[str, Any]) -> str:
        images, sounds = self._read(media)
        request = Request(question, self.system, images, sounds)
        check_modalities(self.model, self.processor, request)
        inputs = placed(make_inputs(self.model, self.processor, request), self.model)
        prompt = read_prompt(self.model, inputs, processor=self.processor)
        decoding, stops = self._decoding(settings)
        torch.manual_seed(self.seed)
        if self.policies and prompt.positions.modalities:
            ids = steer(self.model, prompt, self.policies, **decoding).sequences
        else:  # the model alone, or a question about text alone, of which nothing could be enhanced
            ids = self.model.generate(**prompt.inputs, **decoding)
        text: str = tokenizer_of(self.processor).decode(ids[0, prompt.positions.length :], skip_special_tokens=True)
        return text[: min([text.index(stop) for stop in stops if stop in text], default=len(text))]

    def _read(self, media: Sequence[Any]) -> tuple[list[Image.Image], list[Sound]]:
        images: list[Image.Image] = []
        sounds: list[Sound] = []
        for item in media:
            if isinstance(item, Image.Image):
                images.append(item.convert("RGB"))
            elif isinstance(item, Mapping) and item.keys() >= {"array", "sampling_rate"}:
                sounds.append(_resampled(item, sampling_rate(self.processor)))
            else:
                raise TypeError(
                    f"The task gives a {type(item).__name__}; expected PIL images, or sounds with 'array' and "
                    "'sampling_rate'. Videos are not read here."
                )
        if sounds:
            check_heard(self.processor, sounds)
        return images, sounds

    def _decoding(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return what ``generate`` takes, and the texts at which an answer ends."""
        unknown = [name for name in settings if name not in (*_DECODING, *_OTHER)]
        if unknown:
            raise ValueError(
                f"The task sets {', '.join(unknown)}; known are {', '.join((*_DECODING, *_OTHER))}. Set it by "
                "--gen_kwargs to something else, or leave it out of the task."
            )
        longest = settings.get("max_new_tokens", settings.get("max_gen_toks", LONGEST))
        kept = {name: settings[name] for name in _DECODING if settings.get(name) is not None}
        asked, temperature = bool(kept.pop("do_sample", False)), kept.get("temperature")
        sampled = asked if temperature is None else temperature > 0  # as lmms-eval's own models decide
        if not sampled:
            kept = {name: value for name, value in kept.items() if name not in ("temperature", "top_p", "top_k")}
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        return {**kept, "do_sample": sampled, "max_new_tokens": int(longest)}, [stop for stop in stops if stop]


def _resampled(item: Mapping[str, Any], rate: int) -> Sound:
    """Return a sound of the ``datasets`` package, mono at another rate."""
    import soxr

    samples = np.asarray(item["array"], np.float32)
    mono = samples if samples.ndim == 1 else samples.mean(int(np.argmin(samples.shape)))
    found: Sound = soxr.resample(mono, item["sampling_rate"], rate)
    return found
