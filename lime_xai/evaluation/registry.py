"""The policies that are measured on a world, by name, with the settings that were tuned for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from lime_xai.names import unknown_name
from lime_xai.policies import Contrast, Edit, LogitShift, Plausible, UniformGain
from lime_xai.step import Policy


def world_policies(processor: Any, tuned: Mapping[str, Any] | None = None) -> dict[str, Policy | None]:
    """Return the policies that ``lime-xai world`` knows, by name; ``vanilla`` is None.

    Parameters
    ----------
    processor : object
        Gives the token id of "yes".
    tuned : mapping, optional
        ``paper``, ``paper_cache`` (learning rates), ``uniform_gain`` and ``yes_shift``, as ``tune_policies``
        returns them; by default those shipped with the world.
    """
    values = dict(tuned if tuned is not None else shipped_tuning())
    yes = processor.tokenizer.convert_tokens_to_ids("yes")
    return {
        "vanilla": None,
        "plausible": Plausible(),
        "paper": Edit.paper(learning_rate=values["paper"]),
        "paper_cache": Edit.paper(scope="cache", learning_rate=values["paper_cache"]),
        "edit": Edit(),
        "contrast": Contrast(),
        "uniform_gain": UniformGain(values["uniform_gain"]),
        "yes_shift": LogitShift({yes: values["yes_shift"]}),
    }


def shipped_tuning() -> dict[str, Any]:
    """Return the settings chosen on the tuning seed named in the file."""
    text = (files("lime_xai.evaluation") / "tuned_scene.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


def select_policies(names: Sequence[str], known: Mapping[str, Policy | None]) -> dict[str, Policy | None]:
    """Return the named policies in order.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    for name in names:
        if name not in known:
            raise unknown_name("policy", name, known)
    return {name: known[name] for name in names}
