"""Policies on the command line: the same names and the same JSON in ``steer`` and in ``world``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lime_xai.decoding.policy import Policy
from lime_xai.errors import unknown_name
from lime_xai.evaluation.against import Against, measured_from_dict
from lime_xai.evaluation.policies.registry import (
    CALIBRATED,
    ITEM_MEDIA,
    WORLD_NAMES,
    Measured,
    PolicyT,
    select_policies,
    shipped_policies,
    shipped_tuning,
    usual_policies,
    world_policies,
)
from lime_xai.evaluation.policies.tuning import TUNED
from lime_xai.model.modalities import PERCEPTUAL, Modalities, Modality, in_order
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.registry import POLICIES
from lime_xai.policies.reweight import Reweight
from lime_xai.worlds import WORLDS, World

Written = dict[str, Measured]
"""Policies as a user wrote them: by name, with those that were given as JSON; None where only a name was given."""

Steering = dict[str, Policy | None]
"""Policies that steer a model, by name; None: the model alone."""

_NAMES = {*POLICIES, *WORLD_NAMES, *ITEM_MEDIA}


def read_policies(texts: str | Sequence[str]) -> Written:
    """Return what an option lists: names and JSON objects, separated by commas.

    Parameters
    ----------
    texts : str or sequence of str
        ``edit,contrast``, or ``vanilla,{"policy": "Edit", "steps": 3}``; a sequence is read item by item.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one; for a policy that is named twice; for text that is no JSON, or
        no policy.
    """
    found: Written = {}
    for text in [texts] if isinstance(texts, str) else texts:
        for item in _items(text):
            name = _label(item) if isinstance(item, Mapping) else item
            if name in found:
                raise ValueError(f"The policy {name} is named twice; name each policy once.")
            if isinstance(item, Mapping):
                found[name] = measured_from_dict(item)
                continue
            if item not in _NAMES:
                raise unknown_name("policy", item, _NAMES)
            found[item] = None
    if not found:
        raise ValueError("No policy is named; give a name, or a JSON object as policy_to_dict writes it.")
    return found


def _items(text: str) -> list[str | Mapping[str, Any]]:
    """Return names and JSON objects of a list; commas inside an object do not separate."""
    found: list[str | Mapping[str, Any]] = []
    rest = text.strip()
    while rest:
        if rest.startswith("{"):
            item, rest = _object(rest)
            found.append(item)
        else:
            name, _, rest = rest.partition(",")
            found += [name.strip()] if name.strip() else []
        rest = rest.strip()
    return found


def _object(text: str) -> tuple[Mapping[str, Any], str]:
    """Return the JSON object that a text begins with, and what follows its comma."""
    hint = "Give a name or what policy_to_dict writes, in single quotes."
    try:
        item, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"The policy {text!r} is no valid JSON ({error}). {hint}") from error
    rest = text[end:].strip()
    if rest and not rest.startswith(","):
        raise ValueError(f"The policy {text!r} is no valid JSON: {rest!r} follows the object. {hint}")
    return item, rest.removeprefix(",")


def _label(data: Mapping[str, Any]) -> str:
    """Return the name of a policy that was given as JSON: its class and its settings."""
    settings = ", ".join(f"{name}={json.dumps(value)}" for name, value in data.items() if name != "policy")
    return f"{data.get('policy')}({settings})"


def world_choice(
    world: World,
    written: Written,
    processor: Any,
    tuned: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Measured]:
    """Return the policies to measure on a world: names stand for the settings that were tuned on it.

    Without any, they stand for the usual ones (``untuned`` names them).

    Parameters
    ----------
    world : World
        The world.
    written : dict
        From ``read_policies``.
    processor, tuned, calibration : optional
        As in ``world_policies``.

    Raises
    ------
    ValueError
        For a name that needs a calibration if there is none, or that has no usual settings.
    """
    usual = usual_policies(calibration)
    if calibration is None:
        usual = {name: policy for name, policy in usual.items() if name not in CALIBRATED}
    known: dict[str, Measured] = {**usual, **world_policies(world, processor, tuned, calibration)}
    return _chosen(written, known)


def untuned(world: World, written: Written, tuned: Mapping[str, Any] | None = None) -> list[str]:
    """Return the names whose settings could be chosen on a world and were not: they stand for the usual ones."""
    chosen = shipped_tuning(world) | dict(tuned or {})
    return [name for name, policy in written.items() if policy is None and name in TUNED and name not in chosen]


def steering_choice(
    written: Written, model_name: str, processor: Any, calibration: Calibration | None = None
) -> Steering:
    """Return the policies to steer a model with.

    Names stand for the usual settings; for the bundled model of a world, for those that were tuned on that world, so
    that ``steer`` runs what ``world`` has measured.

    Parameters
    ----------
    written : dict
        From ``read_policies``.
    model_name : str
        As the user gave it.
    processor : object
        Of the model.
    calibration : Calibration, optional
        Of the model; without it ``reweight`` runs uncalibrated.

    Raises
    ------
    ValueError
        For a name that needs a calibration, or another model; for JSON with ``against``.
    """
    given: Steering = {}
    for name, one in written.items():
        if isinstance(one, Against):
            raise ValueError(
                f"The policy {name} has 'against', which names a picture or sound that `lime-xai evaluate` and "
                "`lime-xai world` make. Here leave it out, and give --counterfactual-image or --counterfactual-audio."
            )
        given[name] = one
    return _chosen(given, _steering(model_name, processor, calibration))


def asking_choice(
    written: Written, model_name: str, processor: Any, calibration: Calibration | None = None
) -> dict[str, Measured]:
    """Return the policies to ask a benchmark under: those of ``steering_choice``, and contrasts with other media.

    Parameters
    ----------
    written, model_name, processor, calibration : optional
        As in ``steering_choice``.

    Raises
    ------
    ValueError
        As ``steering_choice``.
    """
    return _chosen(written, {**_steering(model_name, processor, calibration), **ITEM_MEDIA})


def _steering(model_name: str, processor: Any, calibration: Calibration | None) -> Steering:
    if model_name in WORLDS:
        return shipped_policies(WORLDS[model_name], processor, calibration)
    return usual_policies(calibration)


def read_modalities(text: str | None) -> Modalities:
    """Return the perceptual group that an option names, ``image,audio`` for example; None for no option.

    Raises
    ------
    ValueError
        For an unknown modality, with the nearest known one; for one that is named twice, and for none.
    """
    if text is None:
        return None
    found: list[Modality] = []
    for item in text.split(","):
        known: Modality | None = next((name for name in PERCEPTUAL if name == item.strip()), None)
        if known is None:
            raise unknown_name("modality", item.strip(), PERCEPTUAL)
        if known in found:
            raise ValueError(f"--modalities names {known} twice; name each modality once.")
        found.append(known)
    return in_order(tuple(found))


def of_modalities(policies: Steering, modalities: Modalities) -> Steering:
    """Return policies with ``modalities=`` as their perceptual group; unchanged for None.

    Parameters
    ----------
    policies : dict
        By name, as ``steering_choice`` returns them.
    modalities : tuple of str or None
        From ``read_modalities``.

    Raises
    ------
    ValueError
        For a policy that takes no modalities, or has others already; as the policy itself, for a calibration of other
        modalities for example.
    """
    if modalities is None:
        return policies
    found: Steering = {}
    for name, policy in policies.items():
        settings: Any = policy
        if not is_dataclass(policy) or "modalities" not in {item.name for item in fields(policy)}:
            raise ValueError(f"The policy {name} takes no modalities; drop --modalities, or this policy.")
        if settings.modalities is not None and in_order(settings.modalities) != modalities:
            raise ValueError(
                f"The policy {name} has modalities={settings.modalities}, --modalities names {modalities}; give one of "
                "them."
            )
        found[name] = replace(settings, modalities=modalities)
    return found


def _chosen(written: Mapping[str, Measured], known: Mapping[str, PolicyT]) -> dict[str, PolicyT]:
    given: Any = {name: one for name, one in written.items() if one is not None}
    return select_policies(list(written), {**known, **given})


def uncalibrated(policies: Mapping[str, Measured]) -> list[str]:
    """Return the names of policies that subtract no mean contribution although they could."""
    return [
        name
        for name, policy in policies.items()
        if isinstance(policy, Reweight) and policy.calibration is None and not policy.idle
    ]
