"""Running a subject with a fault at the k-th call of a place, and looking at what is left."""

import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from lime_xai.evaluation.conformance.state import remembered

from .fault_places import PLACES, Fault, Streamer
from .fault_subjects import attributed, empty, fresh, plain, subjects
from .states import differences, process_state, same, whole_state

KINDS = (RuntimeError, KeyboardInterrupt)
"""Kinds of errors that are injected at every place."""


@dataclass(frozen=True)
class Expected:
    """What an untouched copy of the model gives: without this package, by ``attribute``, and by the subject."""

    plain: list
    attributed: torch.Tensor
    subject: list


@cache
def expected(family, name):
    """Run a subject on an untouched copy."""
    model, prompts = fresh(family)
    with tempfile.TemporaryDirectory() as folder, quiet():
        found = subjects(family)[name].call(model, prompts, empty(folder))
    return Expected(*_plainly(family), found)


@cache
def _plainly(family):
    model, prompts = fresh(family)
    generated = plain(model, prompts)
    with quiet():
        return generated, attributed(model, prompts)


def quiet():
    """Context in which warnings are recorded."""
    return warnings.catch_warnings(record=True)


@cache
def calls(family, name):
    """Number of calls of every place in a run of a subject on a fresh model without a fault."""
    expected(family, name)  # a calibration that the subject needs is measured here, outside the places
    subject, (model, prompts) = subjects(family)[name], fresh(family)
    faults, arguments = {place: Fault() for place in PLACES}, {}
    with tempfile.TemporaryDirectory() as folder, quiet(), ExitStack() as stack:
        for place, fault in faults.items():
            arguments |= stack.enter_context(PLACES[place](model, subject, fault))
        arguments["streamer"] = Streamer(faults["streamer_put"], faults["streamer_end"])  # there is one at a time
        subject.call(model, prompts, empty(folder), **arguments)
    return {place: fault.calls for place, fault in faults.items()}


def inject(family, name, place, at, kind):
    """Inject one fault; return what is wrong afterwards, as text; empty if nothing is.

    Parameters
    ----------
    family : str
        Of the model.
    name : str
        Of the subject.
    place : str
        Of the fault.
    at : int
        Which call of the place, from 1.
    kind : type
        Of the error.
    """
    model, prompts = fresh(family)
    subject, fault = subjects(family)[name], Fault(at, kind)
    wanted = expected(family, name)
    with tempfile.TemporaryDirectory() as folder:
        before = whole_state(model), process_state(), remembered(model)
        wrong = _raised(subject, place, model, prompts, empty(folder), fault)
        after = whole_state(model), process_state(), remembered(model)
        wrong += [f"changed: {entry}" for part in (0, 1) for entry in differences(before[part], after[part])]
        if subject.kind != "policy" and not same(before[2], after[2]):
            wrong.append("changed: what modules remember")
        wrong += _left_behind(folder)
        if fault.error is not None:
            fault.error.__traceback__ = None  # frames of the failed call must not keep anything alive
        wrong += _following(subject, model, prompts, folder, wanted, kind is RuntimeError)
    return "; ".join(wrong)


def _raised(subject, place, model, prompts, folder, fault):
    """Run a subject with a fault; return what is wrong with the error that reaches the caller."""
    caught = None
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        try:
            with PLACES[place](model, subject, fault) as arguments:
                subject.call(model, prompts, folder, **arguments)
        except BaseException as error:
            caught = error
    silenced = [f"warned: {one.message}" for one in noticed if "silenced" in str(one.message)]
    if fault.error is None:
        reason = "" if caught is None else f" ({caught!r} was raised)"
        return [f"the place was reached {fault.calls} times only{reason}"]
    if caught is None:
        return [*silenced, "the fault was swallowed"]
    if fault.error is not caught and (fault.kind is KeyboardInterrupt or fault.error not in _chain(caught)):
        return [*silenced, f"the fault was replaced by {caught!r}"]
    return silenced


def _chain(error):
    """An error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _left_behind(folder):
    return [f"left behind: {path.name}" for path in Path(folder).iterdir() if path.name.endswith(".draft")]


def _following(subject, model, prompts, folder, wanted, attributes):
    """Return which of the following calls give something else than on an untouched copy."""
    found = []
    following = [
        ("generate", lambda: plain(model, prompts), wanted.plain),
        (subject.name, lambda: subject.call(model, prompts, Path(folder)), wanted.subject),
        ("attribute", lambda: attributed(model, prompts), wanted.attributed),
    ]
    for name, run, right in following[: None if attributes else 2]:
        with quiet():
            try:
                if not same(run(), right):
                    found.append(f"a following {name} gives another result")
            except Exception as error:  # whatever it raises is what is wrong
                found.append(f"a following {name} raises {error!r}")
    return found


def chosen(count, most=3):
    """At most ``most`` of ``count`` calls, from 1, evenly spread: the first and the last among them."""
    if most == 0 or count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(index * (count - 1) / max(1, most - 1)) for index in range(most)})
