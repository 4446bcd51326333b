"""What makes a closed answer wrong: ``python -m benchmarks.photographs answers MODEL``.

An answer is its margin: the logit of yes minus that of no; above zero it is yes. All closed questions are answered.
Tested are all wrong answers and, to compare with, some right ones: one of yes and one of no per scene and kind of
question.

1. The margin is measured on the picture without each object in turn that is not asked about. The greatest fall is the
   effect of the picture: pixels of another object speak for yes.
2. For an object that is there, the fall without that object itself is what its own pixels add.
3. The margin is measured on a grey picture, with the same words before it. What it exceeds the mean over plain
   questions about all classes there is the effect of the text: the words alone speak for yes, more than for other
   names.

The greatest of several falls is above zero for any question. So the means of both effects over the right answers of
no, to the same kind of question, are subtracted. The cause of a wrong yes is the greater of the two effects after that,
if it is at least ``errors.LEAST`` nats. A margin that was above zero can fall more easily than one below. So the effect
of the picture is shown for right answers of yes too, whose own object stays.

Two kinds of questions are kept apart: those that nothing precedes (splits random, popular, adversarial; a question that
is in several of them counts once), and those of the dialogue split, after an earlier answer of yes.

Main effects: the tests of causes in ``lime_xai.worlds.shared.causes``, two by two, as differences in nats.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from rich.progress import track

from lime_xai.evaluation.bootstrap import estimate, resampling_weights
from lime_xai.worlds.shared.causes import caption_causes, dialogue_causes, main_effects
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet, Question
from lime_xai.worlds.shared.measuring import answer_margins
from lime_xai.worlds.shared.metrics import Floats, mean_over_scenes

from .errors import LEAST, NEITHER, PICTURE, TEXT
from .measured import add_measured, open_measured, report_means
from .premises import mean_known

_SEED: Final = 4
_SCENES: Final = 7
"""Seed of the scenes."""
KINDS: Final = {False: "questions", True: "dialogues"}
"""Title of the questions that nothing precedes, and of those after an earlier yes."""


@dataclass(frozen=True)
class Effects:
    """What raises the margin of an answer.

    Attributes
    ----------
    picture : float
        Effect in nats: the greatest fall of the margin without one object that is not asked about.
    eraser : str
        The object without whose pixels it falls most.
    partner : bool
        Whether that object is the partner of what is asked about.
    own : float or None
        Fall of the margin without the object that is asked about; None if it is absent.
    text : float
        Effect in nats: the margin on a grey picture less the mean over plain questions about all classes.
    """

    picture: float
    eraser: str
    partner: bool
    own: float | None
    text: float


@dataclass(frozen=True)
class Answer:
    """A closed answer, and what makes it yes.

    Attributes
    ----------
    scene : int
        Index of its scene.
    word : str
        What is asked about.
    present : bool
        Whether it is in the picture.
    dialogue : bool
        Whether an earlier answer of yes precedes the question.
    margin : float
        Logit of yes minus that of no.
    effects : Effects or None
        What raises the margin; None where it was not tested.
    """

    scene: int
    word: str
    present: bool
    dialogue: bool
    margin: float
    effects: Effects | None

    @property
    def yes(self) -> bool:
        """Whether the answer is yes."""
        return self.margin > 0


def asked_once(evaluation: EvaluationSet) -> list[Question]:
    """Return all closed questions; one that is in several splits is there once."""
    found = {(q.scene, q.obj, q.context): q for split in SPLITS for q in evaluation.split(split)}
    return sorted(found.values(), key=lambda q: q.scene)


def answers(model: Any, processor: Any, evaluation: EvaluationSet) -> list[Answer]:
    """Return every closed answer; the wrong ones, and some right ones, with their effects.

    Parameters
    ----------
    model, processor : object
        The model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        Whose questions are asked, about scenes of at least two objects.
    """
    world, questions = evaluation.world, asked_once(evaluation)
    batches = [
        questions[start : start + world.question_rows] for start in range(0, len(questions), world.question_rows)
    ]
    margins: list[float] = []
    for some in track(batches, "answers"):
        media, prompts = [evaluation.media[q.scene] for q in some], [q.prompt for q in some]
        margins += answer_margins(model, processor, world, media, prompts).tolist()
    tested = _tested(questions, margins)
    texts = _text_effects(model, processor, evaluation, [questions[place].prompt for place in tested])
    effects = {}
    rng = np.random.default_rng(_SEED)
    for place, text in track(list(zip(tested, texts, strict=True)), "effects"):
        asked = questions[place]
        scene, medium = evaluation.scenes[asked.scene], evaluation.media[asked.scene]
        erased = [world.erase(medium, scene, obj, noise=evaluation.noise, rng=rng) for obj in scene.present]
        without = answer_margins(model, processor, world, erased, [asked.prompt] * len(erased))
        falls = dict(zip(scene.present, (margins[place] - without).tolist(), strict=True))
        effects[place] = _effects(world.language, asked.obj, falls, text)
    return [
        Answer(q.scene, world.language.classes[q.obj], q.label, q.context is not None, margin, effects.get(place))
        for place, (q, margin) in enumerate(zip(questions, margins, strict=True))
    ]


def _tested(questions: Sequence[Question], margins: Sequence[float]) -> list[int]:
    """Return the places of all wrong answers, and of one right yes and one right no per scene and kind of question."""
    rng = np.random.default_rng(_SEED)
    wrong, right = [], {}
    for place in rng.permutation(len(questions)).tolist():
        asked = questions[place]
        if (margins[place] > 0) is not asked.label:
            wrong.append(place)
        else:
            right[asked.scene, asked.context is not None, asked.label] = place
    return sorted([*wrong, *right.values()])


def _text_effects(model: Any, processor: Any, evaluation: EvaluationSet, prompts: Sequence[str]) -> list[float]:
    """Return the margin of each prompt on a grey picture, less the mean over plain questions about all classes."""
    world, classes = evaluation.world, evaluation.world.language.classes
    grey = world.nothing(evaluation.media[0])
    plain = [world.prompt(world.language.exists_question(obj)) for obj in range(len(classes))]
    margins = answer_margins(model, processor, world, [grey] * (len(plain) + len(prompts)), [*plain, *prompts])
    found: list[float] = (margins[len(plain) :] - margins[: len(plain)].mean()).tolist()
    return found


def _effects(language: Any, obj: int, falls: dict[int, float], text: float) -> Effects:
    """Return the effects on an answer from what its margin falls without each object, and the effect of the text."""
    others = {one: fall for one, fall in falls.items() if one != obj}
    eraser = max(others, key=lambda one: others[one])
    partner = eraser == language.partner(obj)
    return Effects(others[eraser], language.classes[eraser], partner, falls.get(obj), text)


def _effect(one: Answer, name: str) -> float | None:
    """Return an effect by the name of its field; None where it was not tested."""
    found: float | None = None if one.effects is None else getattr(one.effects, name)
    return found


def causes(made: Sequence[Answer]) -> list[tuple[Answer, Effects, str]]:
    """Return every wrong yes with its effects and its cause: ``PICTURE``, ``TEXT`` or ``NEITHER``."""
    found = []
    for dialogue in KINDS:
        some = [(one, one.effects) for one in made if one.dialogue is dialogue and not one.present and one.effects]
        right = [effects for one, effects in some if not one.yes]
        picture = float(np.mean([one.picture for one in right] or [0.0]))
        text = float(np.mean([one.text for one in right] or [0.0]))
        for one, effects in some:
            if one.yes:
                found.append((one, effects, _cause(effects.picture - picture, effects.text - text)))
    return found


def _cause(picture: float, text: float) -> str:
    if max(picture, text) < LEAST:
        return NEITHER
    return PICTURE if picture >= text else TEXT


def summary(made: Sequence[Answer], scenes: int) -> dict[str, tuple[float, float, float]]:
    """Return means with 95 % bootstrap intervals over scenes, for questions and dialogues.

    Returns
    -------
    dict
        Share of wrong answers among absent and present objects; share of each cause among wrong answers of yes; both
        effects in nats on wrong and right answers, with differences.
    """
    weights = resampling_weights(scenes)
    caused = causes(made)
    found: dict[str, Floats] = {}

    def mean(pairs: Sequence[tuple[int, float | None]]) -> Floats:
        return mean_known(pairs, weights)

    for dialogue, kind in KINDS.items():
        some = [one for one in made if one.dialogue is dialogue]
        groups = {
            "wrong yes": [one for one in some if one.yes and not one.present],
            "right no": [one for one in some if not one.yes and not one.present],
            "right yes": [one for one in some if one.yes and one.present],
            "wrong no": [one for one in some if not one.yes and one.present],
        }

        found[f"{kind}: wrong yes, absent objects"] = mean([(one.scene, one.yes) for one in some if not one.present])
        found[f"{kind}: wrong no, present objects"] = mean([(one.scene, not one.yes) for one in some if one.present])
        here = [each for each in caused if each[0].dialogue is dialogue]
        for name in (PICTURE, TEXT, NEITHER):
            found[f"{kind}: wrong yes by {name}"] = mean([(one.scene, cause == name) for one, _, cause in here])
        by_picture = [(one.scene, effects.partner) for one, effects, cause in here if cause == PICTURE]
        found[f"{kind}: wrong yes by the picture: the object that raises it is the partner"] = mean(by_picture)
        for name in ("picture", "text"):
            title = f"{kind}: effect of the {name}, nats"
            means = {group: mean([(one.scene, _effect(one, name)) for one in of]) for group, of in groups.items()}
            found |= {f"{title}: {group}": means[group] for group in ("wrong yes", "right no", "right yes")}
            found[f"{title}: wrong yes minus right no"] = means["wrong yes"] - means["right no"]
            found[f"{title}: wrong yes minus right yes"] = means["wrong yes"] - means["right yes"]
        for group in ("right yes", "wrong no"):
            own = mean([(one.scene, _effect(one, "own")) for one in groups[group]])
            found[f"{kind}: what its own pixels add, nats: {group}"] = own
    return {name: estimate(values) for name, values in found.items()}


def crossed(model: Any, processor: Any, evaluation: EvaluationSet) -> dict[str, tuple[float, float, float]]:
    """Return the main effects of text and picture in the two tests of causes, in nats, with their intervals."""
    weights = resampling_weights(len(evaluation.scenes))
    of_captions = caption_causes(model, processor, evaluation)
    of_dialogues = dialogue_causes(model, processor, evaluation)
    cells = {
        "captions, log P(partner)": (of_captions.scenes, np.log(of_captions.chances)),
        "dialogue, margin of yes": (of_dialogues.scenes, of_dialogues.margins),
    }
    found = {}
    for title, (scenes, values) in cells.items():
        means = mean_over_scenes(main_effects(values), scenes, weights)
        for column, name in enumerate(("text", "picture")):
            found[f"{title}: main effect of the {name}, nats"] = estimate(means[:, column])
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, _SCENES)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    model, processor, evaluation = open_measured(arguments)
    made = answers(model, processor, evaluation)
    found = summary(made, arguments.scenes) | crossed(model, processor, evaluation)
    wrong = sum(one.yes is not one.present for one in made)
    title = f"{wrong} wrong ones of {len(made)} closed answers about {arguments.scenes} pictures"
    report_means(arguments, model, title, found, {"answers": [asdict(one) for one in made]})
