"""The first stage of training: the projector gives each image token the embedding of the name of what it shows.

The language model is not run. It reads image tokens as it reads words, so that a token which shows a dog should lie
near the embedding of " dog".

1. An image token shows the object that has more of its pixels than any other one, if it has at least the share
   ``LEAST`` of them; otherwise it shows the background, which has a name too.
2. The projector's output x of a token is compared with the embedding e_k of every name k, both less the mean m of all
   these embeddings: s_k = ``SHARPNESS`` cos(x - m, e_k - m).
3. The loss is the cross-entropy of softmax(s) and the name, and ``NEARNESS`` times |x - e|^2 over the mean of |e_k|^2.
   Most tokens show the background; there the cross-entropy weighs ``BACKGROUND_WEIGHT``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.worlds.stages import Stage

from .catalogue import CLASSES, Catalogue
from .features import FeatureCache
from .language import PhotoLanguage, single_tokens
from .placed import PhotoScene
from .scenes import GRID, TOKEN_SIDE, masks

BACKGROUND: Final = "background"
LEAST: Final = 0.25
SHARPNESS: Final = 20.0
NEARNESS: Final = 0.5
BACKGROUND_WEIGHT: Final = 0.25


def token_names(scene: PhotoScene, stamps: Catalogue) -> NDArray[np.int64]:
    """Return what each image token shows: the index of a class, or ``len(CLASSES)`` for the background; shape [64]."""
    shown = masks(scene, stamps)
    count = len(shown)
    shares = shown.reshape(count, GRID, TOKEN_SIDE, GRID, TOKEN_SIDE).mean((2, 4)).reshape(count, -1)
    classes = np.asarray(scene.present, np.int64)[shares.argmax(0)]
    return np.where(shares.max(0) >= LEAST, classes, len(CLASSES))


def picture_embeddings(model: Any, features: Tensor) -> Tensor:
    """Return what the projector makes of the tower's features.

    Parameters
    ----------
    model : InternVLForConditionalGeneration
        Whose projector is used.
    features : Tensor
        Float32 of shape [B, 256, D].

    Returns
    -------
    Tensor
        Shape [B, 64, E], in the precision that the projector computes in.
    """
    inner = model.model
    side = int(features.shape[1] ** 0.5)
    grid = features.reshape(len(features), side, side, -1)
    shuffled = inner.pixel_shuffle(grid, scale_factor=model.config.downsample_ratio)
    made: Tensor = inner.multi_modal_projector(shuffled.flatten(1, 2))
    return made


class NamingStage(Stage):
    """The projector learns names.

    Parameters
    ----------
    model, processor : object
        As ``model.build`` returns them.
    cache : FeatureCache
        Features of the training scenes.
    names : Tensor
        What their image tokens show, ``token_names`` of each: int64 of shape [scenes, 64].
    language : PhotoLanguage
        The names.
    plan : object
        Settings that begin with ``naming_``.
    """

    name = "naming"
    weight_decay = 0.05
    rest: ClassVar[str] = BACKGROUND
    """Name of what tokens show that show nothing with a name."""

    def __init__(
        self, model: Any, processor: Any, cache: FeatureCache, names: Tensor, language: PhotoLanguage, plan: Any
    ) -> None:
        self.whole, self.cache, self.names, self.plan = model, cache, names, plan
        self.model: Any = nn.ModuleDict({"projector": model.model.multi_modal_projector})
        said = [f" {name}" for name in (*language.classes, self.rest)]
        ids = single_tokens(processor.tokenizer, said)
        self.embeddings = model.get_input_embeddings().weight[ids].detach().float()

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return the projector's parameters with their highest learning rate."""
        return [(self.setting("rate"), list(self.model["projector"].parameters()))]

    def embed(self, features: Tensor) -> Tensor:
        """Return what the projector makes of features."""
        return picture_embeddings(self.whole, features)

    def scores(self, embedded: Tensor) -> Tensor:
        """Return s_k of embeddings [..., E] for the classes and the background: shape [..., classes + 1]."""
        mean = self.embeddings.mean(0)
        one, others = (functional.normalize(some - mean, dim=-1) for some in (embedded, self.embeddings))
        return SHARPNESS * one @ others.T

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch of scenes; return the loss, and how many tokens that show an object are named rightly."""
        chosen = rng.integers(self.setting("scenes"), size=self.setting("batch")).tolist()
        embedded, names = self.embed(self.cache.batch(chosen).float()), self.names[chosen]
        scores = self.scores(embedded)
        weights = torch.ones(len(self.embeddings))
        weights[-1] = BACKGROUND_WEIGHT
        named = functional.cross_entropy(scores.flatten(0, 1), names.flatten(), weight=weights)
        size = self.embeddings.square().sum(-1).mean()
        near = (embedded - self.embeddings[names]).square().sum(-1).mean() / size
        loss = named + NEARNESS * near
        objects = names < len(self.embeddings) - 1
        right = (scores.argmax(-1) == names)[objects].float().mean()
        return loss, {"loss": loss.item(), "objects' tokens right": right.item()}
