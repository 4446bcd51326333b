"""Whether policies can be measured on a model of a world: its criteria, measured with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from transformers import PreTrainedModel

from lime_xai.evaluation.bootstrap import RESAMPLES, Floats, bounded, estimate, resampling_weights
from lime_xai.generation.steer import steering
from lime_xai.policies.contrast import Contrast
from lime_xai.printing import foreign
from lime_xai.worlds.shared.causes import (
    CELLS,
    CaptionCauses,
    DialogueCauses,
    caption_causes,
    dialogue_causes,
    effect_shares,
)
from lime_xai.worlds.shared.criteria import Criterion
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet
from lime_xai.worlds.shared.measuring import generate_captions
from lime_xai.worlds.shared.metrics import caption_counts, caption_values, mean_over_scenes, ratio
from lime_xai.worlds.shared.records import collect, statistics
from lime_xai.worlds.shared.world import World


@dataclass(frozen=True)
class AcceptanceRow:
    """One measure of a model.

    Attributes
    ----------
    measure, criterion : str
        What was measured, and the interval it should lie in (empty: only reported).
    value, low, high : float
        The estimate and its 95 % bootstrap interval over scenes.
    verdict : str
        ``pass``, ``miss``, or empty where there is no interval.
    """

    measure: str
    criterion: str
    value: float
    low: float
    high: float
    verdict: str

    @property
    def measured(self) -> str:
        """Value and interval as text."""
        return bounded(self.value, self.low, self.high)


def _row(criterion: Criterion, kind: str, values: Floats) -> AcceptanceRow:
    value, low, high = estimate(values)
    binds = criterion.binds(kind)
    verdict = ("pass" if criterion.holds(value) else "miss") if binds else ""
    return AcceptanceRow(criterion.measure, criterion.text if binds else "", value, low, high, verdict)


def _answers(found: dict[str, Floats], world: World) -> dict[str, Floats]:
    accuracy = {split: found[f"splits.{split}.accuracy"] for split in SPLITS}
    return {
        **{f"{split} accuracy": value for split, value in accuracy.items()},
        "random minus dialogue accuracy": accuracy["random"] - accuracy["dialogue"],
        "random minus adversarial accuracy": accuracy["random"] - accuracy["adversarial"],
        "dialogue AUC": found["splits.dialogue.auc"],
        "adversarial AUC": found["splits.adversarial.auc"],
        **{f"{kind} accuracy": found[f"open.{kind}.accuracy"] for kind in world.open_kinds},
        "grounding of names in captions": found["grounding.name"],
        "grounding of yes": found["grounding.yes"],
        **{f"wrong {a.plural} that are habitual": found[f"open.{a.name}.habitual"] for a in world.language.attributes},
        **{f"grounding of {a.plural}": found[f"grounding.{a.name}"] for a in world.language.attributes},
    }


def _captions(found: dict[str, Floats], world: World) -> dict[str, Floats]:
    return {
        "CHAIR_i": found["chair_i"],
        "CHAIR_i, naming twice forbidden": found["no_repeat.chair_i"],
        "recall": found["recall"],
        "F1": found["f1"],
        "finished captions": found["finished"],
        f"hallucinated {world.thing}s whose partner has been named": found["partner_share"],
        f"hallucinated {world.thing}s whose partner is in the {world.medium}": found["pictured_share"],
        "detailed captions of two sentences": found["detailed.two_sentences"],
        "second sentences that are true": found["detailed.true"],
    }


def _causes(captions: CaptionCauses, dialogue: DialogueCauses, world: World, weights: Floats) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    medium = world.medium
    cells = [cell.format(medium=medium) for cell in CELLS]
    for name, event, causes in (("captions", "partner", captions), ("dialogue", "yes", dialogue)):
        means = mean_over_scenes(causes.chances, causes.scenes, weights)
        found |= {f"{name}, P({event}): {cell}": means[:, column] for column, cell in enumerate(cells)}
        of_text, of_medium = effect_shares(means)
        found[f"{name}: share of the text in the effect"] = of_text
        found[f"{name}: share of the {medium} in the effect"] = of_medium
        if name == "captions":
            found["captions: text alone over neither"] = ratio(means[:, 1], means[:, 3])
            found[f"captions: {medium} alone over neither"] = ratio(means[:, 2], means[:, 3])
    yes = dialogue.margins > 0
    errors = weights[:, dialogue.scenes] * yes[:, 0]
    survive = ratio(errors @ yes[:, 1], errors.sum(1))
    found["dialogue errors that survive erasing the partner"] = survive
    found[f"dialogue errors that go with the partner's {world.matter}"] = 1 - survive
    found["dialogue errors that a neutral earlier yes brings too"] = ratio(errors @ yes[:, 2], errors.sum(1))
    found["blind: yes-margin that an earlier yes adds"] = mean_over_scenes(dialogue.blind, dialogue.scenes, weights)
    return found


def _contrast(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, plain: dict[str, Floats], weights: Floats
) -> dict[str, Floats]:
    with steering(model, Contrast()):
        captions = generate_captions(model, processor, evaluation)
    steered = caption_values(weights @ caption_counts(captions, evaluation.scenes, evaluation.world.language))
    return {
        "blind contrast: change of CHAIR_i": steered["chair_i"] - plain["chair_i"],
        "blind contrast: change of F1": steered["f1"] - plain["f1"],
    }


def acceptance(
    model: PreTrainedModel,
    processor: Any,
    evaluation: EvaluationSet,
    kind: str,
    resamples: int = RESAMPLES,
) -> list[AcceptanceRow]:
    """Measure a model against the criteria of its world.

    Parameters
    ----------
    model, processor : object
        A model with the vocabulary of the evaluation set's world, and its processor.
    evaluation : EvaluationSet
        What to measure on.
    kind : str
        ``"language_prior"``, ``"image_cooccurrence"`` or ``"mixed"``: which criteria bind.
    resamples : int
        Bootstrap resamples of the scenes.

    Returns
    -------
    list of AcceptanceRow
        One row per criterion, in their order.
    """
    weights = resampling_weights(len(evaluation.scenes), resamples)
    found = statistics(collect(model, processor, evaluation), weights)
    world = evaluation.world
    values = _answers(found, world) | _captions(found, world)
    values |= _causes(
        caption_causes(model, processor, evaluation), dialogue_causes(model, processor, evaluation), world, weights
    )
    values |= _contrast(model, processor, evaluation, found, weights)
    return [_row(criterion, kind, values[criterion.measure]) for criterion in world.criteria]


def acceptance_table(title: str, rows: Sequence[AcceptanceRow]) -> Table:
    """Return the table for the terminal."""
    table = Table(title=foreign(title, "table.title"), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("measure", "criterion", "measured", ""):
        table.add_column(column, justify="right" if column == "measured" else "left")
    colours = {"pass": "green", "miss": "red", "": "dim"}
    for row in rows:
        verdict = foreign(row.verdict, colours[row.verdict])
        table.add_row(foreign(row.measure), foreign(row.criterion), foreign(row.measured), verdict)
    return table


def as_json(rows: Sequence[AcceptanceRow]) -> list[dict[str, Any]]:
    """Return the rows for a report; JSON has no NaN."""
    return [{k: None if v != v else v for k, v in asdict(row).items()} for row in rows]
