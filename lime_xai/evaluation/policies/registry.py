"""The policies that are measured on a world, by name, with the settings that were tuned for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from lime_xai.decoding.policy import Policy
from lime_xai.errors import unknown_name
from lime_xai.evaluation.against import Against
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.constant import Constant
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.controls import LogitShift, Plausible, UniformGain
from lime_xai.policies.edit import Edit
from lime_xai.policies.registry import POLICIES
from lime_xai.policies.reweight import Reweight
from lime_xai.storage.store import read_json
from lime_xai.values.checking import NotNegative, Positive
from lime_xai.worlds import World


class Tuned(TypedDict, total=False):
    """What a file of tuned settings may hold."""

    seed: int
    scenes: int
    paper: Positive
    paper_cache: Positive
    uniform_gain: float
    yes_shift: float
    reweight: NotNegative
    constant: float


Measured = Policy | Against | None
"""What is measured on a world; None: the model alone."""

PolicyT = TypeVar("PolicyT", bound=Measured)

OTHER_MEDIA = {
    "contrast_nothing": Against(Contrast("counterfactual"), "nothing"),
    "contrast_background": Against(Contrast("counterfactual"), "background"),
}
"""Contrasts of a world by name."""

ITEM_MEDIA = {
    "contrast_nothing": OTHER_MEDIA["contrast_nothing"],
    "contrast_noisy_pixels": Against(Contrast("counterfactual"), "noise"),
}
"""Contrasts of a benchmark by name: ``evaluate`` makes the other medium of each item."""

CALIBRATED = ("reweight", "constant")
"""Policies that need a calibration of the model."""

WORLD_NAMES = (
    "vanilla",
    "plausible",
    "paper",
    "paper_cache",
    "edit",
    "contrast",
    "contrast_slot",
    "contrast_noise",
    *OTHER_MEDIA,
    "uniform_gain",
    "yes_shift",
    *CALIBRATED,
)
"""Names that ``world_policies`` knows."""


def usual_policies(calibration: Calibration | None = None) -> dict[str, Policy | None]:
    """Return policies by name with their usual settings, for any model; ``vanilla`` is None.

    Those of ``POLICIES``, and the names that world reports use for further settings.

    Parameters
    ----------
    calibration : Calibration, optional
        Of the model; without it ``reweight`` subtracts no mean, and ``constant`` is left out.
    """
    known: dict[str, Policy | None] = {"vanilla": None, **{name: make() for name, make in POLICIES.items()}}
    known["paper_cache"] = Edit.paper(scope="cache")
    known |= {"contrast_slot": Contrast("slot"), "contrast_noise": Contrast("noise")}
    if calibration is not None:
        known["reweight"] = Reweight(calibration=calibration)
        known["constant"] = Constant(calibration)
    return known


def world_policies(
    world: World, processor: Any, tuned: Mapping[str, Any] | None = None, calibration: Calibration | None = None
) -> dict[str, Measured]:
    """Return the policies of ``lime-xai world`` by name; ``vanilla`` is None.

    Parameters
    ----------
    world : World
        Whose settings they have.
    processor : object
        Gives the token id of the answer yes.
    tuned : mapping, optional
        ``paper``, ``paper_cache`` (learning rates), ``uniform_gain``, ``yes_shift``, ``reweight`` (strength) and
        ``constant`` (scale), as ``tune_policies`` returns them; what is missing is as shipped with the world. A
        policy without a setting is left out.
    calibration : Calibration, optional
        Of the model; without it the policies in ``CALIBRATED`` are left out.
    """
    (yes,) = world.answer_tokens(processor, [world.language.yes])
    makers: dict[str, Callable[[Any], Policy]] = {
        "paper": lambda rate: Edit.paper(learning_rate=rate),
        "paper_cache": lambda rate: Edit.paper(scope="cache", learning_rate=rate),
        "uniform_gain": UniformGain,
        "yes_shift": lambda shift: LogitShift({yes: shift}),
    }
    if calibration is not None:
        makers["reweight"] = lambda strength: Reweight(strength, calibration)
        makers["constant"] = lambda scale: Constant(calibration, scale)
    values = shipped_tuning(world) | dict(tuned or {})
    known: dict[str, Measured] = {
        "vanilla": None,
        "plausible": Plausible(),
        "edit": Edit(),
        "contrast": Contrast(),
        "contrast_slot": Contrast("slot"),
        "contrast_noise": Contrast("noise"),
        **OTHER_MEDIA,
    }
    return known | {name: make(values[name]) for name, make in makers.items() if name in values}


def shipped_policies(world: World, processor: Any, calibration: Calibration | None = None) -> dict[str, Policy | None]:
    """Return the usual policies, with the settings shipped for a world where it has some; ``vanilla`` is None.

    Those that compare with another scene of the world are left out.

    Parameters
    ----------
    world, processor, calibration : optional
        As in ``world_policies``.
    """
    tuned = world_policies(world, processor, None, calibration)
    own: dict[str, Policy | None] = {name: one for name, one in tuned.items() if not isinstance(one, Against)}
    return usual_policies(calibration) | own


def shipped_tuning(world: World) -> dict[str, Any]:
    """Return the settings chosen on the tuning seed named in the world's file; none if there is no such file."""
    path = tuned_file(world.name)
    return read_json(path, "a file of tuned settings", Tuned) if path.exists() else {}


def tuned_file(world: str) -> Path:
    """Return the file of the settings that are shipped for a world, which need not be there."""
    return Path(__file__).with_name(f"tuned_{world}.json")


def select_policies(names: Sequence[str], known: Mapping[str, PolicyT]) -> dict[str, PolicyT]:
    """Return the named policies in order.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one; for one that needs a calibration, settings chosen on a
        world, or other media of its scenes.
    """
    for name in names:
        if name not in known and name in CALIBRATED:
            raise ValueError(
                f"The policy {name!r} needs a calibration of the model; pass --calibration FILE. `lime-xai "
                "world` measures it on unlabelled prompts of a tuning seed if there is no such file."
            )
        if name not in known and name in {**OTHER_MEDIA, **ITEM_MEDIA}:
            makers = ["`lime-xai world`"] if name in OTHER_MEDIA else []
            makers += ["`lime-xai evaluate`"] if name in ITEM_MEDIA else []
            raise ValueError(
                f"The policy {name!r} compares with another picture or sound, made by {' and '.join(makers)} alone. "
                "For inputs of your own use lime_xai.steer(model, inputs, Contrast('counterfactual'), "
                "counterfactual=...)."
            )
        if name not in known and name in WORLD_NAMES:
            raise ValueError(
                f"The policy {name!r} has no usual settings, only those chosen on a world for its models; choose some "
                "with `lime-xai world --tune FILE` and measure with --tuned FILE, or write them as JSON, "
                '{"policy": "LogitShift", "shifts": {"TOKEN ID": -1.5}} for example. Those chosen on pictograms are in '
                f"{tuned_file('scene')}, which `lime-xai world --tuned` takes."
            )
        if name not in known:
            raise unknown_name("policy", name, known)
    return {name: known[name] for name in names}
