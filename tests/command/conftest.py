"""Running ``lime-xai`` in the process, with its streams apart."""

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from lime_xai.command import screen
from lime_xai.command.app import app
from lime_xai.worlds import scene


@pytest.fixture(scope="session")
def evaluation():
    return scene.evaluation_set(seed=3, scenes=1)


@pytest.fixture
def picture(evaluation, tmp_path):
    path = tmp_path / "scene.png"
    evaluation.images[0].save(path)
    return str(path)


@pytest.fixture
def lime(monkeypatch, tmp_path):
    """Run ``lime-xai`` in a folder of its own, on a wide terminal; returns the result of a ``CliRunner``."""
    monkeypatch.chdir(tmp_path)
    for console in (screen.console, screen.notices):
        monkeypatch.setattr(console, "width", 400, raising=False)
    threads = torch.get_num_threads()
    yield lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
    torch.set_num_threads(threads)


@pytest.fixture
def refused(lime, tmp_path):
    """Run a command that must refuse its input: status 2, one line on stderr, nothing on stdout, no file changed."""

    def run(*arguments, says=()):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        result = lime(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        others = ("notice: ", "attributions ")  # the bar of a comparison that finds another example in its file
        errors = [line for line in result.stderr.splitlines() if not line.startswith(others)]
        assert len(errors) == 1, result.stderr
        assert errors[0].startswith("error: ")
        for part in says:
            assert part in errors[0]
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return errors[0]

    return run


@pytest.fixture
def changed_model(tmp_path):
    """Copy the bundled model with other words in its vocabulary, or another chat template; returns the folder."""

    def make(name="model", words=(), template=None):
        folder = tmp_path / name
        shutil.copytree(scene.WORLD.shipped, folder)
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text())
        for old, new in dict(words).items():
            data["model"]["vocab"][new] = data["model"]["vocab"].pop(old)
        path.write_text(json.dumps(data))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return make
