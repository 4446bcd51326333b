"""What a model's logits owe to perception on average, and which gains editing chooses on average."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

SAMPLED = 256
"""Values of each parameter that enter the fingerprint of a model."""

_FORMAT = "lime_xai.calibration/1"


def sampled_places(count: int) -> Tensor:
    """Return ``SAMPLED`` evenly spaced places among ``count``, the first and the last included; integers throughout."""
    return torch.arange(SAMPLED) * (count - 1) // (SAMPLED - 1)


def model_fingerprint(model: Module) -> str:
    """Return the SHA-256 over names, shapes and evenly spaced values of all parameters.

    Values are those of the model as it is loaded: another dtype is another model.

    Parameters
    ----------
    model : Module
        Any model whose weights are in memory.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        if flat.numel():
            places = sampled_places(flat.numel()).to(flat.device)
            digest.update(flat[places].to("cpu", torch.float64).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Calibration:
    """Averages over the decoding steps of unlabelled prompts.

    Attributes
    ----------
    fingerprint : str
        Of the model, from ``model_fingerprint``.
    relevance : str
        Form of the stream that measured the baseline: ``slot`` or ``input``.
    prompts, steps : int
        What was averaged over; ``steps`` counts rows that had not ended.
    baseline : Tensor
        ``[V]`` float32: mean part of each logit that is owed to perception.
    gains : dict of str to Tensor
        ``[L, Hkv]`` float32 per modality: mean gain that editing chose; empty if it was not asked.
    settings : str
        How it was measured, as JSON: most tokens per prompt, and the edit.
    path : Path or None
        File it was read from or written to.
    """

    fingerprint: str
    relevance: str
    prompts: int
    steps: int
    baseline: Tensor
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
            "fingerprint": self.fingerprint,
            "relevance": self.relevance,
            "prompts": self.prompts,
            "steps": self.steps,
            "settings": self.settings,
        }

    def _tensors(self) -> dict[str, Tensor]:
        gains = {f"gains.{name}": gain for name, gain in self.gains.items()}
        return {name: t.detach().cpu().float().contiguous() for name, t in {"baseline": self.baseline, **gains}.items()}

    def save(self, path: str | Path) -> Calibration:
        """Write a safetensors file; return the calibration that knows it.

        Parameters
        ----------
        path : str or Path
            Replaced whole: an interruption leaves the old file.
        """
        path = Path(path)
        draft = path.with_name(f"{path.name}.draft")
        save_file(self._tensors(), draft, metadata={"calibration": json.dumps(self._description())})
        draft.replace(path)
        return Calibration(**{**vars(self), "path": path})

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
        baseline = tensors.pop("baseline")
        gains = {name.removeprefix("gains."): tensor for name, tensor in tensors.items()}
        return cls(**found, baseline=baseline, gains=gains, path=path)

    def merged(self, other: Calibration) -> Calibration:
        """Return the calibration over the steps of both.

        Raises
        ------
        ValueError
            If they are of different models, forms or settings, or only one has gains.
        """
        for what in ("fingerprint", "relevance", "settings"):
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

        return Calibration(
            self.fingerprint,
            self.relevance,
            self.prompts + other.prompts,
            total,
            mean(self.baseline, other.baseline),
            {name: mean(gain, other.gains[name]) for name, gain in self.gains.items()},
            self.settings,
        )

    def check(self, model: Module) -> None:
        """Refuse a model that this was not measured on.

        Raises
        ------
        ValueError
            With both fingerprints.
        """
        found = model_fingerprint(model)
        if found != self.fingerprint:
            raise ValueError(
                f"The calibration {self.path or ''} was measured on a model with fingerprint {self.fingerprint[:12]}, "
                f"this one has {found[:12]}; calibrate this model (in this dtype)."
            )


def as_json(calibration: Calibration | None) -> str | None:
    """Return what names a calibration in the JSON of a policy: its file, or its digest if it was never saved."""
    if calibration is None:
        return None
    return str(calibration.path) if calibration.path else f"sha256:{calibration.digest}"


def from_json(value: str | None) -> Calibration | None:
    """Return the calibration that ``as_json`` named.

    Raises
    ------
    ValueError
        If it was never saved.
    """
    if isinstance(value, str) and value.startswith("sha256:"):
        raise ValueError(f"The calibration {value[:19]} was never saved; measure or load it and give it to the policy.")
    return None if value is None else Calibration.load(value)
