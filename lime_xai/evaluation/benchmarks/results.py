"""The result of a benchmark: measures with intervals, changes against one system, and what the answers are like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lime_xai.evaluation.bootstrap import RESAMPLES
from lime_xai.printing import counted
from lime_xai.storage.store import number

from .answers import Answer
from .protocol import Item, Measure, Protocol
from .scoring import ALL, Estimate, McNemar, differences, mcnemar, score
from .texts import described

if TYPE_CHECKING:
    from rich.console import Group

    from lime_xai.attribution.sheet import ShownFigure

PLAIN = "vanilla"
"""The policy that others are compared with, where it was asked."""

Groups = dict[str, dict[str, Estimate]]
"""For each group of items each measure: value, low, high."""


@dataclass(frozen=True)
class SystemResult:
    """What was measured of one system.

    Attributes
    ----------
    measures : dict of str to dict of str to (float, float, float)
        For each group of items, and for all groups: each measure with its 95 % interval, NaN if there is one unit only.
    texts : dict of str to float or None
        As ``texts.TEXTS`` says.
    differences : dict or None
        Its measures minus those of the system that it is compared with, over the same samples of items.
    mcnemar : McNemar or None
        The test against that system; None where answers are not simply right or wrong.
    """

    measures: Groups
    texts: dict[str, float | None]
    differences: Groups | None = None
    mcnemar: McNemar | None = None


@dataclass(frozen=True)
class Results:
    """What was measured of all systems with one parser.

    Attributes
    ----------
    benchmark, source, parser : str
        The protocol, where it is published, and how answers were read.
    items, of, units : int
        Items that were measured, items of the benchmark, and units of the former, images for example: the bootstrap
        draws these.
    conditions : dict of str to str
        How answers were made: model, prompt, decoding; for captions.
    against : str or None
        The system that others are compared with; None if there is one system only.
    kinds : mapping of str to Measure
        Which values are better.
    systems : dict of str to SystemResult
        By name.
    """

    benchmark: str
    source: str
    parser: str
    items: int
    of: int
    units: int
    conditions: dict[str, str]
    against: str | None
    kinds: Mapping[str, Measure]
    systems: dict[str, SystemResult]

    @property
    def groups(self) -> list[str]:
        """Names of the groups of items, all together last."""
        return list(next(iter(self.systems.values())).measures)

    @property
    def overall(self) -> str:
        """Name of all items together, or of the only group."""
        return ALL if ALL in self.groups else self.groups[0]

    @property
    def caption(self) -> str:
        """What a number of this result depends on, in one line."""
        all_items = counted(self.of, "item")
        number_of = all_items if self.items == self.of else f"{self.items} of {all_items}"
        drawn = f"95 % intervals by bootstrap over {self.units} units" if self.units > 1 else "one unit, no intervals"
        made = [f"{name} {value}" for name, value in self.conditions.items()]
        return "; ".join([number_of, *made, f"parser {self.parser}", drawn])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data; None where a number does not exist."""
        kinds = {name: asdict(measure) for name, measure in self.kinds.items()}
        systems = {
            name: {
                "measures": _numbers(system.measures),
                "texts": {key: None if value is None else number(value) for key, value in system.texts.items()},
                "differences": None if system.differences is None else _numbers(system.differences),
                "mcnemar": None if system.mcnemar is None else asdict(system.mcnemar),
            }
            for name, system in self.systems.items()
        }
        names = ("benchmark", "source", "parser", "items", "of", "units", "against")
        plain = {key: getattr(self, key) for key in names}
        return {**plain, "conditions": self.conditions, "kinds": kinds, "systems": systems}

    def tables(self) -> Group:
        """Return rich tables: measures, changes, texts."""
        from .tables import result_tables

        return result_tables(self)

    def plot(self) -> ShownFigure:
        """Return a figure: a panel for each measure."""
        from .figure import result_figure

        return result_figure(self)


def _numbers(groups: Groups) -> dict[str, dict[str, list[float | None]]]:
    return {
        group: {name: [number(one) for one in found] for name, found in measures.items()}
        for group, measures in groups.items()
    }


def results(
    protocol: Protocol,
    items: Sequence[Item],
    systems: Mapping[str, Mapping[str, Answer]],
    parser: str | None = None,
    *,
    against: str | None = None,
    of: int | None = None,
    conditions: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> Results:
    """Measure the answers of several systems.

    Parameters
    ----------
    protocol : Protocol
        The benchmark.
    items : sequence of Item
        That every system has answered.
    systems : mapping of str to mapping of str to Answer
        Answers by system and item.
    parser : str, optional
        By default the first of the protocol's.
    against : str, optional
        The system that others are compared with; by default ``vanilla``, else the first.
    of : int, optional
        Items of the benchmark, if some are left out.
    conditions : mapping of str to str, optional
        How answers were made.
    resamples : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        For an unknown parser, no systems, or an item without an answer.
    """
    if not systems:
        raise ValueError("There are no answers to measure.")
    parser = parser or protocol.parsers[0]
    first = against or (PLAIN if PLAIN in systems else next(iter(systems)))
    texts = {name: {key: answer.text for key, answer in answers.items()} for name, answers in systems.items()}

    units = len({item.unit or item.id for item in items})
    known = _unbounded if units == 1 else dict[str, dict[str, Estimate]]

    def measured(name: str) -> SystemResult:
        values = known(score(protocol, items, texts[name], parser, resamples=resamples))
        about = described([systems[name][item.id] for item in items])
        if name == first:
            return SystemResult(values, about)
        pair = protocol, items, texts[first], texts[name], parser
        return SystemResult(values, about, known(differences(*pair, resamples=resamples)), mcnemar(*pair))

    return Results(
        protocol.name,
        protocol.source,
        parser,
        len(items),
        len(items) if of is None else of,
        units,
        dict(conditions or {}),
        first if len(systems) > 1 else None,
        protocol.measures,
        {name: measured(name) for name in systems},
    )


def _unbounded(groups: Groups) -> Groups:
    """Return estimates without intervals: a bootstrap that always draws the same unit says nothing."""
    return {
        group: {name: (value, math.nan, math.nan) for name, (value, _, _) in measures.items()}
        for group, measures in groups.items()
    }


def conditions_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Return how answers were made by the header of their file, in words."""
    sampled = f"sampling with seed {header['seed']}" if header["do_sample"] else "greedy"
    prompt = header["prompt"]
    return {
        "model": f"{header['model_class']} in {header['dtype']}",
        "prompt": f"{prompt['style']} ({prompt['text']!r})",
        "decoding": f"{sampled}, {header['max_new_tokens']} tokens at most",
    }
