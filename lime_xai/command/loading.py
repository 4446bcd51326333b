"""Loading any multimodal checkpoint of transformers: found at once, or refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from lime_xai.model.modalities import placeholder_ids
from lime_xai.storage.bars import no_bars
from lime_xai.worlds import WORLDS, bundled_model

PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a model is.

    Attributes
    ----------
    name : str
        Folder, id on the hub, or name of an embedded world.
    gguf : str or None
        Name of the GGUF file in the folder that holds the model.
    """

    name: str
    gguf: str | None = None

    @property
    def bundled(self) -> bool:
        """Whether it is the bundled model of a world."""
        return self.name in WORLDS

    @property
    def kwargs(self) -> dict[str, Any]:
        """What ``from_pretrained`` takes beside the name."""
        return {} if self.gguf is None else {"gguf_file": self.gguf}


def load_model(found: Checkpoint, device: str | None = None, dtype: str = "auto") -> tuple[Any, Any]:
    """Load a model and its processor.

    Parameters
    ----------
    found : Checkpoint
        From ``find_checkpoint``.
    device : str, optional
        Where it goes, one that ``check_device`` accepts; by default the CPU.
    dtype : str
        As ``from_pretrained`` takes it.

    Returns
    -------
    (PreTrainedModel, processor)
        The model in eval mode; a tokenizer for text-only models.

    Raises
    ------
    ValueError
        For a checkpoint that transformers does not load.
    """
    if found.bundled:
        model, processor = bundled_model(found.name)
        model = model if dtype == "auto" else model.to(getattr(torch, dtype))
    else:
        model, processor = _loaded(found, dtype)
    return (model.to(device) if device else model), processor


def read_config(found: Checkpoint) -> Any:
    """Return the config of a checkpoint; its weights are not read.

    Raises
    ------
    ValueError
        For a config that transformers does not read.
    """
    place = str(WORLDS[found.name].shipped) if found.bundled else found.name
    try:
        with no_bars():
            return AutoConfig.from_pretrained(place, **found.kwargs)
    except ImportError:
        raise
    except Exception as error:  # damaged files raise errors of many classes
        raise ValueError(f"{found.name} cannot be loaded ({type(error).__name__}: {error}).") from error


def check_device(device: str | None) -> None:
    """Refuse a device that is not there, before anything is loaded.

    Raises
    ------
    ValueError
        With the reason.
    """
    if device is None:
        return
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"--device {device!r} is no device of torch; expected cpu, cuda, cuda:0, mps, ...") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch finds no CUDA device here; leave --device out to use the CPU.")
    if wanted.type == "meta":
        raise ValueError("--device meta holds no numbers; leave --device out to use the CPU.")
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"--device {device} cannot be used here ({reason}); leave --device out to use the CPU."
        ) from error


def find_checkpoint(name: str) -> Checkpoint:
    """Return where a model is, without waiting for retries.

    Parameters
    ----------
    name : str
        A folder, a GGUF file, an id on the model hub, or the name of an embedded world (its bundled model).

    Raises
    ------
    OSError
        If there is no such folder or file, or the hub does not know the name or cannot be reached.
    ValueError
        For a folder that holds no model, or several GGUF files.
    """
    if name in WORLDS:
        return Checkpoint(name)
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ValueError(f"{name} is a file; give the folder of a model, or a .gguf file.")
        return _gguf(path.parent, path.name)
    if path.is_dir():
        return _folder(path)
    return _on_hub(name)


def _folder(path: Path) -> Checkpoint:
    if (path / "config.json").exists():
        return Checkpoint(str(path))
    if (path / "adapter_config.json").exists():
        raise ValueError(
            f"{path} holds an adapter and no model; merge it (merge_and_unload() of peft), save the result and give "
            "its folder."
        )
    files = sorted(file.name for file in path.glob("*.gguf"))
    if len(files) > 1:
        raise ValueError(f"{path} holds several GGUF files ({', '.join(files)}); give the path of one of them.")
    if not files:
        raise FileNotFoundError(
            f"{path} holds no model: neither config.json nor a .gguf file is in it.{_offer(path.name)}"
        )
    return _gguf(path, files[0])


def _gguf(folder: Path, file: str) -> Checkpoint:
    missing = [package for package in ("gguf", "accelerate") if find_spec(package) is None]
    if missing:
        raise ImportError(
            f"{folder / file} is a GGUF file; transformers reads it after: pip install {' '.join(missing)}"
        )
    return Checkpoint(str(folder), file)


def _offer(name: str) -> str:
    """Return a sentence that names the bundled model, as what was meant if it is near."""
    near = get_close_matches(name.lower(), WORLDS, n=1)
    return f" Did you mean {near[0]!r}, the bundled model?" if near else " The bundled model is called 'scene'."


def _on_hub(name: str) -> Checkpoint:
    """Return the checkpoint of a hub id; one question decides whether there is one."""
    looks_like_path = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or not name.strip()
    if looks_like_path:
        raise FileNotFoundError(f"There is no folder {name!r}.{_offer(name)}")
    try:
        if huggingface_hub.try_to_load_from_cache(name, "config.json") is not None:
            return Checkpoint(name)
        huggingface_hub.HfApi().model_info(name, timeout=PATIENCE)
    except Exception as error:  # its HTTP library's classes differ between versions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileNotFoundError(
            f"There is no folder {name!r}, and no model of this name could be found on the hub ({reason})."
            f"{_offer(name)}"
        ) from error
    return Checkpoint(name)


def _loaded(found: Checkpoint, dtype: str) -> tuple[Any, Any]:
    """Return the model and processor of a checkpoint."""
    try:
        with no_bars():
            config = AutoConfig.from_pretrained(found.name, **found.kwargs)
            loader = _class_of(config)
            model = loader.from_pretrained(found.name, dtype=dtype, **found.kwargs).eval()
            return model, _processor(found, config)
    except ImportError:
        raise
    except Exception as error:  # damaged files raise errors of many classes
        raise ValueError(f"{found.name} cannot be loaded ({type(error).__name__}: {error}).") from error


def _has_images(config: Any) -> bool:
    return type(config) in AutoModelForImageTextToText._model_mapping


def _class_of(config: Any) -> Any:
    """Return the class that loads a checkpoint: the one that it names, or that of its config."""
    named = [getattr(transformers, item) for item in config.architectures or () if hasattr(transformers, item)]
    return named[0] if named else AutoModelForImageTextToText if _has_images(config) else AutoModelForCausalLM


def _processor(found: Checkpoint, config: Any) -> Any:
    """Return the processor of a checkpoint; the tokenizer of a text-only model, which may name a processor too."""
    if not placeholder_ids(config) and not _has_images(config):
        return AutoTokenizer.from_pretrained(found.name, **found.kwargs)
    return AutoProcessor.from_pretrained(found.name)  # type: ignore[no-untyped-call]
