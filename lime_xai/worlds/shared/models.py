"""The accepted models of a world by name, frozen by hash, and the seeds and models kept apart for confirming."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from lime_xai.errors import unknown_name
from lime_xai.storage.store import read_json
from lime_xai.storage.weights import weights_hash

from .world import BUNDLED, World


@dataclass(frozen=True)
class FrozenModel:
    """An accepted model.

    Attributes
    ----------
    seed : int
        Of its training.
    image_cooccurrence : float
        Share of its habit that pictures have taught; 0 in a world that teaches none by them.
    size : str
        Key of ``SIZES``.
    role : str
        ``"tuning"``: settings of policies may be chosen on it; ``"confirmation"``: only measured; ``"cause"``: for
        studies of where a habit comes from.
    sha256 : str
        ``weights_hash`` of the weights as float32.
    """

    seed: int
    image_cooccurrence: float
    size: str
    role: str
    sha256: str


@dataclass(frozen=True)
class Protocol:
    """What was fixed before any policy was tuned.

    Attributes
    ----------
    seeds : mapping of str to tuple of int
        Seeds of scenes by use: ``pilot``, ``acceptance``, ``tuning``, ``confirmation``.
    models : mapping of str to FrozenModel
        By name.
    """

    seeds: Mapping[str, tuple[int, ...]]
    models: Mapping[str, FrozenModel]


class _FrozenModel(TypedDict):
    seed: int
    image_cooccurrence: float
    size: str
    role: str
    sha256: str


class _Protocol(TypedDict):
    seeds: dict[str, list[int]]
    models: dict[str, _FrozenModel]


@cache
def protocol(world: World) -> Protocol:
    """Return what the world's ``protocol.json`` says."""
    return read_protocol(world.folder / "protocol.json")


def read_protocol(path: Path) -> Protocol:
    """Return what a file of a protocol says."""
    data = read_json(path, "the protocol of the world", _Protocol)
    return Protocol(
        seeds={use: tuple(seeds) for use, seeds in data["seeds"].items()},
        models={name: FrozenModel(**entry) for name, entry in data["models"].items()},
    )


def model_folder(world: World, name: str) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    world : World
        Whose model it is.
    name : str
        A name in the protocol, or a path.

    Raises
    ------
    ValueError
        If it is neither.
    FileNotFoundError
        If the weights of a frozen model are not there, as in an installation from a wheel.
    """
    if name == BUNDLED:
        return world.shipped
    models = protocol(world).models
    if name in models:
        if not (folder := world.extra_folder / name).exists():
            raise FileNotFoundError(
                f"the weights of {name!r} are not in the wheel; expected them in {folder}. {world.extra_advice}"
            )
        return folder
    if Path(name).is_dir():
        return Path(name)
    raise unknown_name("model", name, {BUNDLED: None, **models})


def load_frozen(world: World, name: str) -> tuple[Any, Any]:
    """Load a model by name or path; refuse one that is not what was accepted under that name.

    Parameters
    ----------
    world : World
        Whose model it is.
    name : str
        A name in the protocol, or a path.

    Returns
    -------
    (model, processor)
        As ``world.load_model`` returns them.

    Raises
    ------
    ValueError
        If the name is unknown, or the weights of a frozen model have another hash.
    FileNotFoundError
        If there are no weights.
    """
    model, processor = world.load_model(None if name == BUNDLED else model_folder(world, name))
    entry = protocol(world).models.get(name)
    if entry is not None and (found := weights_hash(model)) != entry.sha256:
        raise ValueError(
            f"the weights of {name!r} have SHA-256 {found}, accepted was {entry.sha256}; "
            f"restore them, or give the folder's path to measure them as another model"
        )
    return model, processor


def recipe(world: World, name: str) -> dict[str, Any]:
    """Return the settings a model was trained with, from its ``recipe.json``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = model_folder(world, name) / "recipe.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; training writes it beside the weights")
    return read_json(path, "the recipe of a model, which training writes", world.recipe)
