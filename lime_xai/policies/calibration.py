"""Calibration data: the mean contribution of perception to every logit, and the mean gains that editing chooses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from lime_xai.storage.store import replacing
from lime_xai.storage.weights import weights_hash

_FORMAT = "lime_xai.calibration/2"
_MEAN = "mean_contribution"


@dataclass(frozen=True, eq=False)
class Calibration:
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
    """

    weights: str
    relevance: str
    prompts: int
    steps: int
    mean_contribution: Tensor
    gains: dict[str, Tensor] = field(default_factory=dict)
    settings: str = "{}"
    path: Path | None = None

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
        """
        path = Path(path)
        with replacing(path) as draft:
            save_file(self._tensors(), draft, metadata={"calibration": json.dumps(self._description())})
        return replace(self, path=path)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no calibration.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no calibration at {path}; write one with calibrate(...).save(path).")
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("calibration", "{}"))
            if found.pop("format", None) != _FORMAT:
                raise ValueError(f"{path} is no calibration of lime_xai ({_FORMAT}).")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        mean = tensors.pop(_MEAN)
        gains = {name.removeprefix("gains."): tensor for name, tensor in tensors.items()}
        return cls(**found, mean_contribution=mean, gains=gains, path=path)

    def merged(self, other: Calibration) -> Calibration:
        """Return the calibration over the steps of both.

        Raises
        ------
        ValueError
            If they are of different models, forms or settings, or only one has gains.
        """
        for what in ("weights", "relevance", "settings"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise ValueError(f"Calibrations of different {what} cannot be merged: {mine} and {theirs}.")
        if set(self.gains) != set(other.gains):
            raise ValueError(
                f"Calibrations with gains for {sorted(self.gains)} and for {sorted(other.gains)} cannot be merged."
            )
        total = self.steps + other.steps

        def mean(a: Tensor, b: Tensor) -> Tensor:
            return (a.double() * self.steps + b.double() * other.steps).div(total).float()

        return replace(
            self,
            prompts=self.prompts + other.prompts,
            steps=total,
            mean_contribution=mean(self.mean_contribution, other.mean_contribution),
            gains={name: mean(gain, other.gains[name]) for name, gain in self.gains.items()},
            path=None,
        )

    def check(self, model: Module) -> None:
        """Refuse a model that this was not measured on.

        Raises
        ------
        ValueError
            With both hashes.
        """
        found = weights_hash(model)
        if found != self.weights:
            raise ValueError(
                f"The calibration {self.path or ''} was measured on a model whose weights have SHA-256 "
                f"{self.weights[:12]}, those of this one have {found[:12]}; calibrate this model (in this dtype)."
            )


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
