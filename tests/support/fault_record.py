"""How many faults were injected where, as a table and as a file."""

import json
import platform
from collections import Counter, defaultdict
from pathlib import Path

import torch
import transformers

from .fault_places import PLACES


class Record:
    """Counts injected faults by family, subject and place.

    Attributes
    ----------
    calls : dict
        Calls of a place in a run without a fault.
    injected, failed : Counter
        Faults, and those after which something was wrong.
    """

    def __init__(self):
        self.calls, self.injected, self.failed = {}, Counter(), Counter()

    def add(self, key, calls, injected, failed):
        """Add faults of one ``(family, subject, place)``."""
        self.calls[key] = calls
        self.injected[key] += injected
        self.failed[key] += failed

    def plain(self):
        """Return the content as lists, for another process."""
        return [[*key, calls, self.injected[key], self.failed[key]] for key, calls in self.calls.items()]

    def merge(self, plain):
        """Add what ``plain`` of another process returned."""
        for family, subject, place, *numbers in plain:
            self.add((family, subject, place), *numbers)

    @property
    def total(self):
        """Number of injected faults."""
        return sum(self.injected.values())

    def by_place(self):
        """Injected faults of every place."""
        found = Counter(dict.fromkeys(PLACES, 0))
        for (_, _, place), count in self.injected.items():
            found[place] += count
        return found

    def table(self):
        """One line per subject: faults by place; "-" where a place is not called."""
        heads = list(PLACES)
        lines = ["faults injected; columns:", *(f"  {chr(97 + index)}  {name}" for index, name in enumerate(heads))]
        lines.append(f"{'':38s}" + "".join(f"{chr(97 + index):>5s}" for index in range(len(heads))))
        for family, subject in sorted({key[:2] for key in self.calls}):
            cells = [self._cell((family, subject, place)) for place in heads]
            lines.append(f"{family + ': ' + subject:38s}" + "".join(f"{cell:>5s}" for cell in cells))
        sums = self.by_place()
        lines.append(f"{'all':38s}" + "".join(f"{sums[place]:5d}" for place in heads))
        lines.append(f"{self.total} faults, {sum(self.failed.values())} after which something was wrong")
        return lines

    def _cell(self, key):
        if self.calls.get(key, 0) == 0:
            return "-"
        return f"{self.injected[key]}" + ("!" if self.failed[key] else "")

    def write(self, path):
        """Write everything as JSON."""
        nested = defaultdict(lambda: defaultdict(dict))
        for (family, subject, place), calls in sorted(self.calls.items()):
            key = family, subject, place
            entry = {"calls": calls, "faults": self.injected[key], "wrong": self.failed[key]}
            nested[family][subject][place] = entry if calls else "not called"
        versions = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        }
        data = {
            "versions": versions,
            "faults": self.total,
            "wrong": sum(self.failed.values()),
            "places": dict(self.by_place()),
            "subjects": nested,
        }
        Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


RECORD = Record()
"""Of this process."""
