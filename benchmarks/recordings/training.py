"""Train projector and adapters: ``python -m benchmarks.recordings train --out DIR``.

Encoder and language model are frozen. The two stages and their loop are those of ``benchmarks.photographs.training``:
first the projector learns to give each audio token the embedding of the name of what is loudest in it, without the
language model; then projector and adapters learn captions and closed questions through it. What the encoder makes of
the training clips is computed once, and kept in the folder of the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.photographs.documents import Turn, caption_turn, closed_turns
from benchmarks.photographs.language import PhotoLanguage
from benchmarks.photographs.naming import NamingStage
from benchmarks.photographs.packages import OF_HEARING, OF_RECORDINGS, found
from benchmarks.photographs.training import PRECISIONS, Kind, PhotoPlan, PhotoStage
from benchmarks.photographs.training import train as train_stages
from benchmarks.worlds.training import run_shown
from lime_xai.storage.store import check_identity, holding, read_tensors, write_tensors
from lime_xai.storage.weights import weights_hash
from lime_xai.values.checking import checked

from .catalogue import RATE, Recordings, recordings
from .clips import RecordedClip, clips_of, loudest
from .language import language_of, read_priors
from .model import MARK, build, clip_embeddings

EVERY: Final = 10
"""Steps between two checkpoints."""
BATCH: Final = 20
"""Clips that the encoder hears at once."""
_STREAM: Final = 29
"""Sets training clips apart from those of evaluation sets with the same seed."""
_KEY, _WHAT = "recordings", "features of recordings, written by python -m benchmarks.recordings train"


@dataclass(frozen=True)
class HearingPlan(PhotoPlan):
    """Settings of the training, with the names of ``PhotoPlan``; scenes are clips."""

    naming_steps: int = 400
    naming_batch: int = 32
    naming_rate: float = 3e-3
    naming_scenes: int = 1000
    alignment_steps: int = 100
    alignment_batch: int = 4
    alignment_adapter_rate: float = 2e-3
    alignment_scenes: int = 1000


class _Identity(TypedDict):
    """What features are of."""

    seed: int
    clips: int
    recordings: str
    encoder: str


class _Description(TypedDict):
    """What a file of features says of itself."""

    identity: _Identity


class ClipCache:
    """Training clips and what the encoder makes of them.

    Parameters
    ----------
    recorded : Recordings
        What is mixed.
    seed, clips : int, int
        Which clips.
    features : Tensor
        Float16 of shape [clips, T, D].
    """

    def __init__(self, recorded: Recordings, seed: int, clips: int, features: Tensor) -> None:
        self.scenes = tuple(clips_of((_STREAM, seed, index), recorded)[0] for index in range(clips))
        self.features, self.digest = features, f"{recorded.digest} {seed} {clips}"

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return features of clips by number."""
        return self.features[list(indices)]


def cached(
    path: Path,
    model: Any,
    processor: Any,
    recorded: Recordings,
    seed: int,
    clips: int,
    report: Callable[[int], None] = lambda done: None,
) -> ClipCache:
    """Return training clips with their features, from a file if it is there; else compute and write it.

    Raises
    ------
    ValueError
        If the file is of other clips or another encoder.
    """
    encoder = model.model.audio_tower
    wanted = _Identity(seed=seed, clips=clips, recordings=recorded.digest, encoder=weights_hash(encoder))
    if not path.exists():
        made = []
        for first in range(0, clips, BATCH):
            heard = [clips_of((_STREAM, seed, at), recorded)[1] for at in range(first, min(first + BATCH, clips))]
            made.append(features_of(encoder, processor, heard).half())
            report(first + len(heard))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"features": torch.cat(made)}, _KEY, {"identity": wanted})
    described, tensors = read_tensors(path, _KEY, _WHAT)
    with holding(path, _WHAT, "delete it, and train again"):
        there: _Description = checked("its description", described, _Description)
        features = tensors["features"]
    check_identity(path, "features", there["identity"], wanted)
    return ClipCache(recorded, seed, clips, features)


@torch.no_grad()
def features_of(encoder: Any, processor: Any, heard: Sequence[Any]) -> Tensor:
    """Return what the encoder makes of clips, float32 of shape [B, T, D]."""
    options = {"sampling_rate": RATE, "return_tensors": "pt", "padding": "max_length"}
    found: Tensor = encoder(processor.feature_extractor(list(heard), **options).input_features).last_hidden_state
    return found


class HearingNames(NamingStage):
    """The projector learns names of what is loudest in each audio token; the rest is silence."""

    rest = "silence"

    def embed(self, features: Tensor) -> Tensor:
        """Return what the projector makes of features."""
        return clip_embeddings(self.whole, features)


class HearingStage(PhotoStage):
    """Projector and adapters learn to say what the frozen encoder hears."""

    cache: Any

    def embed(self, features: Tensor) -> Tensor:
        """Return what the projector makes of features."""
        return clip_embeddings(self.whole, features)

    def stand_in(self, processor: Any) -> tuple[list[int], int]:
        """Return the tokens that stand for a clip in a document, and the one whose embedding is replaced."""
        one = processor.audio_token
        text = MARK.replace(one, one * self.cache.features.shape[1])
        return processor.tokenizer(text, add_special_tokens=False)["input_ids"], processor.audio_token_id

    def turns(self, rng: np.random.Generator, scene: RecordedClip) -> list[Turn]:
        """Draw a caption, or as many closed questions as there are recordings in the clip and one more."""
        if rng.random() < 0.5:
            return [caption_turn(rng, self.language, scene)]
        return closed_turns(rng, self.language, scene, len(scene.present) + 1)


RECORDINGS: Final = Kind(HearingNames, HearingStage, OF_HEARING, "clips")
"""What differs from a training on photographs."""


def train(
    out: Path, model: Any, processor: Any, cache: ClipCache, names: Tensor, language: PhotoLanguage, **options: Any
) -> Path | None:
    """Train, resuming from the checkpoint in ``out``; ``benchmarks.photographs.training.train`` has the parameters.

    Parameters
    ----------
    out, model, processor, language, options : object
        As there; the plan is a ``HearingPlan``, and a checkpoint is written every ``EVERY`` steps.
    cache : ClipCache
        Training clips.
    names : Tensor
        ``clips.loudest`` of each, int64 of shape [clips, T].

    Returns
    -------
    Path or None
        The file of weights; None if stopped before.

    Raises
    ------
    ValueError
        As there.
    """
    settings = {"threads": 1, "plan": HearingPlan(), "every": EVERY, **options}
    return train_stages(out, model, processor, cache, names, language, kind=RECORDINGS, **settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, required=True, help="folder of features, checkpoints and trained weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", type=int, default=HearingPlan.alignment_scenes)
    parser.add_argument("--steps", type=int, default=HearingPlan.alignment_steps, help="of the second stage")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default=HearingPlan.alignment_precision)


def run(arguments: argparse.Namespace) -> None:
    """Train one model, with progress; print where its weights are and the CPU time spent."""
    torch.set_num_threads(arguments.threads)
    parts, clips = found(arguments.folder, OF_RECORDINGS), arguments.clips
    plan = HearingPlan(
        alignment_steps=arguments.steps,
        alignment_scenes=clips,
        naming_scenes=clips,
        alignment_precision=arguments.precision,
    )
    recorded = recordings(parts.stamps)
    model, processor = build(parts, arguments.seed)
    with Console().status("features"):
        cache = cached(arguments.out / "features.safetensors", model, processor, recorded, arguments.seed, clips)
    names = torch.from_numpy(np.stack([loudest(clip, recorded) for clip in cache.scenes]))
    given = (model, processor, cache, names, language_of(read_priors()))
    run_shown(train, [HearingNames.name, HearingStage.name], arguments, plan, *given)
