"""Annotations of COCO 2014: which classes images show, what people wrote about them, and lists of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records, read_text
from lime_xai.evaluation.benchmarks.streaming import read_arrays
from lime_xai.storage.store import DamagedFileError, check_writable, write_text


@dataclass(frozen=True)
class Annotated:
    """What COCO holds about images.

    Attributes
    ----------
    files : mapping of int to str
        Name of the picture, by the image's id.
    objects : mapping of int to set of str
        Names of the categories that have an instance in the image; nothing for an image without one.
    captions : mapping of int to list of str
        What people wrote.
    """

    files: Mapping[int, str]
    objects: Mapping[int, set[str]]
    captions: Mapping[int, list[str]]


def read_instances(path: Path, wanted: Collection[int]) -> tuple[dict[int, str], dict[int, set[str]]]:
    """Return file names, and names of categories with an instance, of images in ``instances_*2014.json``.

    The file is read once, record by record, and only what is wanted is kept.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of int
        Ids of images; those of another file are passed over.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is not what it should be; names file and line.
    """
    files: dict[int, str] = {}
    shown: defaultdict[int, dict[int, Record]] = defaultdict(dict)
    names: dict[int, str] = {}
    for key, record in read_arrays(path, ("images", "annotations", "categories")):
        if key == "categories":
            names[record.take("id", int)] = record.take("name", str)
        elif key == "images":
            if record.take("id", int) in wanted:
                files[record.data["id"]] = record.take("file_name", str)
        elif record.take("image_id", int) in wanted:
            category = record.take("category_id", int)
            shown[record.data["image_id"]].setdefault(category, Record(record.place, {}))
    for seen in shown.values():
        for category, record in seen.items():
            if category not in names:
                raise record.wrong(f"category {category} is none of the file's; it has {sorted(names)}")
    return files, {image: {names[category] for category in seen} for image, seen in shown.items()}


def read_captions(path: Path, wanted: Collection[int]) -> dict[int, list[str]]:
    """Return the captions of images in ``captions_*2014.json``.

    Parameters and errors are those of ``read_instances``.
    """
    found: defaultdict[int, list[str]] = defaultdict(list)
    for _, record in read_arrays(path, ("annotations",)):
        if record.take("image_id", int) in wanted:
            found[record.data["image_id"]].append(record.take("caption", str))
    return dict(found)


def read_annotated(pairs: Sequence[tuple[Path, Path]], wanted: Collection[int]) -> Annotated:
    """Return what pairs of ``instances_*2014.json`` and ``captions_*2014.json`` hold about images.

    Errors are those of ``read_instances``.
    """
    files: dict[int, str] = {}
    objects: defaultdict[int, set[str]] = defaultdict(set)
    captions: defaultdict[int, list[str]] = defaultdict(list)
    for instances, written in pairs:
        names, shown = read_instances(instances, wanted)
        files |= names
        for image, categories in shown.items():
            objects[image] |= categories
        for image, texts in read_captions(written, wanted).items():
            captions[image] += texts
    return Annotated(files, dict(objects), dict(captions))


def read_ids(path: Path) -> dict[int, str]:
    """Return the ids of a list of images, each with its place for errors, in the order of the file.

    Parameters
    ----------
    path : Path
        One id a line, where a line that begins with ``#`` is a comment; or JSON lines, or one JSON array, of objects
        with ``image_id``, such as captions that a published run has written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it holds something else, or an id twice; names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; the list of images decides a CHAIR number, so give one.")
    records = read_records(path) if _is_json(path) else _lines(path)
    ids = [record.take("image_id", int) for record in records]
    check_unique(records, map(str, ids), "image")
    return dict(zip(ids, (record.place for record in records), strict=True))


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _lines(path: Path) -> list[Record]:
    found = []
    for number, line in enumerate(read_text(path, "expected one image id a line").split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not (text.isascii() and text.isdigit()):
            raise DamagedFileError(f"{path}, line {number}: found {text!r}; expected one image id, such as 310196.")
        found.append(Record(f"{path}, line {number}", {"image_id": int(text)}))
    if not found:
        raise DamagedFileError(f"{path} has no image ids; expected one a line.")
    return found


def draw_ids(instances: Path, output: Path, number: int = 500, seed: int = 0) -> list[int]:
    """Draw images at random, and write them as a list for ``read_ids``.

    CHAIR is measured on a sample of images, and the sample moves it by more than most methods do. So the sample is a
    file that a result can name, and is never drawn while reading.

    Parameters
    ----------
    instances : Path
        ``instances_*2014.json``.
    output : Path
        File that is written; its first line says where the ids are from, and the seed.
    number : int
        Images.
    seed : int
        Of NumPy's generator.

    Returns
    -------
    list of int
        Ids in ascending order.

    Raises
    ------
    ValueError
        If the file has fewer images.
    FileExistsError
        If there is an output already.
    """
    check_writable(output)
    if output.exists():
        raise FileExistsError(f"There is a file {output} already; a list of images is kept. Give another name.")
    there = sorted({record.take("id", int) for _, record in read_arrays(instances, ("images",))})
    if not 1 <= number <= len(there):
        raise ValueError(f"{number} images were asked for; {instances} has {len(there)}.")
    drawn = sorted(np.random.default_rng(seed).choice(there, number, replace=False).tolist())
    comment = f"# {number} of the {len(there)} images of {instances.name}, drawn with seed {seed}\n"
    write_text(output, comment + "".join(f"{image}\n" for image in drawn))
    return drawn
