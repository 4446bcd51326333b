"""Embedded worlds: generators, evaluation sets and tiny bundled models on which policies can be measured."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from lime_xai.errors import unknown_name

from . import scene, sound
from .shared.world import World

__all__ = ["WORLDS", "World", "bundled_model", "example", "load_world", "register_world"]

_WORLDS: Final[dict[str, World]] = {world.name: world for world in (scene.WORLD, sound.WORLD)}
WORLDS: Final[Mapping[str, World]] = MappingProxyType(_WORLDS)
"""The worlds by name."""


def register_world(world: World) -> None:
    """Make a world of one's own known to everything that takes a world's name.

    Parameters
    ----------
    world : World
        The world; one of its name that was registered before is replaced.

    Raises
    ------
    ValueError
        For the name of a world that the library brings.
    """
    if world.name in (scene.WORLD.name, sound.WORLD.name):
        raise ValueError(f"the library itself has a world named {world.name!r}; give yours another name")
    _WORLDS[world.name] = world


def load_world(name: str) -> World:
    """Return a world by its name.

    Parameters
    ----------
    name : str
        A key of ``WORLDS``.

    Returns
    -------
    World
        The world.

    Raises
    ------
    ValueError
        If there is no such world; names the nearest one.
    """
    if name in WORLDS:
        return WORLDS[name]
    raise unknown_name("world", name, WORLDS)


def bundled_model(world: str = "scene") -> tuple[Any, Any]:
    """Load the model that is shipped with a world; no network is used.

    Parameters
    ----------
    world : str
        Name of the world.

    Returns
    -------
    (model, processor)
        A transformers model in evaluation mode (float32, CPU) and its processor.

    Raises
    ------
    ValueError
        If there is no such world.
    FileNotFoundError
        If no model is shipped with it.
    """
    return load_world(world).load_model()


def example(
    prompt: str | None = None, seed: int = 900, noise: float | None = None, world: str = "scene"
) -> tuple[Any, Any, Any]:
    """Return a bundled model, its processor, and inputs that ask it something about one picture or sound of its world.

    For pages, notebooks and first trials: any other model of transformers takes their place.

    Parameters
    ----------
    prompt : str, optional
        In the words that the model knows, "is there a sun in the image ?" for example; by default the request for a
        description.
    seed : int
        Of the picture or sound; no seed that a measurement uses.
    noise : float, optional
        Of its pixels or samples. By default that of measurements for a sound, and less than that for a picture (.3), so
        that a person recognises the objects.
    world : str
        Name of the world.

    Returns
    -------
    (model, processor, inputs)
        ``inputs`` is what the processor returns: ``input_ids``, ``attention_mask``, ``pixel_values`` or
        ``input_features``.

    Raises
    ------
    ValueError
        If there is no such world.
    """
    chosen = load_world(world)
    model, processor = chosen.load_model()
    used = {"scene": 0.3}.get(world) if noise is None else noise
    found = chosen.evaluation_set(seed=seed, scenes=1, noise=used)
    text = chosen.prompt(chosen.language.caption_request if prompt is None else prompt)
    return model, processor, chosen.batch(processor, found.media, [text])
