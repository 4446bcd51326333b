"""Compute the features of training scenes, once: ``python -m benchmarks.photographs features``.

The encoder of pictures is not trained, so what it makes of each scene is kept: one file for 200 scenes, with the scenes
themselves. A scene depends on its seed and number alone. A run that was killed goes on with the next file.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import safe_open
from torch import Tensor

from lime_xai.storage.store import DamagedFileError, check_identity, holding, read_tensors, write_tensors
from lime_xai.storage.weights import weights_hash
from lime_xai.values.checking import checked

from .catalogue import CLASSES, Catalogue, catalogue
from .packages import found
from .scenes import DIFFICULTIES, PhotoScene, draw, noisy, render, scene_from_json, scene_to_json

Tower = Callable[[Tensor], Tensor]
"""From pixels, float32 [B, 3, 224, 224], to features [B, 256, 384]."""
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
"""By which pictures are normalised for DINOv2, after division by 255."""
PER_FILE: Final = 200
BATCH: Final = 8
_STREAM: Final = 17
"""Sets these draws apart from those of evaluation sets with the same seed."""
_KEY, _TENSOR = "photographs", "features"
_WHAT: Final = "features of photographs, written by python -m benchmarks.photographs features"
_ADVICE: Final = "delete it, and run python -m benchmarks.photographs features again"


class Identity(TypedDict):
    """What files of features are of; those of one folder have the same."""

    seed: int
    per_file: int
    difficulty: dict[str, Any]
    catalogue: str
    weights: str


class _Description(TypedDict):
    """What a file says of itself: the number of its first scene, and its scenes as ``scene_to_json`` writes them."""

    identity: Identity
    first: int
    scenes: list[dict[str, Any]]


def training_scene(
    seed: int, index: int, stamps: Catalogue, difficulty: str = "medium"
) -> tuple[PhotoScene, Image.Image]:
    """Return a training scene and its picture, which depend on seed and number alone."""
    rng = np.random.default_rng((_STREAM, seed, index))
    scene = draw(rng, stamps, DIFFICULTIES[difficulty])
    picture, noise = render(scene, stamps), DIFFICULTIES[difficulty].noise
    return scene, noisy(picture, noise, rng) if noise else picture


def pixel_values(pictures: Sequence[Image.Image]) -> Tensor:
    """Return pictures of one size as the encoder takes them: normalised, float32 of shape [B, 3, H, W]."""
    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).float()
    return (stacked / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def encoder(model: Any) -> Tower:
    """Return what an encoder gives before its last norm, without the class token: ``Dinov2Model`` as a ``Tower``."""

    def run(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            states: Tensor = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        return states[:, 1:]

    return run


def features_of(tower: Tower, pictures: Sequence[Image.Image], batch: int = BATCH) -> Tensor:
    """Return features of pictures, float16 of shape [B, 256, 384].

    Raises
    ------
    ValueError
        If the encoder gives what float16 does not hold.
    """
    parts = [tower(pixel_values(pictures[first : first + batch])).half() for first in range(0, len(pictures), batch)]
    made = torch.cat(parts)
    if not made.isfinite().all():
        raise ValueError("the encoder gives values that are not finite in float16; check its weights")
    return made


def write_features(
    folder: Path,
    tower: Tower,
    weights: str,
    stamps: Catalogue,
    *,
    seed: int,
    scenes: int,
    per_file: int = PER_FILE,
    difficulty: str = "medium",
    report: Callable[[int], None] = lambda done: None,
) -> str:
    """Compute what the folder lacks of the features of training scenes.

    Parameters
    ----------
    folder : Path
        Made if it is not there. Files are written whole; those that are there are checked and kept.
    tower : callable
        The encoder.
    weights : str
        Hash of its weights, part of the identity of the files.
    stamps : Catalogue
        The cut-outs.
    seed, scenes : int
        Which scenes: numbers 0 to ``scenes`` - 1 of this seed. ``scenes`` is a multiple of ``per_file``.
    per_file : int
        Scenes in one file.
    difficulty : str
        A key of ``DIFFICULTIES``.
    report : callable
        Called with the number of scenes that are there, after each batch.

    Returns
    -------
    str
        ``FeatureCache.digest`` of the files.

    Raises
    ------
    ValueError
        If ``scenes`` is no multiple of ``per_file``, or the folder holds features of something else.
    DamagedFileError
        If a file that is there is not what was written.
    """
    if scenes < 1 or scenes % per_file:
        raise ValueError(f"scenes is {scenes}; expected a multiple of the {per_file} of one file")
    folder.mkdir(parents=True, exist_ok=True)
    identity = Identity(
        seed=seed,
        per_file=per_file,
        difficulty={"name": difficulty} | asdict(DIFFICULTIES[difficulty]),
        catalogue=stamps.digest,
        weights=weights,
    )
    for path in _files(folder):  # all before the first is computed
        check_identity(path, "features", _read(path)[0]["identity"], identity)
    for number in range(scenes // per_file):
        path = _path(folder, number)
        if not path.exists():
            _write_file(path, tower, stamps, identity, number, report)
        else:
            report((number + 1) * per_file)
    return FeatureCache(folder, scenes).digest


def _write_file(
    path: Path, tower: Tower, stamps: Catalogue, identity: Identity, number: int, report: Callable[[int], None]
) -> None:
    scenes: list[PhotoScene] = []
    made: list[Tensor] = []
    first, count = number * identity["per_file"], identity["per_file"]
    for start in range(0, count, BATCH):
        drawn = [
            training_scene(identity["seed"], first + index, stamps, identity["difficulty"]["name"])
            for index in range(start, min(start + BATCH, count))
        ]
        scenes += [scene for scene, _ in drawn]
        made.append(features_of(tower, [picture for _, picture in drawn]))
        report(first + len(scenes))
    described = [scene_to_json(scene, stamps.names) for scene in scenes]
    write_tensors(path, {_TENSOR: torch.cat(made)}, _KEY, {"identity": identity, "first": first, "scenes": described})


class FeatureCache:
    """Features of training scenes on disk, read by memory map.

    Parameters
    ----------
    folder : Path
        What ``write_features`` wrote.
    scenes : int, optional
        How many to use, from the first; by default all.

    Attributes
    ----------
    scenes : tuple of PhotoScene
        The scenes, by number.
    identity : dict
        Seed, difficulty, digest of the catalogue, and hash of the encoder's weights.
    digest : str
        SHA-256 over all files.

    Raises
    ------
    FileNotFoundError
        If there are no files, or too few.
    DamagedFileError
        Naming a file that is not what was written, that is of other scenes or another encoder than the first one, or
        that is in another one's place.
    """

    def __init__(self, folder: Path, scenes: int | None = None) -> None:
        paths = _files(folder)
        if not paths:
            raise FileNotFoundError(f"{folder} holds no {_WHAT}")
        self.identity: Identity = _read(paths[0])[0]["identity"]
        self._per_file: int = self.identity["per_file"]
        count = len(paths) * self._per_file if scenes is None else scenes
        if scenes is not None and (scenes < 1 or scenes % self._per_file):
            raise ValueError(f"scenes is {scenes}; expected a multiple of the {self._per_file} of one file")
        if count > len(paths) * self._per_file:
            raise FileNotFoundError(
                f"{folder} holds {len(paths) * self._per_file} scenes, asked for were {count}; "
                "run python -m benchmarks.photographs features again to have the rest"
            )
        read = [self._checked(path, number) for number, path in enumerate(paths[: count // self._per_file])]
        self.scenes: tuple[PhotoScene, ...] = tuple(scene for there, _ in read for scene in there)
        self.digest: str = hashlib.sha256("".join(content for _, content in read).encode()).hexdigest()
        self._files = [safe_open(path, "pt") for path in paths[: len(read)]]

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return features of scenes by number, float16 of shape [B, 256, 384] (IndexError for no such scene)."""
        if any(not 0 <= index < len(self) for index in indices):
            raise IndexError(f"scenes {list(indices)} are asked for; expected 0 to {len(self) - 1}")
        places = [divmod(int(index), self._per_file) for index in indices]
        slices: list[Any] = [file.get_slice(_TENSOR) for file in self._files]  # type: ignore[no-untyped-call, unused-ignore]
        return torch.cat([slices[file][row : row + 1] for file, row in places])

    def _checked(self, path: Path, number: int) -> tuple[tuple[PhotoScene, ...], str]:
        """Return the scenes of a file and the hash of its features."""
        description, features = _read(path)
        with holding(path, _WHAT, _ADVICE):
            check_identity(path, "features", description["identity"], self.identity)
            wanted = (number * self._per_file, self._per_file, self._per_file)
            there = (description["first"], len(description["scenes"]), len(features))
            if there != wanted:
                raise ValueError(f"its first scene, scenes and rows are {there}, expected {wanted}")
            read = tuple(scene_from_json(scene, CLASSES) for scene in description["scenes"])
        return read, hashlib.sha256(features.numpy().data).hexdigest()


def _read(path: Path) -> tuple[_Description, Tensor]:
    """Return what a file holds (DamagedFileError if it is not what was written)."""
    description, tensors = read_tensors(path, _KEY, _WHAT)
    with holding(path, _WHAT, _ADVICE):
        found: _Description = checked("its description", description, _Description)
        features = tensors.get(_TENSOR)
        if features is None or features.dtype != torch.float16 or features.ndim != 3:
            raise ValueError(f"it has no float16 tensor {_TENSOR!r} of three dimensions")
    return found, features


def _path(folder: Path, number: int) -> Path:
    return folder / f"features-{number:05}.safetensors"


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder in order (DamagedFileError if one between them is missing)."""
    there = sorted(folder.glob("features-*.safetensors"))
    for number, path in enumerate(there):
        if path != _path(folder, number):
            missing = _path(folder, number).name
            raise DamagedFileError(
                f"{path} follows a file that is missing, {missing}; delete it and compute both again."
            )
    return there


@contextmanager
def _progress(console: Console, scenes: int) -> Iterator[Callable[[int], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        task = progress.add_task("scenes", total=scenes)

        def report(done: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and done % PER_FILE == 0:
                left = progress.tasks[task].time_remaining
                estimate = "" if left is None else f", about {left / 60:.0f} minutes left"
                console.print(f"{done} of {scenes} scenes{estimate}", highlight=False)

        yield report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where features go, and of which scenes they are."""
    parser.add_argument(
        "--out", type=Path, help=f"folder of the features, 39 MB for {PER_FILE} scenes (FOLDER/features)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=6000, help=f"a multiple of {PER_FILE} (default: 6000)")
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2))
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default="medium")


def run(arguments: argparse.Namespace) -> None:
    """Compute what is missing with the real encoder and stamps; print the hash of all."""
    from .weights import tower  # imports the models, which a refused argument need not wait for

    torch.set_num_threads(arguments.threads)
    parts, folder = found(arguments.folder), arguments.out or arguments.folder / "features"
    model, stamps, console = tower(parts), catalogue(parts.stamps), Console()
    with _progress(console, arguments.scenes) as report:
        digest = write_features(
            folder,
            encoder(model),
            weights_hash(model),
            stamps,
            seed=arguments.seed,
            scenes=arguments.scenes,
            difficulty=arguments.difficulty,
            report=report,
        )
    console.print(f"{arguments.scenes} scenes in {folder}; sha256 {digest}", highlight=False)
