"""What a benchmark is: items, prompts, parsers, counts and measures; and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lime_xai.errors import unknown_name
from lime_xai.evaluation.bootstrap import Floats


@dataclass(frozen=True)
class Item:
    """A question with what it is about.

    Attributes
    ----------
    id : str
        Its name, once in a benchmark.
    question : str
        As in the file, without the suffix that a prompt adds.
    images, sounds : tuple of Path
        Files.
    group : str
        The part of the benchmark that is measured apart, "adversarial" for example.
    truth : mapping
        What the protocol measures answers against; JSON-ready.
    unit : str
        What it is drawn together with in a bootstrap sample, its image for example: questions about one image depend
        on each other. Empty: it is drawn alone.
    place : str
        File and line, for errors.
    """

    id: str
    question: str
    images: tuple[Path, ...] = ()
    sounds: tuple[Path, ...] = ()
    group: str = "all"
    truth: Mapping[str, Any] = field(default_factory=dict)
    unit: str = ""
    place: str = ""


@dataclass(frozen=True)
class Measure:
    """A number that a protocol reports.

    Attributes
    ----------
    better : {"high", "low", None}
        Which values are better; None for a description, such as the share of yes.
    meaning : str
        One line for tables.
    """

    better: Literal["high", "low"] | None
    meaning: str


class Protocol(ABC):
    """A benchmark, read from its official files.

    Counts of items are added up, and measures are made of the sums. So a bootstrap sample is a weighted sum.

    Attributes
    ----------
    name : str
        In the registry and on the command line.
    source : str
        Paper and repository.
    files : mapping of str to str
        What is read: name on the command line, and what it holds.
    prompts : mapping of str to str
        Prompts in use by name, with ``{question}``; the first is the default.
    parsers : sequence of str
        How answers are read, by name; the first is the default. The name is part of every result.
    tokens : int
        Tokens of an answer at most, unless the caller says otherwise.
    measures : mapping of str to Measure
        What is reported; the first one is compared first.
    average : {"groups", "items"}
        What "all groups" means: the plain mean of the groups' measures, or the measures of all items together.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    prompts: ClassVar[Mapping[str, str]]
    parsers: ClassVar[Sequence[str]]
    tokens: ClassVar[int]
    measures: ClassVar[Mapping[str, Measure]]
    average: ClassVar[Literal["groups", "items"]] = "items"

    @abstractmethod
    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the items of official files.

        Parameters
        ----------
        files : mapping of str to Path
            The files that ``files`` names; ``check_files`` refuses others.
        media : Path, optional
            Folder of images or sounds; by default that of the file which names them.
        partial : bool
            Whether a part of the official file is meant; otherwise its length must be the official one.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If a file is not what it should be; names file and line.
        """

    @abstractmethod
    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums.

        Parameters
        ----------
        item : Item
            The question.
        answer : str
            What the model wrote, without special tokens.
        parser : str
            One of ``parsers``; ``check_parser`` refuses others.

        Returns
        -------
        mapping of str to float
            The same names for every item. ``right``, 0 or 1, where an answer is right or wrong: for McNemar's test.
        """

    @abstractmethod
    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts.

        Parameters
        ----------
        sums : mapping of str to numpy.ndarray
            Sums of the counts, and ``items``, the number of items; each of shape [R], one entry per sample of items.

        Returns
        -------
        mapping of str to numpy.ndarray
            One array [R] for each name of ``measures``; NaN where there is nothing to divide by.
        """

    def prompt(self, item: Item, style: str | None = None) -> str:
        """Return the text of a question as it is asked.

        Parameters
        ----------
        item : Item
            The question.
        style : str, optional
            One of ``prompts``, by default the first.

        Raises
        ------
        ValueError
            If there is no such prompt.
        """
        style = next(iter(self.prompts)) if style is None else style
        if style not in self.prompts:
            raise unknown_name(f"prompt of {self.name}", style, self.prompts)
        return self.prompts[style].replace("{question}", item.question)

    def check_files(self, files: Mapping[str, Path], optional: Collection[str] = ()) -> None:
        """Refuse names of files other than those of this protocol, or too few of them.

        Raises
        ------
        ValueError
            Naming what is wrong and what each file holds.
        """
        wrong = [name for name in files if name not in self.files]
        missing = [name for name in self.files if name not in files and name not in optional]
        if wrong or missing:
            holds = "; ".join(f"{name}: {what}" for name, what in self.files.items())
            raise ValueError(f"{self.name} was given {', '.join(files) or 'no files'}; expected {holds}.")

    def check_parser(self, parser: str) -> None:
        """Refuse an unknown parser, or one whose package or data is missing.

        Raises
        ------
        ValueError
            Naming those that exist.
        ImportError
            Naming what is missing.
        """
        if parser not in self.parsers:
            raise unknown_name(f"parser of {self.name}", parser, self.parsers)
        self.check_package(parser)

    def check_package(self, parser: str) -> None:  # noqa: B027 - most protocols need no package
        """Refuse a parser whose package or data is missing (ImportError); by default none needs a package."""


PROTOCOLS: dict[str, Protocol] = {}
"""Every benchmark by name."""


def register_protocol(kind: type[Protocol]) -> type[Protocol]:
    """Add a benchmark; a decorator of its class.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if kind.name in PROTOCOLS:
        raise ValueError(f"There is a benchmark {kind.name!r} already; choose another name.")
    PROTOCOLS[kind.name] = kind()
    return kind


def protocol_of(name: str) -> Protocol:
    """Return a benchmark by name.

    Raises
    ------
    ValueError
        If there is none; names those that exist.
    """
    if name not in PROTOCOLS:
        raise unknown_name("benchmark", name, PROTOCOLS)
    return PROTOCOLS[name]


def check_media(items: Sequence[Item]) -> None:
    """Refuse items whose images or sounds are missing, before any model is loaded.

    Raises
    ------
    FileNotFoundError
        Naming the first, its line, and how many are missing.
    """
    missing = [(item, path) for item in items for path in (*item.images, *item.sounds) if not path.is_file()]
    if missing:
        item, path = missing[0]
        raise FileNotFoundError(
            f"{item.place}: there is no file {path} ({len({path for _, path in missing})} files missing in all); "
            "give the folder of the images or sounds."
        )
