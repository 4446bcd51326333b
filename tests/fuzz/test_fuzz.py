"""Random calls by number: a few in every run, thousands with ``-m slow``."""

import os
import re

import pytest

from fuzz.campaign import FailedCallError, run
from fuzz.entries import COVERED, PUBLIC, drawn_call

SEED = int(os.environ.get("LIME_FUZZ_SEED", "0"))
CALLS = int(os.environ.get("LIME_FUZZ_CALLS", "5000"))
ONLY = os.environ.get("LIME_FUZZ_ONLY")
CHUNK = 250
QUICK = range(10**6, 10**6 + 60)
"""Numbers of the calls of the quick run: others than those of the slow one."""

_NUMBERS = [int(ONLY)] if ONLY else list(range(CALLS))
_CHUNKS = [_NUMBERS[start : start + CHUNK] for start in range(0, len(_NUMBERS), CHUNK)]


def _campaign(seed, numbers, folder, record_property):
    """Make calls, count their outcomes, and report all that failed."""
    outcomes, failures = [], []
    for number in numbers:
        try:
            outcomes.append(run(seed, number, folder, every=1 if ONLY else 8))
        except FailedCallError as failure:
            outcomes.append((drawn_call(seed, number, folder).entry, "failed"))
            failures.append(str(failure))
    record_property("fuzz", {"seed": seed, "outcomes": outcomes})
    assert not failures, f"{len(failures)} calls failed\n\n" + "\n\n".join(failures)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("numbers", _CHUNKS, ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}")
def test_calls_return_or_refuse_and_change_nothing(numbers, tmp_path, record_property):
    _campaign(SEED, numbers, tmp_path, record_property)


def test_a_few_calls_return_or_refuse_and_change_nothing(tmp_path, record_property):
    _campaign(0, QUICK, tmp_path, record_property)


def test_every_public_name_that_can_be_called_is_called():
    assert PUBLIC <= COVERED


def test_a_call_depends_on_its_number_alone(tmp_path):
    def described(number):
        return re.sub("0x[0-9a-f]+", "", drawn_call(3, number, tmp_path).text)  # addresses of objects

    first = [described(number) for number in range(40)]
    assert len(set(first)) > 30
    assert [described(number) for number in reversed(range(40))] == first[::-1]
