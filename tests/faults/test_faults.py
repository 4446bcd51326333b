"""A fault at any place reaches the caller, and leaves the model, the process and what follows as they were.

Subjects are every policy, every attribution method, ``routes``, ``calibrate``, ``compare_attributions`` and ``audit``
(``support.fault_subjects``); places are in ``support.fault_places``. By default each subject gets one fault.
With ``-m slow`` each gets them at the first, a middle and the last call of every place; ``LIME_FAULTS_MOST`` is another
number of calls of each place, 0 for all.
"""

import os

import pytest
from support.fault_places import PLACES
from support.fault_record import RECORD
from support.fault_runs import KINDS, calls, chosen, inject
from support.fault_subjects import subjects

NAMES = list(subjects("llava"))
MOST = int(os.environ.get("LIME_FAULTS_MOST", "3"))
"""Calls of a place at which ``-m slow`` injects a fault; 0: all."""

FURTHER = {
    "qwen2_5_vl": ["edit", "contrast", "reweight, full", "constant", "attnlrp", "stream", "routes, full", "calibrate"],
    "qwen2_audio": ["edit", "contrast", "attnlrp"],
}
"""Subjects on a family whose modules remember position offsets, and on one with an audio tower."""


def wrong_after(family, name, faults):
    """Inject faults ``(place, call, kind)`` one by one, and return what is wrong after each that leaves something."""
    wrong, counts = [], calls(family, name)
    for place, at, kind in faults:
        found = inject(family, name, place, at, kind)
        RECORD.add((family, name, place), counts[place], 1, bool(found))
        if found:
            wrong.append(f"{kind.__name__} at call {at} of {counts[place]} of {place}: {found}")
    for place, count in counts.items():
        RECORD.add((family, name, place), count, 0, 0)
    return wrong


def every_fault(family, name, most):
    """Yield faults at up to ``most`` calls of every place, of both kinds in turn; of both where there is one call."""
    for number, (place, count) in enumerate(calls(family, name).items(), NAMES.index(name)):
        for index, at in enumerate(chosen(count, most), number):
            for kind in KINDS if count == 1 else [KINDS[index % 2]]:
                yield place, at, kind


def one_fault(name):
    """Yield one fault: subjects get other places, calls and kinds in turn."""
    number, called = NAMES.index(name), [place for place, count in calls("llava", name).items() if count]
    place = called[number % len(called)]
    at = chosen(calls("llava", name)[place])
    yield place, at[number // 2 % len(at)], KINDS[number % 2]


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_changes_nothing(name):
    assert wrong_after("llava", name, one_fault(name)) == []


@pytest.mark.parametrize("place", ["file_written", "file_renamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_measurement_resumes_after_a_file_was_not_written(place, kind):
    assert wrong_after("llava", "calibrate", [(place, 2, kind)]) == []


def test_every_place_is_reached():
    reached = {place for name in ("edit", "attnlrp", "calibrate") for place, n in calls("llava", name).items() if n}
    assert set(PLACES) - reached == set()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_faults_everywhere(name):
    assert wrong_after("llava", name, every_fault("llava", name, MOST)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in FURTHER.items() for name in names])
def test_faults_in_further_families(family, name):
    assert wrong_after(family, name, every_fault(family, name, MOST)) == []
