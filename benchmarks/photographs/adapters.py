"""What is trained: the projector, and low-rank changes of the language model's attention; one small file holds both.

An adapter changes a linear map W to W + 2 B A, where A and B have few rows and columns (LoRA, arXiv 2106.09685). The
package peft does this too; forty lines do without what it needs, and its files hold no projector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from lime_xai.storage.store import DamagedFileError, holding, read_tensors, write_tensors
from lime_xai.values.checking import checked

from .packages import OF_MODEL, Package

TARGETS = ("q_proj", "v_proj", "o_proj")
"""Linear maps of every attention of the decoder that have an adapter."""
SCALE = 2.0
"""Factor of B A."""
MOST_BYTES = 12_000_000
"""Of the weights in a file; the repository holds the files."""
_KEY = "photographs"
_WHAT = "weights of a model of photographs, as benchmarks.photographs writes them"


class LowRank(nn.Module):
    """A linear map with an adapter: y = W x + b + 2 B A x.

    Parameters
    ----------
    linear : Linear
        W and b.
    rank : int
        Rows of A and columns of B.
    generator : torch.Generator
        Of A, whose entries have variance 1 / inputs; B begins with zeros, so that nothing changes at first.
    """

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        drawn = torch.randn(rank, linear.in_features, generator=generator) / linear.in_features**0.5
        self.down = nn.Parameter(drawn.to(linear.weight))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, shape [..., outputs]."""
        outputs: Tensor = self.linear(inputs) + SCALE * ((inputs @ self.down.T) @ self.up.T)
        return outputs

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the linear map with the adapter in its weights.

        The sum is taken in float64 and rounded once: in float32 its last bits would depend on the processor's order of
        summation, and so would the hash by which an assembled model is known.
        """
        change = SCALE * (self.up.double() @ self.down.double())
        self.linear.weight.copy_(self.linear.weight.double() + change)
        return self.linear


class Adapters:
    """Adapters in every layer of a model's decoder, from their making to ``merge``.

    Parameters
    ----------
    model : InternVLForConditionalGeneration or Qwen2AudioForConditionalGeneration
        Gets them in place of linear maps; which weights are trained is left to the caller.
    rank : int
        Of each adapter.
    seed : int
        Of their weights.

    Raises
    ------
    ValueError
        If the rank is less than one, or the model has adapters.
    """

    def __init__(self, model: Any, rank: int, seed: int) -> None:
        if rank < 1:
            raise ValueError(f"rank is {rank}; expected at least one.")
        generator = torch.Generator().manual_seed(seed)
        places = list(_places(model))
        if any(isinstance(getattr(parent, name), LowRank) for _, parent, name in places):
            raise ValueError("The model has adapters already; merge them first.")
        self.rank = rank
        self._modules: dict[str, tuple[nn.Module, str, LowRank]] = {}
        for title, parent, name in places:
            adapter = LowRank(getattr(parent, name), rank, generator)
            setattr(parent, name, adapter)
            self._modules[title] = parent, name, adapter

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained."""
        for _, _, adapter in self._modules.values():
            yield adapter.down
            yield adapter.up

    def state(self) -> dict[str, Tensor]:
        """Return the weights by name, ``"3.q_proj.down"`` for example; they are not copied."""
        return {
            f"{title}.{side}": getattr(adapter, side).detach()
            for title, (_, _, adapter) in self._modules.items()
            for side in ("down", "up")
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take weights that ``state`` returned.

        Raises
        ------
        ValueError
            If names or shapes differ; nothing is changed then.
        """
        own = self.state()
        check_shapes("adapters", {name: tensor.shape for name, tensor in own.items()}, state)
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def merge(self) -> None:
        """Put the adapters into the weights of the model, which then has none."""
        for parent, name, adapter in self._modules.values():
            setattr(parent, name, adapter.merged())
        self._modules = {}


def _places(model: Any) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield the title, the attention module and the attribute of each linear map that gets an adapter."""
    for index, layer in enumerate(model.model.language_model.layers):
        for name in TARGETS:
            yield f"{index}.{name}", layer.self_attn, name


def check_shapes(what: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
    """Refuse weights of other names or shapes than expected.

    Raises
    ------
    ValueError
        Naming the first that differ.
    """
    for kind, names in (
        ("lack", expected.keys() - found.keys()),
        ("have no place for", found.keys() - expected.keys()),
    ):
        if names:
            raise ValueError(f"the {what} {kind} {', '.join(sorted(names)[:4])} ({len(names)} in all)")
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} of the {what} is {list(found[name].shape)}, expected {list(shape)}")


class _Description(TypedDict):
    """What a file says of its weights."""

    rank: int
    parts: dict[str, str]
    about: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What training changed of one model.

    Attributes
    ----------
    projector, adapters : mapping of str to Tensor
        Weights by name.
    rank : int
        Of the adapters.
    about : mapping
        How they were made: seed, steps, whatever training says; JSON-ready.
    path : Path
        The file that they were read from; errors name it.
    """

    projector: Mapping[str, Tensor]
    adapters: Mapping[str, Tensor]
    rank: int
    about: Mapping[str, Any]
    path: Path

    def put_into(self, model: Any) -> None:
        """Give a model these weights; the adapters are merged.

        Raises
        ------
        DamagedFileError
            If they are of another model; it is left as it was.
        """
        projector: nn.Module = model.model.multi_modal_projector
        expected = {name: one.shape for name, one in projector.state_dict().items()}
        with holding(self.path, "trained weights of this model", "give another file"):
            check_shapes("projector", expected, self.projector)
            added = Adapters(model, self.rank, 0)
            try:
                added.load(self.adapters)
            finally:
                added.merge()  # changes nothing if they were not loaded
        projector.load_state_dict(dict(self.projector))


def write(
    path: Path,
    model: Any,
    adapters: Adapters,
    about: Mapping[str, Any],
    made_of: Sequence[Package] = OF_MODEL,
) -> None:
    """Write what was trained as float16, whole.

    Parameters
    ----------
    path : Path
        A safetensors file.
    model : InternVLForConditionalGeneration or Qwen2AudioForConditionalGeneration
        Whose projector is written.
    adapters : Adapters
        Of the same model, not merged.
    about : mapping
        How they were made; JSON-ready.
    made_of : sequence of Package
        What the model is made of; the file holds their hashes.

    Raises
    ------
    ValueError
        If the weights take more than ``MOST_BYTES``, or one is not finite as float16.
    """
    exact = {f"projector.{name}": one for name, one in model.model.multi_modal_projector.state_dict().items()}
    exact |= {f"adapters.{name}": one for name, one in adapters.state().items()}
    tensors = {name: one.to(torch.float16) for name, one in exact.items()}
    size = sum(2 * math.prod(one.shape) for one in tensors.values())
    if size > MOST_BYTES:
        raise ValueError(f"The weights take {size} bytes, at most {MOST_BYTES}: choose a rank below {adapters.rank}.")
    wrong = [name for name, one in tensors.items() if not bool(one.isfinite().all())]
    if wrong:
        raise ValueError(f"{wrong[0]} has values that are not finite as float16; has training diverged?")
    described: _Description = {"rank": adapters.rank, "parts": _hashes(made_of), "about": dict(about)}
    write_tensors(path, tensors, _KEY, described)


def read(path: Path, made_of: Sequence[Package] = OF_MODEL) -> Trained:
    """Return what was trained of a model made of these packages, float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is another file, is damaged, or belongs to other versions of the parts.
    """
    described, tensors = read_tensors(path, _KEY, _WHAT)
    with holding(path, _WHAT, "write it again, or give another file"):
        found = checked("its description", described, _Description)
        groups: dict[str, dict[str, Tensor]] = {"projector": {}, "adapters": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            if group not in groups or tensor.dtype != torch.float16:
                raise ValueError(f"there is a {name} of {tensor.dtype}")
            groups[group][rest] = tensor.float()
    if found["parts"] != _hashes(made_of):
        raise DamagedFileError(
            f"{path} was trained with parts of SHA-256 {found['parts']}, and these are {_hashes(made_of)}; train again."
        )
    return Trained(groups["projector"], groups["adapters"], found["rank"], found["about"], path)


def _hashes(made_of: Sequence[Package]) -> dict[str, str]:
    """Return the hash of each part of which a model is made."""
    return {one.name: digest for one in made_of for digest in one.used.values()}
