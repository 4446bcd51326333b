"""Draw the gallery of photographs in the documentation: maps of named objects, and the page that shows them.

Photographs of scikit-learn and scikit-image are shown with their maps. Scenes of stamps are shown as the background
without the objects, with their boxes and names: no pixel and no outline of a stamp is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

import lime_xai
from benchmarks.pages import put_between
from lime_xai.printing import foreign
from lime_xai.report.answer import ExplainedAnswer
from lime_xai.storage.store import check_writable, write_text
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.language import article
from lime_xai.worlds.shared.metrics import things_in
from lime_xai.worlds.shared.models import load_frozen

from .catalogue import CLASSES
from .gallery_figure import Named, maps_figure, save_small
from .placed import PhotoScene, emptied
from .samples import SAMPLES, Sample, check_packages, photograph
from .scenes import render
from .world import PhotographWorld, open_world

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = "gallery-photographs.md"
SEED: Final = 900
"""Of the scenes; nothing is measured or chosen on it."""
SCENES: Final = 6
BEGIN, END = "<!-- photographs -->\n", "<!-- /photographs -->"
"""What stands between them on the page is written by this command."""
_TOKENS: Final = 40
_HEADER: Final = "| word | the object is | image share | grounding, nats | probability |"


@dataclass(frozen=True, eq=False)
class Entry:
    """One picture of the gallery.

    Attributes
    ----------
    file : str
        Name of its figure, without the ending.
    shown : str
        What the picture shows, for the alternative text.
    answer : ExplainedAnswer
        What the model says of it.
    named : tuple of Named
        Objects that the answer names.
    section : str
        Heading of its section.
    notes : tuple of str
        Paragraphs below the table.
    """

    file: str
    shown: str
    answer: ExplainedAnswer
    named: tuple[Named, ...]
    section: str
    notes: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the scenes, and where the documentation lies."""
    parser.add_argument("--model", default="seed0", help="a folder that assemble made, or a name (default: seed0)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the scenes (default: {SEED})")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"the first ones of the seed (default: {SCENES})")
    parser.add_argument("--docs", type=Path, default=DOCS, help=f"folder with {PAGE} and _static")


def run(arguments: argparse.Namespace) -> None:
    """Explain what the model says of each picture, write the figures and the page, and print their size."""
    page = check_writable(arguments.docs / PAGE)
    written(page.read_text(encoding="utf-8"), "", page)  # a page without marks is found before the model runs
    check_packages()
    world = open_world(arguments.folder)
    evaluation = world.evaluation_set(seed=arguments.seed, scenes=arguments.scenes)
    model, processor = load_frozen(world, arguments.model)
    static = arguments.docs / "_static"
    check_writable(static / "photographs.webp")
    of_samples = [sample_entry(model, processor, world, one, static) for one in track(SAMPLES, "photographs")]
    of_scenes = list(track(scene_entries(model, processor, evaluation, static), "scenes", arguments.scenes))
    about = f"Model `{Path(arguments.model).name}`, SHA-256 of its weights `{weights_hash(model)[:16]}`."
    text = "\n\n".join([about, *markdown(of_samples, of_scenes, arguments.seed)])
    write_text(page, written(page.read_text(encoding="utf-8"), text, page))
    size = sum((static / f"{one.file}.webp").stat().st_size for one in (*of_samples, *of_scenes)) / 1e3
    said = f"{page}: {len(of_samples)} photographs, {len(of_scenes)} scenes, pictures of {size:.0f} kB"
    Console().print(foreign(said), soft_wrap=True)


def named_objects(answer: ExplainedAnswer, world: PhotographWorld, there: Sequence[str]) -> tuple[Named, ...]:
    """Return the first mention of every object that an answer names; ``there`` are those that the picture shows."""
    found: dict[str, Named] = {}
    for index, word in enumerate(answer.words):
        for obj in world.language.mentions(word.text):
            name = world.language.classes[obj]
            found.setdefault(name, Named(index, name, name in there))
    return tuple(found.values())


def sample_entry(model: Any, processor: Any, world: PhotographWorld, sample: Sample, static: Path) -> Entry:
    """Explain the answer about a photograph of others, and write its figure."""
    answer = _explained(model, processor, world, photograph(sample))
    named = named_objects(answer, world, sample.objects)
    entry = Entry(
        f"photographs-{sample.name}",
        f"the photograph of {sample.shows}",
        answer,
        named,
        f"{sample.shows[0].upper()}{sample.shows[1:]}",
        (f"Photograph: {sample.author}, {sample.licence}, from {sample.package}; scaled, and grey under the maps.",),
    )
    if named:
        save_small(maps_figure(answer, named), static / f"{entry.file}.webp")
    else:
        save_small(answer.plot(), static / f"{entry.file}.webp")
    return entry


def scene_entries(model: Any, processor: Any, evaluation: EvaluationSet, static: Path) -> Iterator[Entry]:
    """Explain the answer about each scene, and write its figure: the background, boxes and names, and no stamp."""
    world: Any = evaluation.world
    scene: Any
    for number, (scene, picture) in enumerate(zip(evaluation.scenes, evaluation.media, strict=True), 1):
        names = [world.language.classes[obj] for obj in scene.present]
        answer = _explained(model, processor, world, picture)
        named = named_objects(answer, world, names)
        if not named:  # a figure of another kind would show the stamps
            raise ValueError(
                f"the answer about scene {number} of seed {evaluation.seed} names no object: {answer.text!r}; "
                "the gallery shows maps of named objects. Give a trained model, or another --seed"
            )
        entry = Entry(
            f"photographs-scene-{number}",
            f"the background of a scene with {_listed(names)}",
            answer,
            named,
            f"Scene {number}: {_listed(names)}",
            tuple(_masses(world, scene, answer, named)),
        )
        behind = np.asarray(render(emptied(scene), world.stamps))
        boxes = dict(zip(names, scene.boxes, strict=True))
        save_small(maps_figure(answer, named, behind, boxes), static / f"{entry.file}.webp")
        yield entry


def _explained(model: Any, processor: Any, world: PhotographWorld, picture: Any) -> ExplainedAnswer:
    prompt = world.prompt(world.language.caption_request)
    inputs = world.batch(processor, [picture], [prompt])
    return lime_xai.explain(model, inputs, processor=processor, max_new_tokens=_TOKENS, do_sample=False, num_beams=1)


def _listed(names: Sequence[str]) -> str:
    """Return names with their articles: "a dog, a cup and a lemon"."""
    *most, last = map(article, names)
    return f"{', '.join(most)} and {last}" if most else last


def _masses(
    world: PhotographWorld, scene: PhotoScene, answer: ExplainedAnswer, named: Sequence[Named]
) -> Iterator[str]:
    """Say how much of the positive image relevance of each true word lies on the tokens that show its object."""
    said = []
    image = answer.attribution.mask("image")[0].cpu().numpy()
    for one in named:
        if one.there:
            region = list(world.region(scene, world.language.classes.index(one.name)))
            positive = np.clip(answer.relevance(one.word).numpy()[image], 0, None)
            inside, tokens = float(positive[region].sum() / positive.sum()), len(region) / len(positive)
            said.append(f"{one.name} {inside:.0%} (these are {tokens:.0%} of the tokens)")
    if said:
        yield f"Positive relevance of the picture that lies on the tokens of the object: {', '.join(said)}."


def markdown(of_samples: Sequence[Entry], of_scenes: Sequence[Entry], seed: int) -> Iterator[str]:
    """Yield the paragraphs of the page."""
    yield "## Photographs of others"
    yield _counted(of_samples, f"{len(of_samples)} photographs")
    for entry in of_samples:
        yield from _section(entry)
    yield "## Scenes of stamps"
    yield _counted(of_scenes, f"the first {len(of_scenes)} scenes of seed {seed}")
    for entry in of_scenes:
        yield from _section(entry)


def _counted(entries: Sequence[Entry], where: str) -> str:
    named = [one for entry in entries for one in entry.named]
    there = sum(one.there for one in named)
    counted = f"the model names one of its {len(CLASSES)} objects {len(named)} times"
    return f"On {where}, {counted}. In {there} of these cases the object is there."


def other_names(said: str) -> list[str]:
    """Return the things in an answer that are none of the objects that the model was trained to name."""
    return [thing for thing in things_in(said) if thing not in CLASSES]


def _section(entry: Entry) -> Iterator[str]:
    words = ", ".join(one.name for one in entry.named)
    on = f"on {entry.shown}"
    alternative = f"Maps of relevance {on}, one for each of: {words}" if words else f"A map of relevance {on}"
    yield f"### {entry.section}"
    yield f"![{alternative}](_static/{entry.file}.webp)"
    yield f"The model says: “{entry.answer.text}”"
    if entry.named:
        rows = [_HEADER, "| --- | --- | ---: | ---: | ---: |"]
        for one in entry.named:
            word = entry.answer.words[one.word]
            grounding = "not known" if word.grounding is None else f"{word.grounding:+.1f}"
            share, sure = f"{word.shares['image']:.0%}", f"{word.probability:.2f}"
            rows.append(f"| {one.name} | {one.judged} | {share} | {grounding} | {sure} |")
        yield "\n".join(rows)
    else:
        yield f"It names none of its {len(CLASSES)} objects. The map is that of the word with the lowest grounding."
    if others := other_names(entry.answer.text):
        yield f"Not among its {len(CLASSES)} objects, without a map, and not counted: {', '.join(others)}."
    yield from entry.notes


def written(text: str, made: str, page: Path) -> str:
    """Return the text of the page with other paragraphs between its marks.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    return put_between(text, BEGIN, END, f"{made}\n", page, "the pictures belong")
