"""What invents an object, and what a false premise does: ``python -m benchmarks.photographs errors MODEL``.

Causes. For every word of a caption that names an absent object, its log-probability is measured again, each time at
the same place of the same caption:

1. with each object of the picture erased in turn. The greatest fall is the effect of the picture: pixels of another
   object raise the word, which is a misperception.
2. with each name that the caption has said before replaced by another present object, with its article. The greatest
   fall is the effect of the text: a prior of the language model raises the word. Where all present objects have been
   named, or no name has an article, no name can be replaced, and the text is not tested.

The greatest of several falls is above zero for words that nothing raises too, and grows with their number. So the same
numbers are taken of other words in the same place: the mean over the absent classes that have the same article and
were not named before. The cause is the greater of the two effects after those of the other words are subtracted, if it
is at least ``LEAST`` nats, and none otherwise. Words whose text was not tested are counted apart.

A word that a caption names was the most probable one, and any change makes such a word less probable. So the same two
effects are measured on true names: the last one of every caption, without each *other* object of the picture, and with
an earlier name replaced. Nothing of that should matter to a word that its own object raises. Of true names too it is
counted how often the text takes ``LEAST`` nats beyond what it takes from other words. The picture is not counted so:
a true name loses little without other objects, since its own object stays, and less than absent words in its place.

Premises: see ``premises.py``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from rich.progress import track

from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.language import article
from lime_xai.worlds.shared.measuring import first_scores, generate_captions

from .measured import Pairs, add_measured, counted, differences, means, open_measured, report_means
from .premises import FALSE_MINUS_TRUE, Premise, premise_groups, premises

LEAST: Final = 0.5
"""Nats that a cause must take from a word, beyond what it takes from other words."""
CAUSES = PICTURE, TEXT, NEITHER = "the picture", "the text", "neither"
UNTESTED = "the text was not tested"
TESTED = "tested inventions"
"""Invented words whose text was tested, or that no name came before."""
LATER, TRUE_NAMES = "inventions behind a name", "true names behind a name"
"""Invented words and true names that a name came before, and whose text was tested."""
BY_TEXT = "the text takes half a nat beyond other words:"
_SEED: Final = 4
_SCENE_SEED: Final = 7


@dataclass(frozen=True)
class Word:
    """A name in a caption, and what makes it less probable.

    Attributes
    ----------
    scene : int
        Index of its scene.
    word : str
        The name.
    invented : bool
        Whether it names an absent object.
    picture : float
        Effect in nats: the greatest fall of its log-probability without an object (for a true name, another object).
    text : float or None
        The same with another name before it; 0 where no name came before it, None where it was not tested.
    first : bool
        Whether no name came before it.
    eraser : str
        The object without whose pixels it falls most.
    eraser_named : bool
        Whether the caption names that object.
    others_picture, others_text : float or None
        The same two effects, mean over other words in the same place; None where there are none.
    """

    scene: int
    word: str
    invented: bool
    picture: float
    text: float | None
    first: bool
    eraser: str
    eraser_named: bool
    others_picture: float | None
    others_text: float | None

    @property
    def beyond(self) -> tuple[float | None, float | None]:
        """What picture and text take from the word beyond what they take from others; None where not measured."""
        return _less(self.picture, self.others_picture), _less(self.text, self.others_text)

    @property
    def more(self) -> tuple[float | None, float | None]:
        """Effect of the picture minus that of the text, as measured and beyond others; None where not measured."""
        return _less(self.picture, self.text), _less(*self.beyond)

    @property
    def by_text(self) -> bool:
        """Whether the text takes ``LEAST`` nats beyond what it takes from other words; not where it was not tested."""
        text = self.beyond[1]
        return text is not None and text >= LEAST

    @property
    def cause(self) -> str:
        """``PICTURE``, ``TEXT``, ``NEITHER`` or ``UNTESTED``."""
        picture, text = self.beyond
        if picture is None or text is None:
            return UNTESTED
        if max(picture, text) < LEAST:
            return NEITHER
        return PICTURE if picture >= text else TEXT


def _less(one: float | None, other: float | None) -> float | None:
    """Return one number minus another; None where either is not known."""
    return None if one is None or other is None else one - other


def words(model: Any, processor: Any, evaluation: EvaluationSet, captions: Sequence[str]) -> list[Word]:
    """Return the effects on every first mention of an absent object, and on the last true name of each caption.

    Parameters
    ----------
    model, processor : object
        The model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What was described, scenes of at least two objects.
    captions : sequence of str
        One per scene; their first sentences are read.
    """
    rng, language = np.random.default_rng(_SEED), evaluation.world.language
    found = []
    pairs = list(zip(evaluation.scenes, captions, strict=True))
    for index, (scene, caption) in enumerate(track(pairs, "captions")):
        first = caption.partition(".")[0]
        named = list(dict.fromkeys(language.mentions(first)))
        true = [obj for obj in named if obj in scene.present]
        for obj in [*(obj for obj in named if obj not in scene.present), *true[-1:]]:
            begun = first[: _place(first, language.classes[obj])]
            found.append(_word(model, processor, evaluation, rng, index, begun, obj, true))
    return found


def _place(text: str, name: str) -> int:
    """Return where a name begins in a text, with the space before it; capital letters count as small ones.

    Raises
    ------
    ValueError
        If no space precedes the name: what is measured is the token of the name behind a space.
    """
    found = re.search(rf"\s{name}(?=[\s,]|$)", text, re.IGNORECASE)
    if found is None:
        raise ValueError(
            f"the answer {text!r} has no space before the name {name!r}; expected one such as 'There is a dog', as a "
            "model of photographs gives it, since names are measured as tokens that begin with a space"
        )
    return found.start()


def renamed(begun: str, name: str, other: str) -> str | None:
    """Return the beginning of a caption in which another object, with its own article, takes the place of a name.

    The article that the caption has may be wrong ("a elephant"). None if the name has none ("a toy car").
    """
    found, count = re.subn(rf"\ban?\s+{name}(?=[\s,]|$)", article(other), begun, flags=re.IGNORECASE)
    return found if count else None


def _word(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    rng: np.random.Generator,
    index: int,
    begun: str,
    obj: int,
    true: Sequence[int],
) -> Word:
    world, scene, medium = evaluation.world, evaluation.scenes[index], evaluation.media[index]
    classes, names = world.language.classes, world.name_tokens(processor)
    beside = [one for one in scene.present if one != obj]
    erased = [world.erase(medium, scene, one, noise=evaluation.noise, rng=rng) for one in beside]
    named = list(dict.fromkeys(world.language.mentions(begun)))
    unnamed = [one for one in beside if one not in named]
    drawn = [unnamed[int(rng.integers(len(unnamed)))] for _ in named] if unnamed else []
    changed = [renamed(begun, classes[one], classes[other]) for one, other in zip(named, drawn, strict=False)]
    texts = [text for text in changed if text is not None]
    alike = world.language.article_of(obj)
    others = [one for one in scene.absent if one not in (obj, *named) and world.language.article_of(one) == alike]
    media = [medium, *erased, *[medium] * len(texts)]
    prompts = [evaluation.caption_prompt + text for text in (*[begun] * (1 + len(erased)), *texts)]
    tokens = [names[one] for one in (obj, *others)]
    scores = np.stack(first_scores(model, processor, world, media, prompts, [tokens] * len(prompts), normalised=True))
    falls = scores[0] - scores[1:]  # [prompts but the first, words]
    of_picture, of_text = falls[: len(erased)], falls[len(erased) :]
    picture, text = of_picture.max(0), of_text.max(0) if len(of_text) else np.zeros(len(tokens))
    tested, eraser = bool(texts) or not named, beside[int(of_picture[:, 0].argmax())]
    return Word(
        index,
        classes[obj],
        obj not in scene.present,
        float(picture[0]),
        float(text[0]) if tested else None,
        not named,
        classes[eraser],
        eraser in true,
        float(picture[1:].mean()) if others else None,
        float(text[1:].mean()) if others and tested else None,
    )


def groups(made: Sequence[Word]) -> dict[str, Pairs]:
    """Return what means are taken of, by title.

    Titles are the share of invented words whose text was not tested; of the others, the share of each cause; of words
    and true names behind another name, the share of which the text takes ``LEAST`` nats beyond other words; and effects
    in nats on invented words, on other words in their places, and on true names. What the text does is counted of words
    behind another name alone: of others it is 0 by definition.
    """
    invented, true = ([one for one in made if one.invented is kind] for kind in (True, False))
    tested = [one for one in invented if one.cause != UNTESTED]
    later, known = ([one for one in some if one.cause != UNTESTED and not one.first] for some in (invented, true))
    found: dict[str, Pairs] = {
        f"inventions, {UNTESTED}": [(one.scene, one.cause == UNTESTED) for one in invented],
        **{f"{TESTED} by {cause}": [(one.scene, one.cause == cause) for one in tested] for cause in CAUSES},
        f"{TESTED} by the picture: the caption does not name the object that raises them": [
            (one.scene, not one.eraser_named) for one in tested if one.cause == PICTURE
        ],
        f"{BY_TEXT} {LATER}": [(one.scene, one.by_text) for one in later],
        f"{BY_TEXT} {TRUE_NAMES}": [(one.scene, one.by_text) for one in known],
    }
    for place, name in enumerate(("picture", "text")):
        title = f"effect of the {name}, nats"
        words_there, names_there = (
            [one for one in some if name == "picture" or not one.first] for some in (invented, true)
        )
        found[f"{title}: invented words"] = [(one.scene, getattr(one, name)) for one in words_there]
        found[f"{title}: other words there"] = [(one.scene, getattr(one, f"others_{name}")) for one in words_there]
        found[f"{title}: invented minus other words"] = [(one.scene, one.beyond[place]) for one in words_there]
        found[f"{title}: true names"] = [(one.scene, getattr(one, name)) for one in names_there]
        found[f"{title}: true names minus other words there"] = [(one.scene, one.beyond[place]) for one in names_there]
    title = f"effect of the picture minus that of the text, nats: {LATER}"
    found[title] = [(one.scene, one.more[0]) for one in later]
    found[f"{title}, less the same on other words"] = [(one.scene, one.more[1]) for one in later]
    return found


def summary(made: Sequence[Word], said: Sequence[Premise], scenes: int) -> dict[str, tuple[float, float, float]]:
    """Return means with 95 % bootstrap intervals over scenes.

    Returns
    -------
    dict
        Means of ``groups``, and differences between invented words and true names; means of ``premise_groups``, and
        differences between false and true premises.
    """
    of_words, of_premises = groups(made), premise_groups(said)
    pairs = {f"{BY_TEXT} {LATER} minus true names": (f"{BY_TEXT} {LATER}", f"{BY_TEXT} {TRUE_NAMES}")}
    for name in ("picture", "text"):
        title = f"effect of the {name}, nats"
        pairs[f"{title}: invented words minus true names"] = (f"{title}: invented words", f"{title}: true names")
    found = means(of_words, scenes) | differences(of_words, pairs, scenes)
    return found | means(of_premises, scenes) | differences(of_premises, FALSE_MINUS_TRUE, scenes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, _SCENE_SEED)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    model, processor, evaluation = open_measured(arguments)
    captions = generate_captions(model, processor, evaluation)
    made, said = words(model, processor, evaluation, captions), premises(model, processor, evaluation)
    found = summary(made, said, arguments.scenes)
    rows = {"captions": captions, "words": [asdict(one) for one in made], "premises": [asdict(one) for one in said]}
    invented = sum(one.invented for one in made)
    title = f"{invented} invented objects in {arguments.scenes} captions"
    report_means(arguments, model, title, found, rows, counted(groups(made) | premise_groups(said)))
