"""CHAIR: objects of COCO that captions name and images do not show (Rohrbach et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import harmonic, ratio
from lime_xai.evaluation.benchmarks.words import TEXT_PARSERS, Names, TextParser, finished, text_parser
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import DamagedFileError

from .coco import Annotated, read_annotated, read_ids
from .coco_words import mentions, read_synonyms, vocabulary

FINISHED = "+finished"
"""Suffix of a parser that drops an unfinished last sentence, as is done at limits of 64 or 128 tokens."""

_SPLITS = ("val", "train")


@register_protocol
class Chair(Protocol):
    """Objects that captions name and images do not show.

    An object is there if it has an instance in the image, or if one of the image's captions by people names it. Both
    the answer and these captions are read by the same parser, so a parser changes the truth as well.

    Parsers are those of ``words.TEXT_PARSERS``, your own included: ``nltk`` is that of OPERA's, PAI's and lmms-eval's
    scripts; ``rules`` needs no package and is nobody's official parser. Each has a variant with ``+finished``, which
    reads an answer up to the end of its last finished sentence (``words.finished``).

    The items' truth holds the classes of the instances, the captions, and the text of the synonyms file, one string
    that all items share: so items of two synonyms files can be there at once, and be sent to other processes.
    """

    name = "chair"
    source = "Rohrbach et al., EMNLP 2018; github.com/LisaAnne/Hallucination"
    files: ClassVar[Mapping[str, str]] = {
        "ids": "the images: an id a line, or JSON lines with image_id",
        "synonyms": "data/synonyms.txt of the official repository",
        "instances_val": "instances_val2014.json of COCO",
        "captions_val": "captions_val2014.json of COCO",
        "instances_train": "instances_train2014.json of COCO",
        "captions_train": "captions_train2014.json of COCO",
    }
    prompts: ClassVar[Mapping[str, str]] = {"plain": "{question}"}
    parsers: ClassVar[Sequence[str]] = Names(
        lambda: [name + suffix for suffix in ("", FINISHED) for name in TEXT_PARSERS]
    )
    tokens = 512
    measures: ClassVar[Mapping[str, Measure]] = {
        "chair_s": Measure("low", "share of captions that name an object which is not there"),
        "chair_i": Measure("low", "share of named objects which are not there, each naming counted"),
        "recall": Measure("high", "share of the objects there that are named"),
        "precision": Measure("high", "share of named objects which are there, each counted once a caption"),
        "f1": Measure("high", "harmonic mean of precision and recall"),
        "length": Measure(None, "tokens of a caption, punctuation included"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return an item for each listed image.

        Parameters
        ----------
        files : mapping of str to Path
            ``ids`` and ``synonyms``, and instances and captions of ``val``, ``train`` or both.
        media : Path, optional
            Folder of the pictures, or of COCO's folders ``val2014`` and ``train2014``; by default that of ``ids``.
        partial : bool
            Changes nothing: the list of images has no official length.

        Raises
        ------
        ValueError
            If files are missing or unknown.
        FileNotFoundError, DamagedFileError
            As ``Protocol.read``; also for an image that the annotations lack, or a class without synonyms.
        """
        pairs = self._pairs(files)
        wanted = read_ids(files["ids"])
        synonyms = read_synonyms(files["synonyms"])
        annotated = read_annotated(pairs, wanted)
        _check(wanted, annotated, synonyms, files["synonyms"])
        folder = files["ids"].parent if media is None else media
        return [
            Item(
                id=str(image),
                question="Please describe this image in detail.",
                images=(_picture(folder, annotated.files[image]),),
                truth={
                    "objects": sorted(annotated.objects.get(image, ())),
                    "captions": annotated.captions[image],
                    "synonyms": synonyms,
                },
                unit=str(image),
                place=place,
            )
            for image, place in wanted.items()
        ]

    def _pairs(self, files: Mapping[str, Path]) -> list[tuple[Path, Path]]:
        optional = [name for name in self.files if name not in ("ids", "synonyms")]
        self.check_files(files, optional)
        whole = [split for split in _SPLITS if f"instances_{split}" in files and f"captions_{split}" in files]
        if not whole or 2 * len(whole) != sum(name in files for name in optional):
            raise ValueError(
                f"{self.name} was given {', '.join(files)}; expected ids, synonyms, and instances with captions of "
                "val, of train, or of both: instances_val and captions_val for example."
            )
        return [(files[f"instances_{split}"], files[f"captions_{split}"]) for split in whole]

    def check_package(self, parser: str) -> None:
        """Refuse a parser whose package or data is missing (ImportError)."""
        _parser(parser).check()

    def count(self, item: Item, answer: str, parser: str) -> dict[str, float]:
        """Return mentions, those of objects that are not there, and the sets' sizes."""
        read, synonyms = _parser(parser), item.truth["synonyms"]
        node_of = vocabulary(synonyms).node_of
        there = {node_of[name] for name in item.truth["objects"]}
        for caption in item.truth["captions"]:
            there.update(mentions(caption, synonyms, read).nodes)
        said = mentions(finished(answer) if parser.endswith(FINISHED) else answer, synonyms, read)
        named = set(said.nodes)
        absent = sum(node not in there for node in said.nodes)
        return {
            "mentions": len(said.nodes),
            "hallucinated": absent,
            "hallucinating": float(absent > 0),
            "there": len(there),
            "named": len(named),
            "found": len(named & there),
            "tokens": said.tokens,
        }

    def values(self, sums: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return CHAIR over captions and over mentions, recall, precision and F1 of sets, and the mean length."""
        recall, precision = ratio(sums["found"], sums["there"]), ratio(sums["found"], sums["named"])
        return {
            "chair_s": ratio(sums["hallucinating"], sums["items"]),
            "chair_i": ratio(sums["hallucinated"], sums["mentions"]),
            "recall": recall,
            "precision": precision,
            "f1": harmonic(precision, recall),
            "length": ratio(sums["tokens"], sums["items"]),
        }


def _parser(name: str) -> TextParser:
    return text_parser(name.removesuffix(FINISHED))


def _check(wanted: Mapping[int, str], annotated: Annotated, synonyms: str, path: Path) -> None:
    """Refuse images that the annotations lack, and classes that the synonyms lack."""
    for image, place in wanted.items():
        if image not in annotated.files:
            raise DamagedFileError(f"{place}: image {image} is in none of the instances files; is it of another split?")
        if not annotated.captions.get(image):
            raise DamagedFileError(f"{place}: image {image} has no caption; give the captions of the same split.")
    node_of = vocabulary(synonyms).node_of
    missing = sorted({name for shown in annotated.objects.values() for name in shown} - node_of.keys())
    if missing:
        raise DamagedFileError(f"{path}: no synonyms of {missing[0]!r}, a class of the images; give the official file.")


def _picture(folder: Path, name: str) -> Path:
    """Return the picture in a folder, or in COCO's folder of its split: COCO_val2014_... lies in val2014."""
    _, _, rest = name.partition("_")
    nested = folder / rest.partition("_")[0] / name
    return nested if nested.is_file() else folder / name
