"""The registry of checks, and what a check says."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

import lime_rules
from lime_xai.errors import check_free

from .state import changes
from .subject import Subject

Status = Literal["works", "refused", "failed"]
Check = Callable[[Subject], None]

CHECKS: dict[str, Check] = {}
"""Checks by feature. Each returns if the feature works, and raises otherwise."""

DOCUMENTED = (ValueError, TypeError, NotImplementedError, FloatingPointError)
"""What functions of this package raise for input that they refuse."""

_BLAME = ("use the processor that belongs to this model", "pass everything the processor returned")
"""What errors say that find the prompt wrong. The model itself generated from it, so they are mistaken."""

_HERE = Path(__file__).resolve().parent
_PACKAGES = (_HERE.parents[1], Path(lime_rules.__file__).resolve().parent)


class MismatchError(Exception):
    """A feature gave something else than expected."""


class UnavailableError(Exception):
    """A feature does not apply to a model, for a reason that is not an error of this package."""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes
    ----------
    status : {"works", "refused", "failed"}
        ``refused``: this package says by a documented error that it does not support the feature on this model.
    reason : str
        Why it is refused, or what was expected and what came. Empty if it works.
    """

    status: Status
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status


def register_check(feature: str) -> Callable[[Check], Check]:
    """Return a decorator that registers a check.

    Parameters
    ----------
    feature : str
        Name of the column in a table.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def register(check: Check) -> Check:
        check_free(f"check {feature!r}", CHECKS.get(feature))
        CHECKS[feature] = check
        return check

    return register


def run_check(check: Check, subject: Subject) -> Outcome:
    """Run a check, and see that the model is as it was before, also after a refusal.

    Parameters
    ----------
    check : callable
        As in ``CHECKS``.
    subject : Subject
        The model and its prompt.

    Returns
    -------
    Outcome
    """
    before = subject.state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = _outcome(check, subject)
    if outcome.status == "failed":
        return outcome
    changed = changes(before, subject.state())
    return Outcome("failed", f"the model is not as it was before: {changed}") if changed else outcome


def _outcome(check: Check, subject: Subject) -> Outcome:
    try:
        check(subject)
    except UnavailableError as error:
        return Outcome("refused", str(error))
    except MismatchError as error:
        return Outcome("failed", str(error))
    except Exception as error:  # a fault of any kind is an outcome, and the other checks go on
        message = " ".join(str(error).split())
        if isinstance(error, DOCUMENTED) and own(error):
            if any(part in message for part in _BLAME):
                return Outcome("failed", f"the model generates from this prompt, and yet: {message}")
            return Outcome("refused", message)
        return Outcome("failed", f"{type(error).__name__}: {message}")
    return Outcome("works")


def own(error: BaseException) -> bool:
    """Return whether an error was raised by a line of this package, not by one of the libraries below."""
    frames = traceback.extract_tb(error.__traceback__)
    place = Path(frames[-1].filename).resolve() if frames else _HERE
    return any(package in place.parents for package in _PACKAGES) and _HERE not in place.parents


def expect_close(what: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare numbers by the largest difference, relative to the largest expected number.

    Parameters
    ----------
    what : str
        What is compared.
    found, expected : Tensor
        Of the same shape.
    tolerance : float
        Largest difference allowed, as a fraction.

    Raises
    ------
    MismatchError
        Naming the difference, and for another shape or numbers that are not finite.
    """
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    if found.shape != expected.shape:
        raise MismatchError(f"{what}: found the shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if not bool(torch.isfinite(found).all()):
        raise MismatchError(f"{what}: not finite")
    scale = max(float(expected.abs().max()), 1e-6)
    gap = float((found - expected).abs().max()) / scale
    if not gap <= tolerance:
        raise MismatchError(f"{what}: differs by {gap:.1e} of the largest value, expected at most {tolerance:.0e}")
