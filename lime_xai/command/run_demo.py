"""The demonstration: what a bundled model says that it does not see or hear, why, and what steering changes."""

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
from lime_xai.printing import foreign, signed
from lime_xai.worlds import World, bundled_model, load_world
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.language import Language, Truth, article
from lime_xai.worlds.shared.measuring import first_logits
from lime_xai.worlds.sound import SAMPLING_RATE

from .demo_figure import Lead, NextWord, lead_figure
from .demo_measures import Measure, Said, measures, say, steps
from .screen import notices

SHOWN = 4
"""Scenes whose captions are printed: the first."""

CLEAR = {"scene": 0.1}
"""Noise of worlds whose usual noise hides the things from a person."""

SMALL = {"picture": "small pictures", "sound": "sounds of four seconds"}

SLOWER = 6
"""About how many times longer a part takes with steering; for the estimate of the progress bar."""


def run_demo(
    console: Console,
    out: Path,
    world_name: str,
    scenes: int,
    seed: int,
    noise: float | None,
    start: float,
    folder: Path | None = None,
) -> None:
    """Print captions, relevance and measures of a bundled model, without and with steering; save the figure.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    out : Path
        The figure.
    world_name, scenes, seed, noise : str, int, int, float
        World and evaluation set; without a noise that of the world, and less for pictures (``CLEAR``).
    start : float
        When the command began, by ``time.perf_counter``.
    folder : Path, optional
        Where the sounds that are shown go, as WAV files.
    """
    world = load_world(world_name)
    model, processor = bundled_model(world_name)
    clear = CLEAR.get(world_name, world.default_noise)
    noise = clear if noise is None else noise
    evaluation = world.evaluation_set(seed, scenes=scenes, noise=noise)
    console.print(
        f"The model of the {world.name} world that comes with lime-xai describes {scenes} {SMALL[world.medium]}: "
        f"alone, and with steering (Edit). They are the first {scenes} of seed {seed}, with noise {noise:g}; none was "
        "chosen or left out.\n"
    )
    with _progress(evaluation) as progress:
        task = progress.add_task("", total=steps(evaluation) * (1 + SLOWER))

        def said(policy: Edit | None, name: str, weight: int) -> Said:
            progress.update(task, description=name)
            return say(model, processor, evaluation, policy, lambda: progress.advance(task, weight))

        alone = said(None, "the model alone", 1)
        steered = said(Edit(), "with steering", SLOWER)
    console.print(captions_table(evaluation, alone, steered))
    lead = lead_of(model, processor, evaluation, (alone, steered))
    if folder is not None:
        _write_sounds(console, folder, evaluation, lead)
    _print_lead(console, out, lead, evaluation)
    console.print(measures_table(measures(evaluation, alone, steered), evaluation))
    console.print(f"With steering, a word took about {steered.seconds / alone.seconds:.0f} times as long in this run.")
    console.print(advice(world, noise))
    console.print(f"The demonstration took {time.perf_counter() - start:.0f} seconds.")


def advice(world: World, noise: float) -> str:
    """Return what to run next: more of the same world, as studies measure it."""
    more = f"lime-xai world --world {world.name}"
    if noise >= world.default_noise:
        return f"For more scenes and other policies see {more}."
    option = " --audio" if world.modality == "audio" else ""
    return (
        f"Studies use noisier {world.medium}s ({world.default_noise:g}), on which steering makes some answers worse: "
        f"see lime-xai demo{option} --noise {world.default_noise:g} --scenes 300, and {more} for other policies."
    )


@contextmanager
def _progress(evaluation: EvaluationSet) -> Iterator[Progress]:
    """Context with a progress bar that estimates the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notices, transient=True) as progress:
        yield progress


def hallucinated(caption: str, truth: Truth, language: Language) -> list[int]:
    """Return the classes that a caption names and the scene does not hold."""
    return [obj for obj in dict.fromkeys(language.mentions(caption)) if obj not in truth.present]


def captions_table(evaluation: EvaluationSet, alone: Said, steered: Said) -> Table:
    """Return the captions of the first scenes."""
    world = evaluation.world
    medium, thing = world.medium, world.thing
    table = Table(
        title=f"What the model says about the first {SHOWN} {medium}s",
        caption=f"One row per {medium}. *Words* between asterisks, in red, name {thing}s that are not in the {medium}.",
        title_justify="left",
        caption_justify="left",
    )
    for column in (f"is in the {medium}", "the model says", "with steering it says"):
        table.add_column(column, ratio=1)
    for index, truth in enumerate(evaluation.scenes[:SHOWN]):
        captions = (marked(said.captions[index], truth, world.language) for said in (alone, steered))
        table.add_row(", ".join(truth.names), *captions)
    return table


def marked(caption: str, truth: Truth, language: Language) -> Text:
    """Return a caption with the words for absent things between asterisks and in red."""
    absent = {language.classes[obj] for obj in hallucinated(caption, truth, language)}
    words = caption.replace("</s>", "").split()
    parts = [Text(f"*{word}*", "bold red") if word in absent else foreign(word) for word in words]
    return Text(" ").join(parts)


def measures_table(rows: Sequence[Measure], evaluation: EvaluationSet) -> Table:
    """Return the measures over all scenes."""
    media = f"{evaluation.world.medium}s"
    table = Table(
        title=f"How often, over all {len(evaluation.scenes)} {media}",
        caption=f"Shares in percent. Change: in percentage points, with its 95 % interval if other {media} were drawn "
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


def lead_of(model: Any, processor: Any, evaluation: EvaluationSet, said: tuple[Said, Said]) -> Lead | None:
    """Return the first absent thing that the model alone names, with the next word with steering; None: there is none.

    The first is by the order of the scenes and of the words of their captions, whatever steering does there.
    """
    captions, language = said[0].captions, evaluation.world.language
    pairs = enumerate(zip(captions, evaluation.scenes, strict=True))
    found = [(index, hallucinated(caption, truth, language)) for index, (caption, truth) in pairs]
    index, objects = next(((i, objects) for i, objects in found if objects), (0, []))
    if not objects:
        return None
    word = language.classes[objects[0]]
    words = captions[index].split()
    before = " ".join(words[: words.index(word)])
    medium = evaluation.media[index]
    asked = f"{evaluation.caption_prompt} {before}".strip()

    def logits() -> Any:
        return first_logits(model, processor, evaluation.world, [medium], [asked])[0]

    inputs = evaluation.world.batch(processor, [medium], [asked])
    alone = _explained(model, processor, inputs, word, logits())
    with steering(model, Edit()):
        changed = logits()
    steered = _explained(model, processor, inputs, word, changed)
    both = (captions[index], said[1].captions[index])
    return Lead(evaluation.world, medium, evaluation.scenes[index], before, word, both, alone, steered)


def _explained(model: Any, processor: Any, inputs: Any, word: str, logits: Any) -> NextWord:
    """Return the most probable word by some logits ``[V]``, with its relevance in the model alone."""
    chances = softmax(logits)
    token = int(np.argmax(chances))
    found = attribute(model, inputs, target=token, processor=processor)
    invented = processor.tokenizer.convert_tokens_to_ids(word)
    name = str(processor.tokenizer.decode([token])).strip()
    return NextWord(name, float(chances[token]), float(chances[invented]), found.row(0))


def _write_sounds(console: Console, folder: Path, evaluation: EvaluationSet, lead: Lead | None) -> None:
    """Write the clips of the printed captions and of the explained word as WAV files."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    told = set(range(SHOWN))
    told |= {index for index, medium in enumerate(evaluation.media) if lead is not None and medium is lead.medium}
    for index in sorted(told):
        soundfile.write(folder / f"sound-{index + 1:02d}.wav", evaluation.clips[index], SAMPLING_RATE)
    which = "of these rows" if lead is None else "of these rows, and of the word below,"
    console.print(f"\nThe sounds {which} are in {folder}, numbered in their order.")


def _print_lead(console: Console, out: Path, lead: Lead | None, evaluation: EvaluationSet) -> None:
    medium, thing = evaluation.world.medium, evaluation.world.thing
    if lead is None:
        console.print(
            f"No caption names {article(thing)} that is not in its {medium}, so that there is no word to explain.\n"
        )
        return
    notes = [
        f"The first {medium} of seed {evaluation.seed} (noise {evaluation.noise:g}) in whose caption the model alone "
        f"names an absent {thing}, and the first such {thing}; what steering does there played no part in the choice.",
        "Red is evidence for the word, blue against it; the maps have one scale, and so have the bars. Method attnlrp; "
        "relevance of both words in the model without steering.",
    ]
    lead_figure(lead, notes).savefig(out)
    shares = lead.alone.row.shares
    console.print(f"\nWhy the model says “{lead.word}”, which is not in the {medium}:")
    perceived = shares[evaluation.world.modality]
    console.print(
        f"  {shares['text']:.0%} of the relevance lies on words and {perceived:.0%} on the {medium}.\n"
        f"  Relevance tells how much each input speaks for the word (method: AttnLRP).\n"
        f"  The strongest inputs: {_strongest(lead)}.\n"
        f"  Steering: the probability of “{lead.word}” at this place goes from {lead.alone.invented:.0%} to "
        f"{lead.steered.invented:.0%}; it says “{lead.steered.word}”.",
        soft_wrap=True,
    )
    console.print(f"  The figure of this: {out}\n", soft_wrap=True)


def _strongest(lead: Lead, most: int = 3) -> str:
    """Return the inputs with the largest relevance, words and the picture or sound as a whole."""
    row = lead.alone.row
    found = [(f"“{row.labels[place].strip()}”", float(row.values[place])) for place in row.text_positions]
    found += [
        (f"the {name}", float(row.of(layout.positions).sum()))
        for name, layout in zip(row.names, row.layouts, strict=True)
    ]
    found.sort(key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{name} {signed(value)}" for name, value in found[:most])
