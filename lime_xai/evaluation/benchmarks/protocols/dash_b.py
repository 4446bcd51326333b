"""DASH-B: objects that systematically trigger hallucinations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import harmonic, ratio
from lime_xai.evaluation.benchmarks.records import check_count
from lime_xai.evaluation.benchmarks.two_classes import Class, tally, truth_of
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import DamagedFileError, read_json

IMAGES = 1341
"""Without, and as many with the object."""


@register_protocol
class DashB(Protocol):
    """DASH-B (Augustin et al. 2025): yes or no, whether an object can be seen.

    It has 70 objects and 2,682 images, one question each.

    Files are ``images/dash_benchmark_neg.json`` (images without the object, found because models see it there) and
    ``images/dash_benchmark_pos.json`` (with it), each a mapping of dataset to object to names of images. Images lie in
    ``neg/DATASET/OBJECT/NAME`` and ``pos/DATASET/OBJECT/NAME`` of the folder.

    The parser ``official`` is ``eval_utils.py`` of its repository: "yes" as a part of the answer in lower case is a
    yes, else "no" as a part of it is a no; what is neither is wrong.
    """

    name = "dash-b"
    source = (
        "Augustin, Neuhaus and Hein, DASH: Detection and Assessment of Systematic Hallucinations of VLMs; "
        "github.com/YanNeu/DASH-B"
    )
    files: ClassVar[Mapping[str, str]] = {
        "negative": "images without the object, dash_benchmark_neg.json",
        "positive": "images with the object, dash_benchmark_pos.json",
    }
    prompts: ClassVar[Mapping[str, str]] = {"official": "{question}"}
    parsers = ("official",)
    tokens = 10
    measures: ClassVar[Mapping[str, Measure]] = {
        "accuracy": Measure("high", "share of right answers"),
        "true_negative_rate": Measure("high", "share of right answers about images without the object"),
        "true_positive_rate": Measure("high", "share of right answers about images with the object"),
        "harmonic_mean": Measure("high", "harmonic mean of both rates"),
        "yes": Measure(None, 'share of answers "yes"'),
        "unparsed": Measure("low", "share of answers that are neither yes nor no"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions, images without the object first."""
        self.check_files(files)
        items = []
        for name, folder, label in (("negative", "neg", "no"), ("positive", "pos", "yes")):
            path = files[name]
            found = _images(path)
            check_count(path, sum(map(len, found.values())), IMAGES, partial)
            root = (path.parent if media is None else media) / folder
            items += [
                _item(path, root, (dataset, thing, image), label)
                for (dataset, thing), images in found.items()
                for image in images
            ]
        return items

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        text, truth = answer.lower(), truth_of(item)
        said: Class | None = "yes" if "yes" in text else "no" if "no" in text else None
        found = tally("yes", truth, said)
        rejected = float(truth == said == "no")
        return {name: found[name] for name in ("right", "hits", "asked", "yes", "unparsed")} | {"rejected": rejected}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        negative = ratio(sums["rejected"], sums["items"] - sums["asked"])
        positive = ratio(sums["hits"], sums["asked"])
        return {
            "accuracy": ratio(sums["right"], sums["items"]),
            "true_negative_rate": negative,
            "true_positive_rate": positive,
            "harmonic_mean": harmonic(negative, positive),
            "yes": ratio(sums["yes"], sums["items"]),
            "unparsed": ratio(sums["unparsed"], sums["items"]),
        }


def _images(path: Path) -> dict[tuple[str, str], list[str]]:
    """Return the names of images by dataset and object."""
    data = read_json(path, "a list of DASH-B", dict[str, dict[str, list[str]]])
    found = {(dataset, thing): images for dataset, things in data.items() for thing, images in things.items()}
    for (dataset, thing), images in found.items():
        for image in images:
            if images.count(image) > 1:
                raise DamagedFileError(f"{path}: image {image!r} of {dataset}, {thing} is there twice; expected once.")
    return found


def _item(path: Path, root: Path, parts: tuple[str, str, str], label: str) -> Item:
    dataset, thing, image = parts
    name = "/".join((root.name, *parts))
    return Item(
        id=name,
        question=f"Can you see a {thing} in this image? Please answer only with yes or no.",
        images=(root / dataset / thing / image,),
        truth={"label": label},
        unit=name,
        place=f"{path}, {dataset}, {thing}, {image}",
    )
