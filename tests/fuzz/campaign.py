"""Running calls by number, and the table of their outcomes."""

from __future__ import annotations

import json
from collections import Counter

from .entries import drawn_call
from .oracle import judged

EVERY = 8
"""After how many calls of one model its answers are compared with those of a new one."""


class FailedCallError(AssertionError):
    """A call that broke a promise."""


def command_of(seed, number):
    """Return the command that repeats one call alone."""
    return f"LIME_FUZZ_SEED={seed} LIME_FUZZ_ONLY={number} python -m pytest -m slow tests/fuzz"


def run(seed, number, folder, every=EVERY):
    """Make one call and return entry and outcome.

    Raises
    ------
    FailedCallError
        If it breaks a promise; says how to repeat it.
    """
    call = drawn_call(seed, number, folder)
    where = f"call {number}, {call.entry}" + (f" on {call.subject.name}" if call.subject else "")
    try:
        outcome = judged(call)
        if call.subject is not None:
            call.subject.calls.append(number)
            if len(call.subject.calls) >= every:
                call.subject.check()
    except BaseException as error:
        error.add_note(f"{where}: {call.text}")
        if not isinstance(error, Exception):
            raise
        raise FailedCallError(f"{where}\n{call.text}\n{command_of(seed, number)}\n{error}") from error
    return call.entry, outcome


def table(outcomes):
    """Return lines that count outcomes by entry, for pairs of both."""
    counts = Counter(map(tuple, outcomes))
    entries = sorted({entry for entry, _ in counts})
    width = max(map(len, entries), default=0)
    lines = []
    for entry in entries:
        found = sorted((outcome, count) for (one, outcome), count in counts.items() if one == entry)
        parts = ", ".join(f"{outcome.removeprefix('refused: ')} {count}" for outcome, count in reversed(found))
        lines.append(f"{entry:{width}}  {sum(count for _, count in found):5d}  {parts}")
    returned = sum(count for (_, outcome), count in counts.items() if outcome == "returned")
    refused = sum(count for (_, outcome), count in counts.items() if outcome.startswith("refused"))
    failed = sum(count for (_, outcome), count in counts.items() if outcome == "failed")
    total = sum(counts.values())
    other = total - returned - refused - failed
    lines.append(
        f"{total} calls: {returned} returned, {refused} refused, {other} the model's own error, {failed} failed"
    )
    return lines


def write(path, outcomes, seed):
    """Write counts as JSON."""
    counts = Counter(map(tuple, outcomes))
    by_entry = {}
    for (entry, outcome), count in sorted(counts.items()):
        by_entry.setdefault(entry, {})[outcome] = count
    total = Counter()
    for (_, outcome), count in counts.items():
        total[outcome] += count
    data = {"seed": seed, "calls": sum(counts.values()), "outcomes": dict(sorted(total.items())), "entries": by_entry}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
