"""Train projector and adapters: ``python -m benchmarks.photographs train --folder DIR --seed 0 --out DIR``.

Tower and language model are frozen. What is trained is InternVL's projector, first alone (``naming``), and then with it
adapters of low rank on the queries, values and outputs of the language model's attention. The loop is that of the
worlds: deterministic, checkpointed, resumable to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.worlds.optimisation import Checkpoints, Report, run_stage
from benchmarks.worlds.stages import Stage
from benchmarks.worlds.training import reproducible, run_shown
from lime_xai.storage.store import check_identity, write_json
from lime_xai.storage.weights import weights_hash

from .adapters import Adapters, write
from .catalogue import catalogue
from .documents import Batch, Turn, conversation, encode, pack, picture_tokens
from .features import FeatureCache
from .frozen import frozen_in
from .language import PhotoLanguage, language_of, read_priors
from .model import build
from .naming import NamingStage, picture_embeddings, token_names
from .packages import OF_MODEL, Package, found
from .weights import tower

EVERY = 50
"""Steps between two checkpoints."""
PRECISIONS: Final = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class PhotoPlan:
    """Settings of the training.

    Attributes
    ----------
    naming_steps, naming_batch, naming_scenes : int
        Optimiser steps of the first stage, pictures in each, and training scenes that they are drawn from.
    naming_rate : float
        Highest learning rate of the projector there.
    alignment_steps, alignment_batch : int
        Optimiser steps, and pictures in each.
    alignment_projector_rate, alignment_adapter_rate : float
        Highest learning rates.
    alignment_rank : int
        Of the adapters.
    alignment_scenes : int
        Training scenes that the pictures are drawn from.
    alignment_precision : str
        Of products and of frozen weights: ``"bfloat16"`` or ``"float32"``. Trained weights, the residual stream and the
        loss are float32 in both.
    """

    naming_steps: int = 600
    naming_batch: int = 64
    naming_rate: float = 2e-3
    naming_scenes: int = 6000
    alignment_steps: int = 600
    alignment_batch: int = 8
    alignment_projector_rate: float = 5e-4
    alignment_adapter_rate: float = 1e-3
    alignment_rank: int = 8
    alignment_scenes: int = 6000
    alignment_precision: str = "bfloat16"


class PhotoStage(Stage):
    """Projector and adapters learn to say what the frozen tower sees.

    Parameters
    ----------
    model, processor : object
        As ``model.build`` returns them; the adapters are put into the model.
    adapters : Adapters
        Of the model.
    cache : FeatureCache
        Features of the training scenes.
    language : PhotoLanguage
        What is said.
    plan : PhotoPlan
        Settings.
    """

    name = "alignment"
    weight_decay = 0.01

    def __init__(
        self,
        model: Any,
        processor: Any,
        adapters: Adapters,
        cache: FeatureCache,
        language: PhotoLanguage,
        plan: PhotoPlan,
    ) -> None:
        self.whole, self.cache, self.language = model, cache, language
        self.plan: Any = plan  # not a Plan of the worlds; its settings are named in the same way
        self.tokenizer = processor.tokenizer
        self.shown, self.placeholder = self.stand_in(processor)
        self.adapters = adapters
        trained = nn.ParameterList(adapters.parameters())  # the parameters themselves: a checkpoint holds nothing else
        self.model: Any = nn.ModuleDict({"projector": model.model.multi_modal_projector, "adapters": trained})

    def stand_in(self, processor: Any) -> tuple[list[int], int]:
        """Return the tokens that stand for a picture in a document, and the one whose embedding is replaced."""
        return picture_tokens(processor), processor.image_token_id

    def embed(self, features: Tensor) -> Tensor:
        """Return what the projector makes of features."""
        return picture_embeddings(self.whole, features)

    def turns(self, rng: np.random.Generator, scene: Any) -> list[Turn]:
        """Draw the conversation about a scene."""
        return conversation(rng, self.language, scene)

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        return [
            (self.setting("projector_rate"), list(self.model["projector"].parameters())),
            (self.setting("adapter_rate"), list(self.adapters.parameters())),
        ]

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return the weighted mean cross-entropy of answers, and how many yes and no are right."""
        chosen = rng.integers(self.setting("scenes"), size=self.setting("batch")).tolist()
        scenes = [self.cache.scenes[index] for index in chosen]
        turns = [self.turns(rng, scene) for scene in scenes]
        batch = pack([encode(self.tokenizer, self.shown, some) for some in turns], self.tokenizer.pad_token_id)
        features = self.cache.batch(chosen).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.setting("precision") == "bfloat16"):
            logits, wanted = answer_logits(self.whole, batch, self.embed(features), self.placeholder)
        targets, weights = batch.targets[wanted], batch.weights[wanted]
        losses = functional.cross_entropy(logits, targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        return loss, {"loss": loss.item(), "yes/no right": self._closed_accuracy(logits, targets)}

    def _closed_accuracy(self, logits: Tensor, targets: Tensor) -> float:
        yes, no = (self.tokenizer(word)["input_ids"][0] for word in (self.language.yes, self.language.no))
        closed = (targets == yes) | (targets == no)
        return float((logits[closed].argmax(-1) == targets[closed]).float().mean())


def answer_logits(model: Any, batch: Batch, shown: Tensor, placeholder: int) -> tuple[Tensor, Tensor]:
    """Return logits where something is to be said.

    Parameters
    ----------
    model : InternVLForConditionalGeneration or Qwen2AudioForConditionalGeneration
        The model with its adapters.
    batch : Batch
        Documents of B pictures or sounds.
    shown : Tensor
        What tower and projector make of these, shape [B, N, E].
    placeholder : int
        The token whose embeddings it replaces.

    Returns
    -------
    (Tensor, Tensor)
        Logits, float32 of shape [N, V], and the mask [B, T] of the N positions.
    """
    # float32 whatever the weights are: bfloat16 would round the sum of the residual stream after every layer
    embedded = model.get_input_embeddings()(batch.tokens).float()
    embedded = embedded.masked_scatter((batch.tokens == placeholder)[..., None], shown.float())
    hidden = model.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    wanted = batch.weights > 0
    return model.get_output_embeddings()(hidden[wanted]).float(), wanted


@dataclass(frozen=True)
class Kind:
    """What differs between a training on photographs and one on other media.

    Attributes
    ----------
    naming, alignment : type
        The two stages.
    made_of : sequence of Package
        What the model is made of.
    unit : str
        What a training scene is called in errors.
    """

    naming: type[NamingStage] = NamingStage
    alignment: type[PhotoStage] = PhotoStage
    made_of: Sequence[Package] = OF_MODEL
    unit: str = "scenes"


def train(
    out: Path,
    model: Any,
    processor: Any,
    cache: Any,
    names: Tensor,
    language: PhotoLanguage,
    *,
    seed: int = 0,
    threads: int = 2,
    plan: PhotoPlan | None = None,
    every: int = EVERY,
    report: Report = lambda stage, done, steps, shown: None,
    stop_at: int | None = None,
    kind: Kind | None = None,
) -> Path | None:
    """Train, resuming from the checkpoint in ``out``, and write the weights of projector and adapters there.

    Parameters
    ----------
    out : Path
        Gets ``checkpoints/`` and, at the end, ``weights.safetensors`` (float16) and ``recipe.json``.
    model, processor : object
        As ``model.build`` returns them for this seed; the model is trained in place.
    cache : FeatureCache
        Features of the training scenes, or what has its ``scenes``, ``batch``, ``digest`` and length.
    names : Tensor
        What their image tokens show, ``naming.token_names`` of each: int64 of shape [scenes, 64].
    language : PhotoLanguage
        What is said.
    seed : int
        Of adapters and data; one seed and thread count give one result on one machine.
    threads : int
        CPU threads.
    plan : PhotoPlan, optional
        Settings.
    every : int
        Steps between two checkpoints.
    report : callable
        Progress, after each step.
    stop_at : int, optional
        Leave after this many steps of a stage that is not complete, as an interruption would.
    kind : Kind, optional
        By default that of photographs.

    Returns
    -------
    Path or None
        The file of weights; None if stopped before.

    Raises
    ------
    ValueError
        If there are fewer scenes than the plan wants, names and features are of another number of scenes, the precision
        is none of those that there are, or ``out`` holds checkpoints of other settings.
    """
    plan, kind = plan or PhotoPlan(), kind or Kind()
    if plan.alignment_precision not in PRECISIONS:
        raise ValueError(f"the precision is {plan.alignment_precision!r}; expected one of {', '.join(PRECISIONS)}")
    wanted = max(plan.naming_scenes, plan.alignment_scenes)
    if len(cache) < wanted:
        raise ValueError(f"the features are of {len(cache)} {kind.unit}; the plan draws from {wanted}")
    if len(names) != len(cache):
        raise ValueError(
            f"the names are of {len(names)} {kind.unit}, and the features of {len(cache)}; give those of the same"
        )
    recipe = {**asdict(plan), "seed": seed, "threads": threads}
    # features and names decide what is learnt as much as the settings do
    named = hashlib.sha256(names.numpy().data).hexdigest()
    settings = {
        **recipe,
        "naming_features": cache.digest,
        "naming_names": named,
        "alignment_features": cache.digest,
    }
    adapters = Adapters(model, plan.alignment_rank, seed)
    naming = kind.naming(model, processor, cache, names, language, plan)
    stage = kind.alignment(model, processor, adapters, cache, language, plan)
    checkpoints = Checkpoints(out / "checkpoints", every, settings, (naming.name, stage.name))
    if not _both_stages(naming, stage, seed, threads, checkpoints, report, stop_at):
        return None
    path = out / "weights.safetensors"
    write(path, model, adapters, recipe, kind.made_of)
    write_json(out / "recipe.json", settings)
    return path


def _both_stages(
    naming: NamingStage, stage: PhotoStage, seed: int, threads: int, kept: Checkpoints, report: Report, stop: int | None
) -> bool:
    """Train both stages; everything but projector and adapters is frozen. Return whether they are complete."""
    model: nn.Module = stage.whole
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for _, parameters in stage.parameters():
        for parameter in parameters:
            parameter.requires_grad_(True)
    with reproducible(threads):
        if not run_stage(naming, seed, kept, report, stop):
            return False
        with frozen_in(model, PRECISIONS[stage.setting("precision")]):
            return run_stage(stage, seed, kept, report, stop)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and the trained weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=PhotoPlan.alignment_steps, help="of the second stage, alignment")
    parser.add_argument("--scenes", type=int, default=PhotoPlan.alignment_scenes)
    told = "of products; processors without instructions for bfloat16 are faster with float32 (other weights result)"
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default=PhotoPlan.alignment_precision, help=told)


def run(arguments: argparse.Namespace) -> None:
    """Train one model, with progress; print where its weights are and the CPU time spent."""
    plan = PhotoPlan(
        alignment_steps=arguments.steps,
        alignment_scenes=arguments.scenes,
        naming_scenes=arguments.scenes,
        alignment_precision=arguments.precision,
    )
    cache = FeatureCache(arguments.folder / "features", plan.alignment_scenes)
    parts = found(arguments.folder)
    stamps = catalogue(parts.stamps)
    wanted = {"catalogue": stamps.digest, "weights": weights_hash(tower(parts))}
    check_identity(arguments.folder / "features", "features", cache.identity, wanted)
    names = torch.from_numpy(np.stack([token_names(scene, stamps) for scene in cache.scenes]))
    model, processor = build(parts, arguments.seed)
    given = (model, processor, cache, names, language_of(read_priors()))
    run_shown(train, [NamingStage.name, PhotoStage.name], arguments, plan, *given)
