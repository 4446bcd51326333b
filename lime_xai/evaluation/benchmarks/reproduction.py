"""The paper's tables asked again: which rows are run, our numbers beside the paper's cells, and what differs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.against import Against
from lime_xai.evaluation.policies.registry import ITEM_MEDIA
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.edit import Edit
from lime_xai.printing import counted
from lime_xai.storage.store import number

from .answers import Answer, KeptAnswers
from .asking import Asking
from .paper import SOURCE, Cell, PaperModel, cells_of
from .results import Results, results
from .scoring import ALL, Estimate
from .system import System

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Subject:
    """A benchmark of the paper.

    Attributes
    ----------
    protocol : str
        Its name here.
    modality : {"image", "audio"}
        What is asked about.
    shown : tuple of str
        Measures that the table shows; the report has all.
    """

    protocol: str
    modality: Literal["image", "audio"]
    shown: tuple[str, ...]


SUBJECTS = {
    "pope": Subject("pope-coco", "image", ("accuracy", "f1")),
    "pope-aokvqa": Subject("pope-aokvqa", "image", ("accuracy", "f1")),
    "chair": Subject("chair", "image", ("chair_s", "chair_i", "recall", "f1", "length")),
    "audioqa": Subject("audio-hallucination", "audio", ("accuracy", "f1")),
    "airbench": Subject("air-bench-foundation", "audio", ("accuracy", "unparsed")),
}
"""Benchmarks of the paper by the names of the command."""

_PLAIN_MEASURES = ("length",)
"""Measures that are no shares, so that they are not given in percent."""


@dataclass(frozen=True)
class Row:
    """One line of the reproduction.

    Attributes
    ----------
    name : str
        What is run.
    decoding : {"greedy", "sampling"}
        Which file of answers holds it.
    key : str
        Name of the policy in that file.
    policy : Policy, Against or None
        None: the model alone.
    beside : str or None
        The paper's row that stands beside it; None: the paper has none.
    note : str
        How it differs from that row.
    """

    name: str
    decoding: Literal["greedy", "sampling"]
    key: str
    policy: Policy | Against | None
    beside: str | None
    note: str


def rows_of(subject: Subject, model: PaperModel | None) -> list[Row]:
    """Return what is run for a benchmark, in the paper's setting for a model, or the usual one for any other model."""
    setting = Edit.paper() if model is None else model.policy()
    rows = [
        Row("vanilla, greedy", "greedy", "vanilla", None, None, "the paper's regular row samples: no cell beside it"),
        Row(
            "vanilla, sampling",
            "sampling",
            "vanilla",
            None,
            "regular",
            "temperature 1, all tokens; the source says that the paper's row is drawn, and not how",
        ),
        Row(
            "paper's setting",
            "greedy",
            "paper",
            setting,
            "LIME",
            f"{setting.steps} steps of {setting.learning_rate:g}, lambda {setting.objective.kl_weight:g}, tau "
            f"{setting.objective.temperature:g}"
            + (" (those for LLaVA-1.5-7B)" if model is None else "")
            + "; a delta for each head of keys and values, where the paper shares one over the heads of a layer; "
            "greedy, where the source does not name the decoding",
        ),
        Row("our default", "greedy", "edit", Edit(), None, "relevance-guided edit, not of the paper"),
    ]
    rows.append(
        Row("contrast, no gradients", "greedy", "contrast", Contrast(), None, f"branch without the {subject.modality}")
    )
    if subject.modality == "audio":
        note = (
            "AAD: contrast with silence of the same length, strength 1; its instruction before the question is a "
            "prompt of its own (--style aad, for all rows, where the benchmark has it)"
        )
        return [
            *rows,
            Row("AAD, no gradients", "greedy", "contrast_nothing", ITEM_MEDIA["contrast_nothing"], "AAD", note),
        ]
    note = (
        "VCD: contrast with noise on the pixels as the model receives them, step 500 of 1000, strength 1, plausibility "
        ".1; greedy, where VCD's own script samples"
    )
    name = "contrast_noisy_pixels"
    return [*rows, Row("VCD, no gradients", "greedy", name, ITEM_MEDIA[name], "VCD", note)]


@contextmanager
def plain_sampling(model: PreTrainedModel) -> Iterator[None]:
    """Context in which a model draws from its whole distribution at temperature 1, whatever its checkpoint says.

    Penalties and the tokens that end an answer stay as the checkpoint has them.
    """
    before: Any = model.generation_config
    plain = copy.deepcopy(before)
    changed = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
    unset = ("min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
    for name, value in {**changed, **dict.fromkeys(unset)}.items():
        if hasattr(plain, name):
            setattr(plain, name, value)
    model.generation_config = plain
    try:
        yield
    finally:
        model.generation_config = before


@dataclass(frozen=True)
class Reproduction:
    """Our numbers beside the paper's cells, read by one parser.

    Attributes
    ----------
    subject : Subject
        The benchmark.
    model : str
        As the user named it.
    paper : PaperModel or None
        Which of the paper's models it is.
    rows : list of Row
        What was run.
    found : Results
        Our measures; its systems are named as the rows.
    notes : list of str
        What is not the paper's setting in all rows.
    whole : bool
        Whether all splits were asked, where the paper's mean is that of the splits.
    """

    subject: Subject
    model: str
    paper: PaperModel | None
    rows: list[Row]
    found: Results
    notes: list[str]
    whole: bool

    @property
    def title(self) -> str:
        """What was run, in one line."""
        count = counted(self.found.of, "item")
        if self.found.items < self.found.of:
            count = f"{self.found.items} of {count}"
        return f"{self.subject.protocol}, {self.model}, {count}, parser {self.found.parser}"

    def ours(self, row: Row, group: str, measure: str) -> Estimate:
        """Return our value of a row with its interval; shares in percent."""
        scale = 1.0 if measure in _PLAIN_MEASURES else 100.0
        value, low, high = self.found.systems[row.name].measures[group][measure]
        return scale * value, scale * low, scale * high

    def cells(self) -> list[Cell]:
        """Return the paper's cells for this model over groups that were asked; a mean of all splits needs them all."""
        groups = set(self.found.groups) - (set() if self.whole else {ALL})
        return [cell for cell in cells_of(self.paper, self.subject.protocol) if cell.group in groups]

    def cell(self, row: Row, group: str, measure: str) -> Cell | None:
        """Return the cell that stands beside a value; None if the paper has none."""
        place = row.beside, group, measure
        return next((cell for cell in self.cells() if (cell.row, cell.group, cell.measure) == place), None)

    def others(self) -> list[Cell]:
        """Return the paper's cells of methods that are not run here."""
        return [cell for cell in self.cells() if cell.row not in {row.beside for row in self.rows}]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data; None where a number does not exist."""
        return {
            "title": self.title,
            "parser": self.found.parser,
            "items": self.found.items,
            "of": self.found.of,
            "units": self.found.units,
            "model": self.model,
            "paper_model": None if self.paper is None else self.paper.name,
            "source": SOURCE,
            "notes": self.notes,
            "rows": [self._row(row) for row in self.rows],
            "not_run": [_cell(cell) | {"group": cell.group, "measure": cell.measure} for cell in self.others()],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        system = self.found.systems[row.name]
        return {
            "name": row.name,
            "answers": f"{row.decoding}.jsonl",
            "policy": row.key,
            "settings": next(iter(System.of(row.policy).settings), None),
            "note": row.note,
            "texts": {name: None if value is None else number(value) for name, value in system.texts.items()},
            "values": [
                {
                    "group": group,
                    "measure": measure,
                    "unit": "number" if measure in _PLAIN_MEASURES else "percent",
                    "ours": [number(value) for value in self.ours(row, group, measure)],
                    "paper": None if (cell := self.cell(row, group, measure)) is None else _cell(cell),
                }
                for group, measures in system.measures.items()
                for measure in measures
            ],
        }

    def tables(self) -> Group:
        """Return rich tables: our values beside the paper's cells, and cells of methods that are not run here."""
        from .reproduction_tables import reproduction_tables

        return reproduction_tables(self)


def _cell(cell: Cell) -> dict[str, Any]:
    return {"value": cell.value, "table": cell.table, "row": cell.row, "remark": cell.remark}


def reproduction(
    subject: Subject,
    asking: Asking,
    kept: Mapping[str, KeptAnswers],
    model: str,
    paper: PaperModel | None,
    parser: str | None = None,
    *,
    of: int | None = None,
    notes: Sequence[str] = (),
) -> Reproduction:
    """Measure the answers of all rows.

    Parameters
    ----------
    subject : Subject
        The benchmark.
    asking : Asking
        What was asked.
    kept : mapping of str to KeptAnswers
        Files of answers, ``greedy`` and ``sampling``.
    model : str
        Its name, for the title.
    paper : PaperModel or None
        Which of the paper's models it is.
    parser : str, optional
        By default the first of the protocol's.
    of : int, optional
        Items of the files, if some are left out.
    notes : sequence of str
        What is not the paper's setting beside what the files of answers say.

    Raises
    ------
    ValueError
        For an unknown parser, or an item without an answer.
    """
    rows = rows_of(subject, paper)
    answers = {decoding: one.by_policy() for decoding, one in kept.items()}
    systems: dict[str, dict[str, Answer]] = {row.name: answers[row.decoding].get(row.key, {}) for row in rows}
    found = results(asking.protocol, asking.items, systems, parser, against=rows[0].name, of=of)
    about = conditions(kept["greedy"].header, kept["sampling"].header, found)
    whole = asking.protocol.average == "items" or set(asking.protocol.files) <= set(found.groups)
    return Reproduction(subject, model, paper, rows, found, [*notes, *about], whole)


def conditions(greedy: Mapping[str, Any], sampling: Mapping[str, Any], found: Results) -> list[str]:
    """Return how answers were made and read; the source does not give these settings of the paper."""
    prompt, unknown = greedy["prompt"], "the source does not give the paper's"
    notes = [
        f"prompt {prompt['style']} ({prompt['text']!r}): {unknown}",
        f"parser {found.parser}: {unknown}",
        f"{greedy['max_new_tokens']} tokens at most: {unknown}",
        f"weights in {greedy['dtype']}: {unknown}",
        f"sampling with seed {sampling['seed']}: {unknown}",
    ]
    if found.items < found.of:
        notes.append(f"{found.items} of {found.of} items: the paper's cells are of whole benchmarks")
    if found.benchmark == "chair":
        notes.append(f"{counted(found.items, 'image')}: the paper has 500, and the source does not say which")
    return notes
