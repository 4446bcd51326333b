"""Every setting of every registered class refuses what is not finite and what is of another type."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from lime_xai import (
    METHODS,
    POLICIES,
    Calibration,
    Constant,
    EditSettings,
    LogitShift,
    Needs,
    Policy,
    RelevanceObjective,
    Reweight,
    policy_from_dict,
    policy_to_dict,
)
from lime_xai.attribution.methods.perturbation import Perturbation
from lime_xai.attribution.methods.registry import method_from_dict
from lime_xai.branches.branch import BranchKind
from lime_xai.decoding.policy import ContributionNeed, StreamNeed

CALIBRATION = Calibration("0" * 64, "direct", 1, 1, torch.zeros(8), {"image": torch.zeros(2, 2)})

SETTINGS = {
    **{name: make() for name, make in POLICIES.items()},
    **{f"method {name}": make() for name, make in METHODS.items()},
    "constant": Constant(CALIBRATION),
    "reweight, calibrated": Reweight(1.0, CALIBRATION),
    "edit settings": EditSettings(),
    "objective": RelevanceObjective(),
    "branch": BranchKind("noise", 0.5),
    "contribution": ContributionNeed(),
    "stream": StreamNeed("attnlrp"),
    "needs": Needs(),
}
FIELDS = [
    pytest.param(settings, item.name, id=f"{name}.{item.name}")
    for name, settings in SETTINGS.items()
    for item in dataclasses.fields(settings)
]
NOT_FINITE = (math.nan, math.inf, -math.inf, 10**400)
OTHERS = {
    float: ("1", None, [1.0], True, torch.tensor(1.0), 1j, {}, object()),
    int: ("1", None, [1], True, 2.5, 2.0, math.nan, torch.tensor(1), {}, object()),
    bool: ("yes", None, [True], 1, 0.0, torch.tensor(True), object()),
    str: (3, [], True, {"a": 1}, b"attnlrp", object()),
    tuple: ("12", 3, [1.5], ["1"], {1: 2}, torch.tensor([1])),
}
OTHER = (3, "text", [1], torch.tensor(1.0), object())
OTHER_THAN_NONE = ("text", True, {}, torch.tensor(1.0), object())


def kind_of(value):
    return next((kind for kind in (bool, int, float, str, tuple) if isinstance(value, kind)), None)


def with_value(settings, name, value):
    return dataclasses.replace(settings, **{name: value})


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_a_value_of_another_type_is_refused_by_name(settings, name):
    given = getattr(settings, name)
    optional = "None" in next(item.type for item in dataclasses.fields(settings) if item.name == name)
    values = OTHER_THAN_NONE if given is None else OTHERS.get(kind_of(given), OTHER)
    for value in values:
        if value is None and optional:
            continue
        with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b") as error:
            with_value(settings, name, value)
        assert "expected" in str(error.value) or "Known" in str(error.value)


@pytest.mark.parametrize(("settings", "name"), [p for p in FIELDS if kind_of(getattr(*p.values)) is float])
@pytest.mark.parametrize("value", NOT_FINITE, ids=lambda value: str(value)[:4])
def test_a_number_that_is_not_finite_is_refused_by_name(settings, name, value):
    with pytest.raises(ValueError, match=rf"{name} is (nan|-?inf); expected .*finite"):
        with_value(settings, name, value)


@pytest.mark.parametrize(("settings", "name"), [p for p in FIELDS if kind_of(getattr(*p.values)) is float])
def test_a_number_that_float32_cannot_hold_is_refused_by_name(settings, name):
    for value in (1e39, -1e300, 10**39):
        with pytest.raises(ValueError, match=rf"{name} is -?1e\+(39|300); expected "):
            with_value(settings, name, value)


@pytest.mark.parametrize("name", ["kl_budget", "layers"])
@pytest.mark.parametrize("settings", [POLICIES["edit"](), EditSettings()], ids=["Edit", "EditSettings"])
def test_settings_that_may_be_none(settings, name):
    assert getattr(settings, name) is None
    for value in (math.nan, math.inf, "1", [math.nan], True, torch.tensor(1.0)):
        with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b"):
            with_value(settings, name, value)


def test_shifts_of_logits():
    for value in NOT_FINITE:
        with pytest.raises(ValueError, match=r"shifts\[7\] is (nan|-?inf); expected a finite number"):
            LogitShift({7: value})
    with pytest.raises(ValueError, match=r"shifts\[7\] is 1e\+39; expected a finite number, at most 3.4e\+38 in size"):
        LogitShift({7: 1e39})
    for shifts in ({"7": 1.0}, {7: "1"}, {7: None}, {1.5: 1.0}, {True: 1.0}, [1.0], 3, None):
        with pytest.raises(TypeError, match="shifts"):
            LogitShift(shifts)


@pytest.mark.parametrize("value", NOT_FINITE[:3])
def test_json_with_numbers_that_are_not_finite(value):
    for name, make in POLICIES.items():
        data = policy_to_dict(make())
        for key, given in data.items():
            if type(given) is float:
                with pytest.raises(ValueError, match=rf"{key} is (nan|-?inf)"):
                    policy_from_dict(data | {key: value})
        assert policy_from_dict(data) == make(), name
    with pytest.raises(ValueError, match="sigma is"):
        method_from_dict({"method": "tam", "sigma": value})


@pytest.mark.parametrize("data", [None, "tam", [], {"method": ["tam"]}, {"method": None}, {"method": "tam", "sgma": 1}])
def test_data_that_is_no_method(data):
    with pytest.raises(ValueError, match=r"mapping of its settings|Unknown (method|setting)"):
        method_from_dict(data)


@pytest.mark.parametrize("value", [None, 3, "edit", POLICIES["edit"], []])
def test_what_is_no_policy_does_not_become_json(value):
    with pytest.raises(TypeError, match=r"policy is .*expected a policy"):
        policy_to_dict(value)


@dataclass(frozen=True)
class Own(Policy):
    """A policy of a user, which checks nothing itself."""

    weight: float = 1.0
    by_token: Mapping[int, float] = dataclasses.field(default_factory=dict)

    def step(self, step):
        return step.logits * self.weight


@dataclass(frozen=True)
class OwnMethod(Perturbation):
    """A method of a user, which checks nothing itself."""

    weight: float = 1.0
    name: ClassVar[str] = "own"


@pytest.mark.parametrize("kind", [Own, OwnMethod])
def test_classes_of_a_user_are_checked_too(kind):
    for value in (*NOT_FINITE, "1", None):
        with pytest.raises((TypeError, ValueError), match="weight is"):
            kind(weight=value)
    with pytest.raises(ValueError, match=r"by_token\[3\] is nan"):
        Own(by_token={3: math.nan})
