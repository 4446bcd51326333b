"""Calibration data: the mean contribution of perception to every logit, and the mean gains that editing chooses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.model.modalities import Modalities
from lime_xai.model.records import ShortRepr
from lime_xai.storage.store import holding, read_tensors, write_tensors
from lime_xai.storage.weights import weights_hash
from lime_xai.stream.contributions import RelevanceForm
from lime_xai.values.checking import Natural, check_fields, checked, shown

_FORMAT = "lime_xai.calibration/2"
_MEAN = "mean_contribution"
_KEY = "calibration"


class _Later(TypedDict, total=False):
    """What older files do not hold."""

    modalities: Modalities


class _Description(_Later):
    weights: str
    relevance: RelevanceForm
    prompts: Natural
    steps: Natural
    settings: str


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(ShortRepr):
    """Averages over the decoding steps of unlabelled prompts.

    Attributes
    ----------
    weights : str
        Hash of the model's weights, from ``lime_xai.storage.weights.weights_hash``.
    relevance : {"direct", "full"}
        Form of the contributions.
    prompts, steps : int
        What was averaged over; ``steps`` counts rows that had not ended.
    mean_contribution : Tensor
        ``[V]`` float32: mean contribution of perceptual tokens to each logit.
    gains : dict of str to Tensor
        ``[L, Hkv]`` float32 per modality: mean gain that editing chose; empty if gains were not measured.
    settings : str
        How it was measured, as JSON: most tokens per prompt, and the edit.
    path : Path or None
        File it was read from or written to.
    modalities : tuple of str or None
        Whose contributions were averaged; None: those of all modalities of the prompts.

    Raises
    ------
    ValueError
        For tensors of another shape, or with numbers that are not finite.
    TypeError
        For values of another type.
    """

    weights: str
    relevance: RelevanceForm
    prompts: Natural
    steps: Natural
    mean_contribution: Tensor
    gains: dict[str, Tensor] = field(default_factory=dict)
    settings: str = "{}"
    path: Path | None = None
    modalities: Modalities = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check_finite(_MEAN, self.mean_contribution, 1)
        for name, gain in self.gains.items():
            _check_finite(f"gains[{name!r}]", gain, 2)

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        found = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        for _, tensor in sorted(self._tensors().items()):
            found.update(tensor.numpy().tobytes())
        return found.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _description(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "weights": self.weights,
            "relevance": self.relevance,
            "prompts": self.prompts,
            "steps": self.steps,
            "settings": self.settings,
            **({} if self.modalities is None else {"modalities": list(self.modalities)}),
        }

    def _tensors(self) -> dict[str, Tensor]:
        gains = {f"gains.{name}": gain for name, gain in self.gains.items()}
        return {
            name: t.detach().cpu().float().contiguous() for name, t in {_MEAN: self.mean_contribution, **gains}.items()
        }

    def save(self, path: str | Path) -> Calibration:
        """Write a safetensors file and return the calibration with its path.

        Parameters
        ----------
        path : str or Path
            Replaced whole: an interruption leaves the old file.

        Raises
        ------
        ValueError
            If there is no such folder.
        """
        write_tensors(path, self._tensors(), _KEY, self._description())
        return replace(self, path=Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no calibration, or damaged.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"There is no calibration at {path}; write one with calibrate(...).save(path).")
        what = f"a calibration of lime_xai ({_FORMAT})"
        found, tensors = read_tensors(path, _KEY, what)
        with holding(path, what, "calibrate again"):
            if found.pop("format", None) != _FORMAT:
                raise ValueError("it has another format")
            checked("its description", found, _Description)
            if _MEAN not in tensors:
                raise ValueError(f"it lacks {_MEAN}")
            mean = tensors.pop(_MEAN)
            gains = {name.removeprefix("gains."): tensor for name, tensor in tensors.items()}
            return cls(**found, mean_contribution=mean, gains=gains, path=path)

    def merged(self, other: Calibration) -> Calibration:
        """Return the calibration over the steps of both.

        Raises
        ------
        ValueError
            If they are of different models, forms, settings or sizes, or only one has gains.
        TypeError
            If the other is no calibration.
        """
        if not isinstance(other, Calibration):
            raise TypeError(f"other is {shown(other)}; expected a Calibration.")
        for what in ("weights", "relevance", "settings", "modalities"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise ValueError(f"Calibrations of different {what} cannot be merged: {mine} and {theirs}.")
        if set(self.gains) != set(other.gains):
            raise ValueError(
                f"Calibrations with gains for {sorted(self.gains)} and for {sorted(other.gains)} cannot be merged."
            )
        for name, tensor in self._tensors().items():
            theirs = other._tensors()[name].shape
            if tensor.shape != theirs:
                raise ValueError(
                    f"Calibrations with {name} of shapes {tuple(tensor.shape)} and {tuple(theirs)} cannot be merged."
                )
        total = self.steps + other.steps

        def mean(a: Tensor, b: Tensor) -> Tensor:
            return (a.double() * self.steps + b.double() * other.steps).div(max(total, 1)).float()

        return replace(
            self,
            prompts=self.prompts + other.prompts,
            steps=total,
            mean_contribution=mean(self.mean_contribution, other.mean_contribution),
            gains={name: mean(gain, other.gains[name]) for name, gain in self.gains.items()},
            path=None,
        )

    def check(self, model: PreTrainedModel) -> None:
        """Refuse a model that this was not measured on.

        Raises
        ------
        ValueError
            With both hashes, or both sizes.
        """
        found = weights_hash(model)
        if found != self.weights:
            raise ValueError(
                f"The calibration {self.path or ''} was measured on a model whose weights have SHA-256 "
                f"{self.weights[:12]}, those of this one have {found[:12]}; calibrate this model (in this dtype)."
            )
        config = model.config.get_text_config()
        head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        entries = int(getattr(head, "out_features", config.vocab_size))
        layers = {gain.shape[0] for gain in self.gains.values()} - {config.num_hidden_layers}
        if len(self.mean_contribution) != entries or layers:
            raise ValueError(
                f"The calibration {self.path or ''} has {len(self.mean_contribution)} logits"
                f"{f' and gains of {layers} layers' if layers else ''}, the model {entries} and "
                f"{config.num_hidden_layers} layers; calibrate this model."
            )


def _check_finite(name: str, tensor: Tensor, dimensions: int) -> None:
    if tensor.dim() != dimensions or not tensor.is_floating_point():
        raise ValueError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; expected floating-point numbers in "
            f"{dimensions} dimensions."
        )
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers.")


def as_json(calibration: Calibration | None) -> str | None:
    """Return what names a calibration in the JSON of a policy: its file, or its digest if it was never saved."""
    if calibration is None:
        return None
    return str(calibration.path) if calibration.path else f"sha256:{calibration.digest}"


def from_json(value: str) -> Calibration:
    """Return the calibration that ``as_json`` named.

    Raises
    ------
    ValueError
        If it was never saved.
    """
    if value.startswith("sha256:"):
        raise ValueError(f"The calibration {value[:19]} was never saved; measure or load it and give it to the policy.")
    return Calibration.load(value)
