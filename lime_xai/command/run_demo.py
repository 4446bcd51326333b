"""The demonstration: what the bundled model says that is not in a picture, why, and what steering changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from scipy.special import softmax

from lime_xai.attribution.attribute import attribute
from lime_xai.generation.steer import steering
from lime_xai.policies.edit import Edit
from lime_xai.printing import foreign
from lime_xai.worlds import bundled_model, load_world, scene

from .demo_figure import Lead, NextWord, lead_figure
from .demo_measures import Measure, Said, measures, say, steps
from .screen import notices

SHOWN = 4
"""Pictures whose captions are printed: the first."""

SLOWER = 6
"""About how many times longer a part takes with steering; for the estimate of the progress bar."""


def run_demo(console: Console, out: Path, scenes: int, seed: int, noise: float, start: float) -> None:
    """Print captions, relevance and measures of the bundled model, without and with steering; save the picture.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    out : Path
        The picture.
    scenes, seed, noise : int, int, float
        Of the evaluation set.
    start : float
        When the command began, by ``time.perf_counter``.
    """
    model, processor = bundled_model()
    evaluation = load_world("scene").evaluation_set(seed, scenes=scenes, noise=noise)
    console.print(
        f"The model that comes with lime-xai describes {scenes} small pictures: alone, and with steering (Edit). "
        f"They are the first {scenes} of seed {seed}, with pixel noise {noise:g}; none was chosen or left out.\n"
    )
    with _progress(evaluation) as progress:
        task = progress.add_task("", total=steps(evaluation) * (1 + SLOWER))

        def said(policy: Edit | None, name: str, weight: int) -> Said:
            progress.update(task, description=name)
            return say(model, processor, evaluation, policy, lambda: progress.advance(task, weight))

        alone = said(None, "the model alone", 1)
        steered = said(Edit(), "with steering", SLOWER)
    console.print(captions_table(evaluation, alone, steered))
    _print_lead(console, out, lead_of(model, processor, evaluation, (alone, steered)), evaluation)
    console.print(measures_table(measures(evaluation, alone, steered), scenes))
    console.print(f"With steering, a word took about {steered.seconds / alone.seconds:.0f} times as long in this run.")
    if noise < scene.DEFAULT_NOISE:
        console.print(
            f"Studies use noisier pictures ({scene.DEFAULT_NOISE:g}), on which steering makes some answers worse: see "
            f"lime-xai demo --noise {scene.DEFAULT_NOISE:g} --scenes 300, and lime-xai world for other policies."
        )
    console.print(f"The demonstration took {time.perf_counter() - start:.0f} seconds.")


@contextmanager
def _progress(evaluation: scene.EvaluationSet) -> Iterator[Progress]:
    """Context with a progress bar that estimates the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notices, transient=True) as progress:
        yield progress


def hallucinated(caption: str, truth: scene.Scene) -> list[int]:
    """Return the objects a caption names that the scene does not hold."""
    return [obj for obj in dict.fromkeys(scene.LANGUAGE.mentions(caption)) if obj not in truth.present]


def captions_table(evaluation: scene.EvaluationSet, alone: Said, steered: Said) -> Table:
    """Return the captions of the first pictures."""
    table = Table(
        title=f"What the model says about the first {SHOWN} pictures",
        caption="One row per picture. *Words* between asterisks, in red, name objects that are not in the picture.",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("is in the picture", "the model says", "with steering it says"):
        table.add_column(column, ratio=1)
    for index, truth in enumerate(evaluation.scenes[:SHOWN]):
        captions = (marked(said.captions[index], truth) for said in (alone, steered))
        table.add_row(", ".join(truth.names), *captions)
    return table


def marked(caption: str, truth: scene.Scene) -> Text:
    """Return a caption with the words for absent objects between asterisks and in red."""
    absent = {scene.CLASSES[obj] for obj in hallucinated(caption, truth)}
    words = caption.replace("</s>", "").split()
    parts = [Text(f"*{word}*", "bold red") if word in absent else foreign(word) for word in words]
    return Text(" ").join(parts)


def measures_table(rows: Sequence[Measure], scenes: int) -> Table:
    """Return the measures over all pictures."""
    table = Table(
        title=f"How often, over all {scenes} pictures",
        caption="Shares in percent. Change: in percentage points, with its 95 % interval if other pictures were drawn "
        "(bootstrap). The last column says better or worse where the interval does not hold zero.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("what is measured", ratio=1)
    for column in ("should", "alone", "steered", "change", "so it is"):
        table.add_column(column, justify="right" if column in ("alone", "steered", "change") else "left", no_wrap=True)
    styles = {"better": "green", "worse": "bold red", "not clear": "dim"}
    for row in rows:
        shares = [f"{100 * value:.1f}" for value in (row.alone, row.steered)]
        change = f"{100 * row.change:+.1f} [{100 * row.low:.0f}, {100 * row.high:.0f}]"
        verdict = Text(row.verdict, styles[row.verdict])
        table.add_row(row.words, "rise" if row.rises else "fall", *shares, change, verdict)
    return table


def lead_of(model: Any, processor: Any, evaluation: scene.EvaluationSet, said: tuple[Said, Said]) -> Lead | None:
    """Return the first absent object that the model alone names, with the next word with steering; None: there is none.

    The first is by the order of the pictures and of the words of their captions, whatever steering does there.
    """
    captions = said[0].captions
    found = [(i, hallucinated(c, s)) for i, (c, s) in enumerate(zip(captions, evaluation.scenes, strict=True))]
    index, objects = next(((i, objects) for i, objects in found if objects), (0, []))
    if not objects:
        return None
    word = scene.CLASSES[objects[0]]
    words = captions[index].split()
    before = " ".join(words[: words.index(word)])
    picture = evaluation.images[index]
    asked = f"{evaluation.caption_prompt} {before}".strip()
    alone = _next_word(model, processor, picture, asked, word)
    with steering(model, Edit()):
        logits = scene.first_logits(model, processor, scene.WORLD, [picture], [asked])[0]
    steered = _explained(model, processor, picture, asked, word, logits)
    both = (captions[index], said[1].captions[index])
    return Lead(picture, evaluation.scenes[index], before, word, both, alone, steered)


def _next_word(model: Any, processor: Any, picture: Any, asked: str, word: str) -> NextWord:
    logits = scene.first_logits(model, processor, scene.WORLD, [picture], [asked])[0]
    return _explained(model, processor, picture, asked, word, logits)


def _explained(model: Any, processor: Any, picture: Any, asked: str, word: str, logits: Any) -> NextWord:
    """Return the most probable word by some logits ``[V]``, with its relevance in the model alone."""
    chances = softmax(logits)
    token = int(np.argmax(chances))
    inputs = processor(images=[[picture]], text=[asked], return_tensors="pt")
    found = attribute(model, inputs, target=token, processor=processor)
    invented = processor.tokenizer.convert_tokens_to_ids(word)
    name = str(processor.tokenizer.decode([token])).strip()
    return NextWord(name, float(chances[token]), float(chances[invented]), found.row(0))


def _print_lead(console: Console, out: Path, lead: Lead | None, evaluation: scene.EvaluationSet) -> None:
    if lead is None:
        console.print("No caption names an object that is not in its picture, so that there is no word to explain.\n")
        return
    notes = [
        f"The first picture of seed {evaluation.seed} (noise {evaluation.noise:g}) in whose caption the model alone "
        "names an absent object, and the first such object; what steering does there played no part in the choice.",
        "Red is evidence for the word, blue against it; the maps have one scale, and so have the bars. Method attnlrp; "
        "relevance of both words in the model without steering.",
    ]
    lead_figure(lead, notes).savefig(out)
    shares = lead.alone.row.shares
    console.print(f"\nWhy the model says “{lead.word}”, which is not in the picture:")
    console.print(
        f"  {shares['text']:.0%} of the relevance lies on words and {shares['image']:.0%} on the picture.\n"
        f"  Relevance tells how much each input speaks for the word (method: AttnLRP).\n"
        f"  The strongest inputs: {_strongest(lead)}.\n"
        f"  Steering: the probability of “{lead.word}” at this place goes from {lead.alone.invented:.0%} to "
        f"{lead.steered.invented:.0%}; it says “{lead.steered.word}”.",
        soft_wrap=True,
    )
    console.print(f"  The picture of this: {out}\n", soft_wrap=True)


def _strongest(lead: Lead, most: int = 3) -> str:
    """Return the inputs with the largest relevance, words and the picture as a whole."""
    row = lead.alone.row
    found = [(f"“{row.labels[place].strip()}”", float(row.values[place])) for place in row.text_positions]
    found += [
        (f"the {name}", float(row.of(layout.positions).sum()))
        for name, layout in zip(row.names, row.layouts, strict=True)
    ]
    found.sort(key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{name} {value:+.2f}" for name, value in found[:most])
