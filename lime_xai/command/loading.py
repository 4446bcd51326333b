"""Loading any multimodal checkpoint of transformers, and making its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from lime_xai.worlds import WORLDS, bundled_model


def load_model(name: str, device: str | None = None, dtype: str = "auto") -> tuple[Any, Any]:
    """Load a model and its processor.

    Parameters
    ----------
    name : str
        A path, an id on the model hub, or the name of an embedded world (its bundled model).
    device : str, optional
        Where it goes; by default the CPU.
    dtype : str
        As ``from_pretrained`` takes it.

    Returns
    -------
    (PreTrainedModel, processor)
        The model in eval mode.

    Raises
    ------
    OSError
        From transformers, if there is no such model.
    """
    if name in WORLDS:
        bundled, processor = bundled_model(name)
        return (bundled.to(device) if device else bundled), processor
    config = AutoConfig.from_pretrained(name)
    architectures = getattr(config, "architectures", None) or []
    classes = [getattr(transformers, item) for item in architectures if hasattr(transformers, item)]
    multimodal = type(config) in AutoModelForImageTextToText._model_mapping
    loader = classes[0] if classes else AutoModelForImageTextToText if multimodal else AutoModelForCausalLM
    model = loader.from_pretrained(name, dtype=dtype).eval()
    processor = AutoProcessor.from_pretrained(name)  # type: ignore[no-untyped-call]
    return (model.to(device) if device else model), processor


def read_audio(path: str | Path, rate: int) -> Any:
    """Return a sound file as mono float32 samples at a sampling rate.

    Raises
    ------
    ValueError
        If the file is no sound that libsndfile reads.
    """
    import soundfile
    from scipy.signal import resample_poly

    try:
        samples, found = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} cannot be read as sound ({error}); convert it to WAV or FLAC.") from error
    mono = samples.mean(1)
    return mono if found == rate else resample_poly(mono, rate, found).astype(np.float32)


def make_inputs(
    processor: Any, prompt: str, images: Sequence[str | Path] = (), audios: Sequence[str | Path] = ()
) -> tuple[Any, list[Image.Image]]:
    """Build a model's inputs from a prompt and files.

    Parameters
    ----------
    processor : object
        With a chat template.
    prompt : str
        What the user says.
    images, audios : sequence of str or Path
        Files, in order.

    Returns
    -------
    BatchFeature
        Ready for ``model.generate(**inputs)``.
    list of PIL.Image
        The images as read.

    Raises
    ------
    ValueError
        If the processor has no chat template.
    """
    if getattr(processor, "chat_template", None) is None and getattr(processor, "tokenizer", None) is not None:
        raise ValueError("The processor has no chat template; build the inputs yourself and use the Python API.")
    pictures = [Image.open(path).convert("RGB") for path in images]
    extractor = getattr(processor, "feature_extractor", None)
    rate = int(getattr(extractor, "sampling_rate", 16000))
    sounds = [read_audio(path, rate) for path in audios]
    content: list[dict[str, Any]] = [{"type": "image"} for _ in pictures]
    content += [{"type": "audio", "audio": sound} for sound in sounds]
    content.append({"type": "text", "text": prompt})
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    kwargs: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    if pictures:
        kwargs["images"] = pictures
    if sounds:
        kwargs |= {"audio": sounds, "sampling_rate": rate}
    return processor(**kwargs), pictures
