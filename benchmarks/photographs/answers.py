"""What makes a closed answer wrong: ``python -m benchmarks.photographs answers MODEL``.

The margin of an answer is the logit of yes minus that of no; the answer is yes if it is above zero. All closed
questions are answered. Tested are all wrong answers and, to compare with, two right ones per scene: a yes and a no.

1. The margin is measured again without each object of the picture that is not asked about. The greatest fall is the
   effect of the picture: pixels of another object speak for yes.
2. The greatest of several falls is above zero for any question. So the same is measured for ``OTHERS`` other absent
   classes, on the same pictures and after the same earlier turn. Their mean is subtracted.
3. The margin is measured on a grey picture. What it exceeds the mean over plain questions about all classes there is
   the effect of the text: the words alone speak for yes. In dialogues, the words hold an earlier answer of yes.
4. For an object that is there, the fall without that object is what its own pixels add.

The cause of a wrong yes is the greater effect, if it is at least ``errors.LEAST`` nats. The same rule is applied to
right answers of no, whose margin nothing had to raise: that is how often it names a cause where there is none. A wrong
yes was chosen because its margin is high, so that any change may lower it. The effect of the picture on right answers
of yes, whose own object stays, shows how much.

Two kinds of questions are kept apart: those that nothing precedes (splits random, popular, adversarial; a question that
is in several of them counts once), and those of the dialogue split, after an earlier answer of yes.

Main effects: the tests of causes in ``lime_xai.worlds.shared.causes``, two by two, as differences in nats; of all
questions, and of the wrong answers alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from rich.progress import track

from lime_xai.worlds.shared.causes import caption_causes, dialogue_causes, main_effects
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet, Question
from lime_xai.worlds.shared.measuring import answer_margins

from .errors import LEAST, NEITHER, PICTURE, TEXT
from .measured import Pairs, add_measured, counted, means, open_measured, report_means

_SEED: Final = 4
_SCENE_SEED: Final = 7
OTHERS: Final = 2
"""Other absent classes that are asked about in the same picture."""
KINDS: Final = {False: "questions", True: "dialogues"}
"""Title of the questions that nothing precedes, and of those after an earlier yes."""


@dataclass(frozen=True)
class Effects:
    """What raises the margin of an answer.

    Attributes
    ----------
    picture : float
        Effect in nats: the greatest fall of the margin without one object that is not asked about.
    others_picture : float
        The same, mean over questions about other absent classes.
    eraser : str
        The object without whose pixels it falls most.
    candidates : int
        How many objects were erased in turn.
    partner : bool or None
        Whether the eraser is the partner of what is asked about; None if the partner is absent.
    own : float or None
        Fall of the margin without the object that is asked about; None if it is absent.
    text : float
        Effect in nats: the margin on a grey picture less the mean over plain questions about all classes.
    """

    picture: float
    others_picture: float
    eraser: str
    candidates: int
    partner: bool | None
    own: float | None
    text: float

    @property
    def beyond(self) -> float:
        """What the picture takes from the margin beyond what it takes from those of other classes, in nats."""
        return self.picture - self.others_picture

    @property
    def cause(self) -> str:
        """``PICTURE``, ``TEXT`` or ``NEITHER``."""
        if max(self.beyond, self.text) < LEAST:
            return NEITHER
        return PICTURE if self.beyond >= self.text else TEXT


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
    rng, effects = np.random.default_rng(_SEED), {}
    for place, text in track(list(zip(tested, texts, strict=True)), "effects"):
        effects[place] = _effects(model, processor, evaluation, questions[place], text, rng)
    return [
        Answer(q.scene, world.language.classes[q.obj], q.label, q.context is not None, margin, effects.get(place))
        for place, (q, margin) in enumerate(zip(questions, margins, strict=True))
    ]


def _tested(questions: Sequence[Question], margins: Sequence[float]) -> list[int]:
    """Return the places of all wrong answers, and of one right yes and one right no per scene."""
    rng = np.random.default_rng(_SEED)
    wrong, right = [], {}
    for place in rng.permutation(len(questions)).tolist():
        asked = questions[place]
        if (margins[place] > 0) is not asked.label:
            wrong.append(place)
        else:
            right[asked.scene, asked.label] = place
    return sorted([*wrong, *right.values()])


def _text_effects(model: Any, processor: Any, evaluation: EvaluationSet, prompts: Sequence[str]) -> list[float]:
    """Return the margin of each prompt on a grey picture, less the mean over plain questions about all classes."""
    world, classes = evaluation.world, evaluation.world.language.classes
    plain = [world.prompt(world.language.exists_question(obj)) for obj in range(len(classes))]
    asked = list(dict.fromkeys([*plain, *prompts]))  # most prompts are plain questions: each is measured once
    grey = [world.nothing(evaluation.media[0])] * len(asked)
    margins = dict(zip(asked, answer_margins(model, processor, world, grey, asked).tolist(), strict=True))
    usual = float(np.mean([margins[prompt] for prompt in plain]))
    return [margins[prompt] - usual for prompt in prompts]


def _effects(
    model: Any, processor: Any, evaluation: EvaluationSet, asked: Question, text: float, rng: np.random.Generator
) -> Effects:
    """Return the effects on one answer, of which that of the text is known."""
    world, scene, medium = evaluation.world, evaluation.scenes[asked.scene], evaluation.media[asked.scene]
    language: Any = world.language
    unasked = [obj for obj in scene.absent if obj not in (asked.obj, asked.context)]
    others = rng.choice(unasked, OTHERS, replace=False).tolist()
    prompts = [replace(asked, obj=obj).prompt for obj in (asked.obj, *others)]
    erased = [world.erase(medium, scene, obj, noise=evaluation.noise, rng=rng) for obj in scene.present]
    media = [medium, *erased]
    texts = [prompt for prompt in prompts for _ in media]
    rows = answer_margins(model, processor, world, media * len(prompts), texts).reshape(len(prompts), len(media))
    falls = rows[:, :1] - rows[:, 1:]  # [questions, objects]
    kept = [place for place, obj in enumerate(scene.present) if obj != asked.obj]
    greatest = falls[:, kept].max(1)
    eraser = scene.present[kept[int(falls[0, kept].argmax())]]
    partner = language.partner(asked.obj)
    return Effects(
        float(greatest[0]),
        float(greatest[1:].mean()),
        language.classes[eraser],
        len(kept),
        eraser == partner if partner in scene.present else None,
        float(falls[0, scene.present.index(asked.obj)]) if asked.label else None,
        text,
    )


def groups(made: Sequence[Answer]) -> dict[str, Pairs]:
    """Return what means are taken of, by title, for questions and dialogues.

    Titles are the share of wrong answers among absent and present objects; the share of each cause among wrong answers
    of yes, and of what the same rule says of right answers of no; and effects in nats on wrong and right answers.
    """
    return {
        f"{kind}: {name}": pairs
        for dialogue, kind in KINDS.items()
        for name, pairs in _of_kind([one for one in made if one.dialogue is dialogue]).items()
    }


def _of_kind(some: Sequence[Answer]) -> dict[str, Pairs]:
    found: dict[str, Pairs] = {
        "wrong yes, absent objects": [(one.scene, one.yes) for one in some if not one.present],
        "wrong no, present objects": [(one.scene, not one.yes) for one in some if one.present],
    }
    tested = {
        f"{'right' if yes is present else 'wrong'} {'yes' if yes else 'no'}": [
            (one.scene, one.effects) for one in some if one.effects and one.yes is yes and one.present is present
        ]
        for yes in (True, False)
        for present in (False, True)
    }
    for title, group in (("wrong yes", "wrong yes"), ("right no, the same rule:", "right no")):
        for cause in (PICTURE, TEXT, NEITHER):
            found[f"{title} by {cause}"] = [(scene, one.cause == cause) for scene, one in tested[group]]
    known = [(s, one) for s, one in tested["wrong yes"] if one.cause == PICTURE and one.partner is not None]
    title = "wrong yes by the picture, the partner is there"
    found[f"{title}: its pixels raise it most"] = [(scene, one.partner) for scene, one in known]
    found[f"{title}: by chance"] = [(scene, 1 / one.candidates) for scene, one in known]
    for field, title in (
        ("beyond", "effect of the picture less that on other classes, nats"),
        ("text", "effect of the text, nats"),
        ("own", "what its own pixels add, nats"),
    ):
        for group, of in tested.items():
            if field != "own" or group in ("right yes", "wrong no"):
                found[f"{title}: {group}"] = [(scene, getattr(one, field)) for scene, one in of]
    return found


def crossed(model: Any, processor: Any, evaluation: EvaluationSet) -> dict[str, Pairs]:
    """Return the main effects of text and picture in the two tests of causes, in nats, by title."""
    of_captions = caption_causes(model, processor, evaluation)
    of_dialogues = dialogue_causes(model, processor, evaluation)
    wrong = of_dialogues.margins[:, 0] > 0
    cells = {
        "captions, log P(partner)": (of_captions.scenes, np.log(of_captions.chances)),
        "dialogues, margin": (of_dialogues.scenes, of_dialogues.margins),
        "dialogues, margin of wrong answers": (of_dialogues.scenes[wrong], of_dialogues.margins[wrong]),
    }
    return {
        f"{title}: main effect of the {name}, nats": list(
            zip(scenes.tolist(), main_effects(values)[:, column].tolist(), strict=True)
        )
        for title, (scenes, values) in cells.items()
        for column, name in enumerate(("text", "picture"))
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, _SCENE_SEED)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    model, processor, evaluation = open_measured(arguments)
    made = answers(model, processor, evaluation)
    some = groups(made) | crossed(model, processor, evaluation)
    wrong = sum(one.yes is not one.present for one in made)
    title = f"{wrong} wrong ones of {len(made)} closed answers about {arguments.scenes} pictures"
    rows = {"answers": [asdict(one) for one in made]}
    report_means(arguments, model, title, means(some, arguments.scenes), rows, counted(some))
